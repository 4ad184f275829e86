// Package explain is the answer to "what would become of this request": an Explanation, as JSON
// for programs and as text for people (text.go). It only holds values, which internal/core makes
// from the tables, views and rules that exchanges use, without sending anything and without
// changing a state.
//
// An Explanation follows the request path:
//
//	Path      normal form of the path, by which routes are matched
//	Reply     the proxy answers by itself; what follows is empty then, as far as it is not known
//	Routes    those that were tried, and why each was taken or not
//	Forward   what the endpoint gets: path, Host, fields
//	Split     which of several services gets it
//	Service   which endpoints may serve it, and how often the policy chooses each
//	Retry     what a failed attempt leads to
//	Limits    limits of time, with their place in the file
package explain

// A Request is the question.
type Request struct {
	// Method is GET if it is empty.
	Method string `json:"method"`
	// URL is http://host/path?query, https://..., or a path alone: then the field Host, or
	// localhost, is the host. It is taken as it is: nothing is encoded.
	URL string `json:"url"`
	// Fields are the header fields, in this order.
	Fields []Field `json:"fields,omitempty"`
	// Client is the IP address of the client's connection; empty: 127.0.0.1.
	Client string `json:"client,omitempty"`
	// Listener is the name of the listener by which it comes; empty: one without a name.
	Listener string `json:"listener,omitempty"`
}

// A Field is one header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// An Explanation is the answer. Its lists are in the order in which they count.
type Explanation struct {
	Request Asked `json:"request"`
	// Generation of the configuration; 0: no running proxy was asked.
	Generation uint64 `json:"generation,omitempty"`
	// Offline: only the configuration was read. No endpoint was probed and no source asked.
	Offline bool     `json:"offline,omitempty"`
	Path    Path     `json:"path"`
	Routes  []Tried  `json:"routes"`
	Omitted int      `json:"omitted,omitempty"` // routes that are not listed, since the host or the path differs
	Reply   *Reply   `json:"reply,omitempty"`   // the proxy answers by itself; nil: an endpoint is asked
	Forward *Forward `json:"forward,omitempty"` // nil: the request is not forwarded
	Split   *Split   `json:"split,omitempty"`   // nil: the route leads to one service
	Service *Service `json:"service,omitempty"` // nil: no service is reached
	Retry   *Retry   `json:"retry,omitempty"`   // nil: as Service
	Limits  []Limit  `json:"limits"`
	Notes   []string `json:"notes,omitempty"` // what the answer leaves out, for people
}

// Asked is the request as it was understood.
type Asked struct {
	Method string `json:"method"`
	Scheme string `json:"scheme"` // http or https
	Host   string `json:"host"`
	Target string `json:"target"`
	Client string `json:"client"`
	// Listener by which it comes; empty: one without a name.
	Listener string `json:"listener,omitempty"`
}

// A Path is a path as received and as it is matched.
type Path struct {
	Raw    string `json:"raw"`
	Normal string `json:"normal"` // empty: it has none, see Reply
}

// A Tried is a route and why it takes the request or not.
type Tried struct {
	Name  string `json:"name"` // as config.Route.Identity
	Index int    `json:"index"`
	Match string `json:"match"` // what it matches, for people
	Leads string `json:"leads"` // its service, or discover entry
	// Taken: it is the route of the request. At most one is.
	Taken bool `json:"taken"`
	// Failed is the part that does not match: listener, host, path or method; empty: all do.
	Failed string `json:"failed,omitempty"`
	Why    string `json:"why"` // for people
	Key    string `json:"key"` // of the configuration, as in routes[3]
	Place  string `json:"place,omitempty"`
}

// A Reply is an answer that the proxy gives by itself.
type Reply struct {
	Status  int    `json:"status"`
	Reason  string `json:"reason"` // the value of Poise-Reason
	Message string `json:"message"`
	Cause   string `json:"cause,omitempty"` // more than the client learns
	Allow   string `json:"allow,omitempty"` // of 405: the methods that a route takes
}

// A Forward is what the endpoint gets.
type Forward struct {
	Path  string `json:"path"` // as it is sent
	Query string `json:"query,omitempty"`
	// Host is the Host that is sent; empty: the host of the endpoint that is picked.
	Host  string `json:"host,omitempty"`
	Edits []Edit `json:"edits"` // changes to the fields of the request
	// Response are changes to the fields of the response.
	Response []Edit `json:"response,omitempty"`
	// Filters of the route, by slot and name. They are not run here: some would answer by
	// themselves or change the request.
	Filters []string `json:"filters,omitempty"`
}

