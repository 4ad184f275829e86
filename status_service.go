package poise

// What a Proxy knows of a service.

import (
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/scrape"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

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

// serviceStatus is the status of a service under the configuration c.
func (p *Proxy) serviceStatus(c *config.Config, svc *service.Service) ServiceStatus {
	s := ServiceStatus{
		Name: svc.Name(), Policy: policyName(c, svc.Name()), Panic: svc.Panic(), LastResort: svc.Resorting(),
		Extra: extraStatus(svc), Shadow: shadowStatus(svc), LoadReports: loadReports(c, svc), Overload: overloadStatus(svc),
		Source: sourceStatus(svc.Source()),
	}
	s.Source.Kind = scrape.SourceKind(c, svc.Name())
	s.Lanes, s.LanesMissed, s.Sticky = variants(svc)
	if err := svc.Fault(); err != nil {
		s.Fault = err.Error()
	}
	places, at := svc.Places()
	s.Places = placesOf(places)
	all, label := svc.Snapshot(), svc.LaneLabel()
	for i := range all {
		e := p.endpointStatus(svc.Name(), &all[i])
		if n, placed := at[all[i].Spec.ID]; placed {
			e.Place = s.Places[n].Name
		}
		if label != "" {
			e.Lane = e.Metadata[label]
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
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

// placesOf are the places of a service.
func placesOf(all []policy.Place) (out []PlaceStatus) {
	for i := range all {
		p := &all[i]
		out = append(out, PlaceStatus{p.String(), p.Priority, p.Zone, p.Share, p.Members, p.Usable, p.Subset, p.Why})
	}
	return out
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
