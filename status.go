package poise

import (
	"cmp"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/front"
	"github.com/poise-lb/poise/internal/scrape"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

// Status is what a Proxy knows of its services at one moment.
type Status struct {
	Version string    `json:"version"` // of this module; (devel) for a build of a source tree
	Engine  string    `json:"engine"`  // what serves the connections that Serve accepts
	Started time.Time `json:"started"`
	// Generation is the number of the configuration in force, from 1, and Applied when it was
	// applied. Refusal is why the latest configuration was refused; empty: it was not.
	Generation uint64    `json:"generation"`
	Applied    time.Time `json:"applied"`
	Refusal    string    `json:"refusal,omitempty"`

	// Draining: Drain or Close was called.
	Draining bool `json:"draining"`
	// Totals are about all requests since New.
	Totals Totals `json:"totals"`
	// AccessLogLost are lines of the access log that were lost since New, because they could
	// not be written or came faster than that.
	AccessLogLost uint64 `json:"access_log_lost"`
	// Load is how much of what Config.Limits bounds is in use.
	Load     Load            `json:"load"`
	Services []ServiceStatus `json:"services"` // by name
}

// Totals count requests that have ended and the content they moved.
type Totals struct {
	// Requests by the class of the status that the client got: at 2 those of 200 to 299, and
	// so on. At 0 are those that got none, because the client left before.
	Requests [6]uint64 `json:"requests"`
	BytesIn  uint64    `json:"bytes_in"`  // content received from clients
	BytesOut uint64    `json:"bytes_out"` // content sent to clients
}

// Load counts connections and requests; the latter four numbers are since New.
type Load struct {
	Clients      int64 `json:"clients"`       // connections of clients that Serve has accepted
	ClientsLimit int64 `json:"clients_limit"` // how many there may be; 0: any number
	Endpoints    int64 `json:"endpoints"`     // connections to endpoints, idle ones included
	InFlight     int64 `json:"in_flight"`     // requests; counted while Limits.InFlight is set

	Waits     uint64 `json:"waits"`     // accepts put off: ClientsLimit was reached
	Refused   uint64 `json:"refused"`   // connections closed: their client had ConnectionsPerClient
	Overloads uint64 `json:"overloads"` // requests refused: InFlight was reached
	Shortages uint64 `json:"shortages"` // connections to endpoints not made: no descriptor was left
}

// ExtraStatus is what is known of the extra attempts of a service. All but the latter five numbers
// is of the last ten seconds.
type ExtraStatus struct {
	Requests uint64  `json:"requests"`
	Retries  uint64  `json:"retries"`
	Hedges   uint64  `json:"hedges"`
	Share    float64 `json:"share"` // Retries and Hedges by Requests
	// HedgeDelay is the percentile after which a hedge is due, in nanoseconds; 0: not known, or
	// not asked for.
	HedgeDelay time.Duration `json:"hedge_delay"`

	RetriesRefused uint64 `json:"retries_refused"` // by the budget, since the service began
	HedgesRefused  uint64 `json:"hedges_refused"`  // likewise
	HedgesWon      uint64 `json:"hedges_won"`      // the client got the response of the hedge
	HedgesLost     uint64 `json:"hedges_lost"`     // that of the first attempt
	HedgesFailed   uint64 `json:"hedges_failed"`   // that of neither
}

// extraStatus is the state of the extra attempts of a service.
func extraStatus(s *service.Service) ExtraStatus {
	x := s.Extra()
	return ExtraStatus{
		Requests: x.Requests, Retries: x.Retries, Hedges: x.Spent.Hedges, Share: x.Share(), HedgeDelay: x.Due,
		RetriesRefused: x.Refused[extra.Retry], HedgesRefused: x.Refused[extra.Hedge],
		HedgesWon: x.Hedges[service.HedgeWon], HedgesLost: x.Hedges[service.HedgeLost], HedgesFailed: x.Hedges[service.HedgeFailed],
	}
}

// OverloadStatus is the bounds of a service, and what waits: see Overload. Where nothing is bounded, all
// but InFlight is 0. The latter numbers count requests that found no place at once, since the service
// began.
type OverloadStatus struct {
	InFlight            int           `json:"in_flight"`              // attempts under way
	MaxInFlight         int           `json:"max_in_flight"`          // 0: any number
	EndpointMaxInFlight int           `json:"endpoint_max_in_flight"` // 0: any number
	EndpointLimitsFound bool          `json:"endpoint_limits_found"`  // each endpoint has a limit by its latency
	Waiting             int           `json:"waiting"`                // requests in the queue
	Queue               int           `json:"queue"`                  // that may wait
	Flooded             bool          `json:"flooded"`                // the newest are served first
	MeanWait            time.Duration `json:"mean_wait"`              // of those that were served, in ns

	Served    uint64 `json:"served"`    // after a wait
	Full      uint64 `json:"full"`      // refused: none more could wait
	Displaced uint64 `json:"displaced"` // refused: one of a higher priority came
	TimedOut  uint64 `json:"timed_out"` // refused after a wait
	Left      uint64 `json:"left"`      // the client left
	NoneLeft  uint64 `json:"none_left"` // refused: no endpoint was usable any more
}

// overloadStatus is the state of the bounds of a service.
func overloadStatus(s *service.Service) OverloadStatus {
	q := s.Queue()
	out := OverloadStatus{
		InFlight: q.InFlight, MaxInFlight: q.Most, EndpointMaxInFlight: q.Each, EndpointLimitsFound: q.Found, Waiting: q.Waiting, Queue: q.Room, Flooded: q.Newest,
		Served: q.Ends[service.QueueServed], Full: q.Ends[service.QueueFull], Displaced: q.Ends[service.QueueDisplaced],
		TimedOut: q.Ends[service.QueueTimeout], Left: q.Ends[service.QueueLeft], NoneLeft: q.Ends[service.QueueNoEndpoint],
	}
	if n := q.Waited.Count(); n > 0 {
		out.MeanWait = q.Waited.Sum / time.Duration(n)
	}
	return out
}

// ServiceStatus is one service.
type ServiceStatus struct {
	Name   string `json:"name"`
	Policy string `json:"policy"` // its type; "custom" for one that is Go
	// Panic: so few endpoints are usable that health is not believed, and all are used.
	Panic bool `json:"panic"`
	// LastResort: no endpoint is sound, that is healthy and not only kept because there is no
	// other; ejected ones are tried, each about once a second.
	LastResort bool `json:"last_resort"`
	// Extra are the attempts beside the first ones of requests: retries and hedges.
	Extra ExtraStatus `json:"extra"`
	// Shadow is how the policy does that is asked beside Policy without effect; nil: there is none.
	Shadow *ShadowStatus `json:"shadow,omitempty"`
	// Lanes are the parts of the endpoints by the label of Service.Lanes; nil: there are none.
	Lanes []LaneStatus `json:"lanes,omitempty"`
	// LanesMissed counts attempts that asked for a lane without a usable endpoint.
	LanesMissed uint64 `json:"lanes_missed,omitempty"`
	// Sticky counts clients that were bound to endpoints; nil: none are.
	Sticky *StickyStatus `json:"sticky,omitempty"`
	// LoadReports counts what endpoints said of their load; nil: that is not read.
	LoadReports *LoadReportsStatus `json:"load_reports,omitempty"`
	// Overload is what bounds the service, and what waits.
	Overload OverloadStatus `json:"overload"`
	// Fault says that the service's custom policy panicked, and how: its last picker stays in
	// use. Empty: it did not.
	Fault string `json:"fault,omitempty"`
	// Places are the parts of the endpoints, by priority and zone, that get shares of the requests of
	// their own, the preferred ones first. Nil: all endpoints are of one.
	Places    []PlaceStatus    `json:"places,omitempty"`
	Source    SourceStatus     `json:"source"`
	Endpoints []EndpointStatus `json:"endpoints"` // by address
}

// LaneStatus is one lane of a service.
type LaneStatus struct {
	Value     string `json:"value"` // of the label; empty: endpoints without it
	Endpoints int    `json:"endpoints"`
	Usable    int    `json:"usable"` // of them
}

// StickyStatus counts clients that were bound to endpoints by a cookie, since the service began.
type StickyStatus struct {
	New     uint64 `json:"new"`     // they had no cookie
	Moved   uint64 `json:"moved"`   // their endpoint could not be used, or failed
	Unknown uint64 `json:"unknown"` // their cookie named no endpoint
}

// ShadowStatus is how the choices of a shadow, a policy that is asked without effect, compare with
// those of the policy that is followed.
type ShadowStatus struct {
	Policy string `json:"policy"`
	Picks  uint64 `json:"picks"`  // that were compared, since it is the shadow
	Agreed uint64 `json:"agreed"` // of those, with the same endpoint
	// Wait is the mean wait, in ns, that the endpoints promised that were picked, and ShadowWait that
	// of the shadow's; 0: none is known. See Service.Shadow.
	Wait       time.Duration `json:"wait"`
	ShadowWait time.Duration `json:"shadow_wait"`
	// Off is why it is asked no more: it panicked, or was slow. Empty: it is asked.
	Off string `json:"off,omitempty"`
}

// LoadReportsStatus counts load reports of endpoints since the service began.
type LoadReportsStatus struct {
	Taken   uint64 `json:"taken"`
	Refused uint64 `json:"refused"` // they could not be read
}

// LoadReport is what an endpoint has said of its load in its latest report.
type LoadReport struct {
	// InFlight are the requests in flight there, of all its clients, and Others those of other
	// clients than this process; -1: it did not say.
	InFlight int64 `json:"in_flight"`
	Others   int64 `json:"others"`
	// Utilization is the part of its capacity in use, 1: all; -1: it did not say.
	Utilization float64       `json:"utilization"`
	Age         time.Duration `json:"age"`   // in ns
	Stale       bool          `json:"stale"` // too old to count
}

// PlaceStatus is a part of the endpoints of a service: see Zones, Priorities and Subset.
type PlaceStatus struct {
	Name     string `json:"name"` // for people: "priority 0, zone eu-1a"
	Priority int    `json:"priority"`
	Zone     string `json:"zone,omitempty"` // empty: all zones, or all but the proxy's
	// Share is the part of the requests that goes there as long as no endpoint is too busy, from 0 to 1.
	Share   float64 `json:"share"`
	Members int     `json:"members"` // endpoints, without those that are out
	Usable  int     `json:"usable"`
	Used    int     `json:"used"` // less than Usable if the proxy uses a subset
	Why     string  `json:"why"`  // for people
}

// placesOf are the places of a service.
func placesOf(all []policy.Place) (out []PlaceStatus) {
	for i := range all {
		p := &all[i]
		out = append(out, PlaceStatus{p.String(), p.Priority, p.Zone, p.Share, p.Members, p.Usable, p.Subset, p.Why})
	}
	return out
}

// SourceStatus is how the source of a service's endpoints does. A static list never fails.
type SourceStatus struct {
	// Kind is the key of the configuration that names the source; "list" for a list in the
	// configuration, "custom" for one that is Go.
	Kind string `json:"kind"`
	// Stale: the source cannot be asked, and the last set, of which there may be none, stays
	// in use; Age is for how long already, in ns, and Error is why.
	Stale bool          `json:"stale"`
	Age   time.Duration `json:"age"`
	Error string        `json:"error,omitempty"`
	// Held counts the endpoints that stay in use for a while although the last set does not
	// name them: it left out too many at once.
	Held int `json:"held"`
	// Rejected are the entries that are no usable endpoints, the first twenty of Rejects.
	Rejected []Rejected `json:"rejected,omitempty"`
	Rejects  int        `json:"rejects"`
}

// Rejected is an entry of a source that is not a usable endpoint.
type Rejected struct {
	ID     string `json:"id"` // what the source calls it
	Reason string `json:"reason"`
}

// EndpointStatus is one endpoint.
type EndpointStatus struct {
	ID       string            `json:"id"`     // URL and, if its source names one, the instance after a #
	Label    string            `json:"label"`  // its value of the label endpoint in metrics
	Word     string            `json:"word"`   // State, or what counts more: out, held, damped
	Usable   bool              `json:"usable"` // it is picked for new requests
	URL      string            `json:"url"`
	Weight   float64           `json:"weight"`            // share relative to the others, as the source says
	Out      bool              `json:"out,omitempty"`     // by its own or an operator's word: it gets no new requests
	Kept     bool              `json:"kept,omitempty"`    // healthy only because there is no other: it fails often enough to be ejected
	Slow     bool              `json:"slow,omitempty"`    // in the window of its slow start
	State    string            `json:"state"`             // probing, healthy, ejected, half-open, draining
	Cause    string            `json:"cause"`             // what ejected it: probes, breaker, operator or outlier; else empty
	Outlier  string            `json:"outlier,omitempty"` // in words, what makes it an outlier among its peers, whether it is ejected or as many are out as may be; empty: it is none
	InFlight int64             `json:"in_flight"`         // attempts under way
	Latency  time.Duration     `json:"latency"`           // smoothed, until the response head, in ns
	Attempts uint64            `json:"attempts"`          // since it was first named
	Failures uint64            `json:"failures"`
	Zone     string            `json:"zone,omitempty"`     // where it is, as its source says
	Priority int               `json:"priority,omitempty"` // its fail-over group
	Place    string            `json:"place,omitempty"`    // the name of its place; empty: there is one place only, or it gets no first attempts
	Metadata map[string]string `json:"metadata,omitempty"` // what its source says of it; not to be modified
	Held     bool              `json:"held,omitempty"`     // not named any more: see SourceStatus.Held
	Damped   bool              `json:"damped,omitempty"`   // came and went too often: not used for a while if another one is there

	// Limit is how many attempts there may be under way; 0: any number. BaseLatency is what a limit
	// that is found goes by: the latency, in ns, of the endpoint with little to do; 0: not known, or
	// not asked for.
	Limit       int64         `json:"limit,omitempty"`
	BaseLatency time.Duration `json:"base_latency,omitempty"`

	// Condition says in words for people what goes for requests now: State, or what stands before
	// it, and by what: "healthy", "ejected (probes)", "draining (operator)", "out (source)".
	Condition string `json:"condition"`
	// Since is when State changed last, or when an operator began to drain it.
	Since time.Time `json:"since"`
	// Until is when Condition ends by itself; zero: not by the clock.
	Until time.Time `json:"until,omitzero"`
	// Probe is how it is probed; nil: it is not, and was not.
	Probe *ProbeStatus `json:"probe,omitempty"`
	// Changes are those of State, at most 64, the oldest first; see Proxy.History.
	Changes []StateChange `json:"changes,omitempty"`
	// Load is what it has said of its load; nil: nothing, or that is not read.
	Load *LoadReport `json:"load,omitempty"`
	// Overrides are what operators say about it, at most one of drain and eject, and a weight.
	Overrides []Override `json:"overrides,omitempty"`
}

// ProbeStatus is how the probes of an endpoint went.
type ProbeStatus struct {
	At     time.Time     `json:"at,omitzero"`     // when the latest one ended; zero: none has
	Took   time.Duration `json:"took"`            // of the latest one, in ns
	Error  string        `json:"error,omitempty"` // of the latest one; empty: it passed
	Passed uint64        `json:"passed"`          // since it was first named
	Failed uint64        `json:"failed"`
	Next   time.Time     `json:"next,omitzero"` // when the next one is due; zero: none is
}

// Status reports the state of all services, discovered ones included. It takes a lock of
// each for a moment.
func (p *Proxy) Status() Status {
	core := p.server.Core()
	totals, reloads := core.Totals(), core.Reloads()
	s := Status{
		Version: front.Version(), Engine: p.server.Engine(), Started: p.server.Epoch(),
		Generation: reloads.Generation, Applied: p.server.Time(reloads.At),
		Draining: core.Draining(), AccessLogLost: p.server.AccessLogLost(),
		Load:   p.load(),
		Totals: Totals{Requests: totals.Classes, BytesIn: totals.BytesIn, BytesOut: totals.BytesOut},
	}
	if reloads.Refusal != nil {
		s.Refusal = reloads.Refusal.Error()
	}
	for _, svc := range core.Services() {
		one := ServiceStatus{Name: svc.Name(), Panic: svc.Panic(), LastResort: svc.Resorting(), Source: sourceStatus(svc.Source()), Extra: extraStatus(svc), Overload: overloadStatus(svc)}
		one.Policy, one.Source.Kind = policyName(core.Config(), svc.Name()), scrape.SourceKind(core.Config(), svc.Name())
		one.Lanes, one.LanesMissed, one.Sticky = variants(svc)
		one.Shadow, one.LoadReports = shadowStatus(svc), loadReports(core.Config(), svc)
		if err := svc.Fault(); err != nil {
			one.Fault = err.Error()
		}
		places, at := svc.Places()
		one.Places = placesOf(places)
		all := svc.Snapshot()
		for i := range all {
			e := p.endpointStatus(svc.Name(), &all[i])
			if n, placed := at[all[i].Spec.ID]; placed {
				e.Place = one.Places[n].Name
			}
			one.Endpoints = append(one.Endpoints, e)
		}
		s.Services = append(s.Services, one)
	}
	return s
}

// endpointStatus is the status of one endpoint of a service.
func (p *Proxy) endpointStatus(name string, e *service.EndpointStatus) EndpointStatus {
	s := EndpointStatus{
		ID:       e.Spec.ID.String(),
		Label:    service.Label(e.Spec.ID),
		Word:     e.Word(),
		Usable:   e.Usable,
		Changes:  p.changes(&e.History),
		URL:      e.Spec.URL(),
		Weight:   cmp.Or(e.Spec.Weight, 1),
		Out:      e.Spec.Out,
		Kept:     e.Kept,
		Slow:     e.Slow > 0,
		State:    e.State.String(),
		Cause:    e.Cause.String(),
		InFlight: e.InFlight,
		Limit:    e.Limit, BaseLatency: e.Base,
		Latency:  e.Latency,
		Attempts: e.Attempts,
		Failures: e.Failures,
		Zone:     e.Spec.Zone,
		Priority: e.Spec.Priority,
		Metadata: e.Spec.Metadata,
		Held:     e.Held > 0,
		Damped:   e.Damped > 0,
		Since:    p.server.Time(e.History.Changed()),
	}
	if e.Finding != nil {
		s.Outlier = e.Finding.String()
	}
	if r := e.Load; r != nil {
		s.Load = &LoadReport{InFlight: r.InFlight, Others: r.Others, Utilization: r.Utilization, Age: r.Age, Stale: r.Stale}
	}
	for _, o := range e.Overrides {
		s.Overrides = append(s.Overrides, p.override(name, o))
		if o.Kind == endpoint.Drain {
			s.Since = p.server.Time(o.Made)
		}
	}
	condition, until := e.Condition()
	s.Condition, s.Until = condition, p.server.Time(until)
	if h := &e.History; h.Passed+h.Failed > 0 || e.NextProbe > 0 {
		s.Probe = &ProbeStatus{
			At: p.server.Time(h.Probe.At), Took: h.Probe.Took,
			Passed: h.Passed, Failed: h.Failed, Next: p.server.Time(e.NextProbe),
		}
		if h.Probe.Err != nil {
			s.Probe.Error = h.Probe.Err.Error()
		}
	}
	return s
}

// variants are the lanes of a service and its sticky clients.
func variants(s *service.Service) (lanes []LaneStatus, missed uint64, sticky *StickyStatus) {
	all, missed := s.Lanes()
	for _, l := range all {
		lanes = append(lanes, LaneStatus{Value: l.Value, Endpoints: l.Members, Usable: l.Usable})
	}
	if n, on := s.Sticky(); on {
		sticky = &StickyStatus{New: n[service.StickyNew], Moved: n[service.StickyMoved], Unknown: n[service.StickyUnknown]}
	}
	return lanes, missed, sticky
}

// shadowStatus is how the shadow of a service does; nil: it has none.
func shadowStatus(s *service.Service) *ShadowStatus {
	x := s.Shadow()
	if x.Name == "" {
		return nil
	}
	out := &ShadowStatus{Policy: x.Name, Picks: x.Picks, Agreed: x.Agreed, Off: x.Off}
	if x.Waits > 0 {
		out.Wait, out.ShadowWait = x.Acted/time.Duration(x.Waits), x.Would/time.Duration(x.Waits)
	}
	return out
}

// loadReports counts the load reports of a service; nil: it reads none.
func loadReports(c *config.Config, s *service.Service) *LoadReportsStatus {
	read := c.Services[s.Name()].LoadReports
	if entry, _, discovered := strings.Cut(s.Name(), "/"); discovered {
		read = c.Discover[entry].LoadReports
	}
	if !read {
		return nil
	}
	out := new(LoadReportsStatus)
	out.Taken, out.Refused = s.LoadReports()
	return out
}

// policyName is the word for the policy of a service in a configuration. One that a request has named
// has that of its discover entry.
func policyName(c *config.Config, name string) string {
	p := c.Services[name].Policy
	if entry, _, discovered := strings.Cut(name, "/"); discovered {
		p = c.Discover[entry].Policy
	}
	if p.Custom != nil {
		return "custom"
	}
	return p.Type
}

func (p *Proxy) load() Load {
	c := p.server.Core().Admission().Counts()
	return Load{
		Clients: c.Clients, ClientsLimit: c.Most, Endpoints: c.Endpoints, InFlight: c.Requests,
		Waits: c.Waits, Refused: c.Refused, Overloads: c.Overloads, Shortages: c.Shortages,
	}
}

func sourceStatus(from service.SourceStatus) SourceStatus {
	s := SourceStatus{Stale: from.Stale, Age: from.Age, Held: from.Held, Rejects: from.Rejects}
	if from.Err != nil {
		s.Error = from.Err.Error()
	}
	for _, r := range from.Rejected {
		s.Rejected = append(s.Rejected, Rejected{ID: r.ID, Reason: r.Reason})
	}
	return s
}