// An Edit is one change of a field.
type Edit struct {
	Do    string `json:"do"` // add or remove; a field that is replaced is removed and added
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// A Split is the choice among services that share the requests of a route.
type Split struct {
	// From is the expression of split.by; empty: each request is drawn by itself.
	From      string    `json:"from,omitempty"`
	Value     string    `json:"value,omitempty"` // of the request; empty: it has none, and is drawn
	Otherwise string    `json:"otherwise"`       // others or none: where requests go whose service has no usable endpoint
	Stuck     bool      `json:"stuck,omitempty"` // it has the cookie of the service
	Chosen    string    `json:"chosen"`          // name of the service; of requests that are drawn the one with the largest share
	Services  []Variant `json:"services"`
	ConfigKey string    `json:"key"`
	Place     string    `json:"place,omitempty"`
}

// A Variant is one service of a Split.
type Variant struct {
	Name   string  `json:"name"`
	Share  float64 `json:"share"`          // by weight, from 0 to 1
	Serves bool    `json:"serves"`         // it has usable endpoints
	Home   bool    `json:"home,omitempty"` // the value belongs to it
}

// A Service is the service of the request and the choice among its endpoints.
type Service struct {
	Name       string   `json:"name"`
	Policy     string   `json:"policy"`
	PanicMode  bool     `json:"panic_mode"`  // health is not believed: ejected endpoints are used
	LastResort bool     `json:"last_resort"` // no endpoint is sound: ejected ones are tried
	Stale      bool     `json:"stale"`       // the source fails, the last set is in use
	Starts     bool     `json:"starts"`      // no request has named the service yet: the first one starts it
	HashKey    *HashKey `json:"hash_key,omitempty"`
	Sticky     *Sticky  `json:"sticky,omitempty"` // nil: the service has no cookie
	Lane       *Lane    `json:"lane,omitempty"`   // nil: neither the service nor the route binds requests to labels
	// Shadow is the policy that is asked beside it, without effect; empty: there is none.
	Shadow     string     `json:"shadow,omitempty"`
	Draws      int        `json:"draws"` // how often the policy was asked on the view as it is now
	Nothing    int        `json:"nothing"`
	Waits      int        `json:"waits,omitempty"`    // draws that found no endpoint with a place
	Overload   string     `json:"overload,omitempty"` // for people: the bounds of requests under way; empty: there are none
	Places     []Place    `json:"places,omitempty"`   // parts of the endpoints, by priority and zone; empty: it has one
	Candidates []Endpoint `json:"candidates"`
	ConfigKey  string     `json:"key"` // of the configuration, as in services.users
	Place      string     `json:"place,omitempty"`
}

// A Place is a part of the endpoints of a service.
type Place struct {
	Name  string  `json:"name"`  // for people: priority 0, zone a
	Share float64 `json:"share"` // part of the requests that goes there, from 0 to 1
	Why   string  `json:"why"`   // for people
}

// A Lane says which endpoints the request wants, by their labels.
type Lane struct {
	From  string `json:"from,omitempty"`  // the expression of lanes.by; empty: the route has labels
	Value string `json:"value,omitempty"` // of the request; empty: it names no lane
	// Labels are those that endpoints need, as version=v2; empty: see Why.
	Labels []string `json:"labels,omitempty"`
	Missed bool     `json:"missed,omitempty"` // no usable endpoint has them
	Why    string   `json:"why"`              // for people
}

// A Sticky says which endpoint the client is bound to by its cookie.
type Sticky struct {
	Cookie   string `json:"cookie"`             // its name
	Endpoint string `json:"endpoint,omitempty"` // empty: the request has no cookie that names one
	Kept     bool   `json:"kept,omitempty"`     // Endpoint gets the request, in place of what the policy would choose
	Why      string `json:"why"`                // for people
}

// A HashKey says where consistent hashing sends the request.
type HashKey struct {
	From string `json:"from"` // the expression of policy.key
	// Value of the request; empty: it has none, so that requests are spread by chance.
	Value string `json:"value"`
	Hash  string `json:"hash,omitempty"` // hexadecimal
	// Owner is the endpoint of the key, usable or not; Serves the one that gets the request now:
	// another one if the owner cannot be used or bounded_load moves the key on.
	Owner  string `json:"owner,omitempty"`
	Serves string `json:"serves,omitempty"`
	// Bounded is bounded_load; 0: there is no bound. Spill is where it sends the key when the
	// owner is full, whether it is or not; empty: there is no other endpoint.
	Bounded float64 `json:"bounded_load,omitempty"`
	Spill   string  `json:"spill,omitempty"`
}

// An Endpoint is a candidate.
type Endpoint struct {
	ID       string  `json:"id"`
	State    string  `json:"state"`
	Cause    string  `json:"cause,omitempty"`     // what has ejected it: probes, breaker, operator or outlier
	For      string  `json:"for,omitempty"`       // the rest of its ejection by the breaker or as an outlier
	Since    string  `json:"since,omitempty"`     // of an outlier: for how long it has been in this state
	Why      string  `json:"why,omitempty"`       // of an outlier: what it did, and its peers
	Flags    string  `json:"flags,omitempty"`     // out, kept, slow start, held, damped, and what operators say
	Eligible bool    `json:"eligible"`            // the policy may choose it now
	Weight   float64 `json:"weight"`              // share relative to the others
	InFlight int64   `json:"in_flight"`           // attempts under way
	Limit    int64   `json:"limit,omitempty"`     // how many there may be; 0: any number
	Latency  float64 `json:"latency_ms"`          // estimate of the time to a response head; 0: not measured
	Score    float64 `json:"score,omitempty"`     // what the policy compares: the lower one wins
	Scored   string  `json:"scored_by,omitempty"` // what the score is; empty: the policy has none
	Place    string  `json:"place,omitempty"`     // its part of the endpoints, as Place.Name; empty: there is one
	Draws    int     `json:"draws"`
	Share    float64 `json:"share"`    // Draws as a part of all, from 0 to 1
	Expected float64 `json:"expected"` // share by weight among the eligible, from 0 to 1
	// Shadowed is the part of the draws for which the shadow would have chosen it, from 0 to 1.
	Shadowed float64 `json:"shadowed,omitempty"`
	// Reported is what it has said of its load, for people; empty: nothing.
	Reported string `json:"reported,omitempty"`
}

// A Retry is what a failed attempt leads to.
type Retry struct {
	Attempts string   `json:"attempts"` // for people: how many may reach an endpoint
	Cases    []Repeat `json:"cases"`
	Budget   string   `json:"budget"`          // for people: how many extra attempts the service may have
	Hedge    string   `json:"hedge,omitempty"` // for people: when a hedge is due; empty: the service has none
	Others   int      `json:"others"`          // eligible endpoints besides the one of the first attempt
	Key      string   `json:"key"`
	Place    string   `json:"place,omitempty"`
}

// A Repeat is one kind of failure.
type Repeat struct {
	Failure  string `json:"failure"`  // connect, reset, timeout, unavailable, or a status
	Repeated bool   `json:"repeated"` // another attempt is allowed
	Why      string `json:"why"`      // for people
}

// A Limit is one limit of time.
type Limit struct {
	Name  string `json:"name"`  // last part of Key
	Value string `json:"value"` // as in 3s; or none
	Means string `json:"means"`
	Key   string `json:"key"`
	Place string `json:"place,omitempty"` // empty: not known, or a default
	// Default: the file does not say it. False as well where no file is known.
	Default bool `json:"default,omitempty"`
}

// Locate fills in the places of everything that has a key. place returns the place of a key in
// the file, as in poise.yaml:22:14; empty: it is not written there.
func (e *Explanation) Locate(place func(key string) string) {
	for i := range e.Routes {
		e.Routes[i].Place = place(e.Routes[i].Key)
	}
	if e.Split != nil {
		e.Split.Place = place(e.Split.ConfigKey)
	}
	if e.Service != nil {
		e.Service.Place = place(e.Service.ConfigKey)
	}
	if e.Retry != nil {
		e.Retry.Place = place(e.Retry.Key)
	}
	for i := range e.Limits {
		l := &e.Limits[i]
		l.Place = place(l.Key)
		l.Default = l.Place == ""
	}
}
