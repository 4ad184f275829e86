package poise

// What a Proxy knows of an endpoint.

import (
	"cmp"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/service"
)

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
	Lane     string            `json:"lane,omitempty"`     // its value of the label of Service.Lanes; empty: it has none, or the service has no lanes
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

// ProbeStatus is how the probes of an endpoint went.
type ProbeStatus struct {
	At     time.Time     `json:"at,omitzero"`     // when the latest one ended; zero: none has
	Took   time.Duration `json:"took"`            // of the latest one, in ns
	Error  string        `json:"error,omitempty"` // of the latest one; empty: it passed
	Passed uint64        `json:"passed"`          // since it was first named
	Failed uint64        `json:"failed"`
	Next   time.Time     `json:"next,omitzero"` // when the next one is due; zero: none is
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
