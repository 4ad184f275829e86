// Package plan says what Apply would do with a configuration, before it does: a Plan, as JSON for
// programs and as text for people (text.go).
//
//	State of what runs ──┐            settings.go   keys that differ, one by one (diff.go)
//	                     ├─ Make ──►  routes.go     routes and services, by name
//	new configuration ───┘            endpoints.go  which come, go, stay; which are probed anew
//	                                  keys.go       which keys of consistent hashing move
//	                                  listeners.go  addresses, and what only a restart changes
//
// It follows internal/core (applyServices, liveService.configure) and package service (configure,
// reconcile): what they keep, a plan keeps. A test applies random pairs of configurations and
// compares.
package plan

// A Plan is the difference that a new configuration makes. All lists are sorted by name.
type Plan struct {
	// Generation is that of the configuration in force; 0: no running proxy was asked.
	Generation uint64 `json:"generation,omitempty"`
	// Hash identifies the plan: both configurations and the generation. If it is another one
	// when the configuration is applied, something else would happen than what was reviewed.
	Hash string `json:"hash"`
	// Changes: something changes. If not, all lists are empty.
	Changes   bool       `json:"changes"`
	Routes    []Change   `json:"routes"`
	Services  []Service  `json:"services"`
	Discover  []Change   `json:"discover"`
	Settings  []Edit     `json:"settings"` // keys outside of services, routes, discover and listen
	Listeners []Listener `json:"listeners"`
	// Restart lists keys that have their new value only after a restart or an upgrade.
	Restart []string `json:"restart"`
	// Closed counts connections of clients, upgraded ones included, that are closed: none, because
	// those of removed routes and services live until they end by themselves.
	Closed int      `json:"closed"`
	Totals Totals   `json:"totals"`
	Notes  []string `json:"notes,omitempty"`
}

// Totals are sums over all services.
type Totals struct {
	Added   int   `json:"endpoints_added"`
	Removed int   `json:"endpoints_removed"`
	Kept    int   `json:"endpoints_kept"`     // with connections, latency and breaker
	Probed  int   `json:"endpoints_probed"`   // that are probed at once, because their verdict begins anew
	Idle    int64 `json:"idle_connections"`   // idle connections to endpoints that are closed
	Ending  int64 `json:"attempts_to_finish"` // attempts at removed endpoints, which end by themselves
}

// What happens to a route, a service or an entry of discover.
const (
	Add    = "add"
	Remove = "remove"
	Modify = "change"
)

// A Change is one route or entry that is added, removed or changed.
type Change struct {
	Do    string `json:"do"`
	Name  string `json:"name"`
	About string `json:"about,omitempty"` // what it is, of one that is added or removed
	Edits []Edit `json:"edits,omitempty"`
	Key   string `json:"key"` // in the new configuration; of one that is removed in the old one
}

// An Edit is one key that has another value. Values of keys that hold secrets are not shown.
type Edit struct {
	Key string `json:"key"`
	Old string `json:"old"` // empty: it was absent
	New string `json:"new"` // empty: it will be absent
}

// A Service is a Change with what it means for endpoints.
type Service struct {
	Change
	// Source: the source of endpoints is replaced. Which endpoints it names is not known; those
	// that the old one named as well keep their state.
	Source  bool     `json:"source_replaced"`
	Added   []string `json:"added,omitempty"`   // endpoints, by ID
	Removed []string `json:"removed,omitempty"` // they drain: attempts under way end
	Edited  []Edit   `json:"edited,omitempty"`  // endpoints whose weight or drain changes
	Kept    int      `json:"kept"`
	Probed  int      `json:"probed"`
	Idle    int64    `json:"idle_connections"`
	Ending  int64    `json:"attempts_to_finish"`
	Keys    *Keys    `json:"keys,omitempty"` // nil: no consistent hashing, or nothing that moves keys
}

// Keys says how many keys of consistent hashing get another endpoint.
type Keys struct {
	Sampled int     `json:"sampled"`
	Moved   float64 `json:"moved"` // share, from 0 to 1
	Least   float64 `json:"least"` // share that must move, so that each endpoint has as many keys as afterwards
	// Renamed: policy.key is another one, so the keys themselves are other ones.
	Renamed bool `json:"renamed,omitempty"`
}

// A Listener is an address that is opened, closed or changed.
type Listener struct {
	Do      string `json:"do"`
	Address string `json:"address"`
	TLS     bool   `json:"tls"`
	// Restart says why the address cannot be opened while the proxy runs; empty: it can.
	Restart string `json:"restart,omitempty"`
	Key     string `json:"key"`
}
