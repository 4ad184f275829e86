package scrape

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/metric"
	"github.com/poise-lb/poise/policy"
)

// ofServices visits the families of services.
func (s *scrape) ofServices() {
	each := func(f *metric.Family, visit func(f *serviceFigures)) {
		s.visitor.Family(f)
		for i := range s.services {
			visit(&s.services[i])
		}
	}
	plain := func(f *metric.Family, v func(f *serviceFigures) float64) {
		each(f, func(f *serviceFigures) { s.value(v(f), 0, f.name) })
	}
	each(&metric.Endpoints, func(f *serviceFigures) {
		for i, n := range statesOf(f.status) {
			s.value(float64(n), 0, f.name, states[i])
		}
	})
	plain(&metric.Panic, func(f *serviceFigures) float64 { return flag(f.Panic()) })
	plain(&metric.LastResort, func(f *serviceFigures) float64 { return flag(f.Resorting()) })
	each(&metric.PlaceShare, func(f *serviceFigures) {
		places, _ := f.Places()
		for i := range places {
			if p := &places[i]; p.Kind != policy.OtherZones {
				s.value(p.Share, 0, f.name, strconv.Itoa(p.Priority), p.Zone)
			}
		}
	})
	s.ofExtra(each)
	s.ofShadow(each)
	s.ofLanes(each)
	s.ofQueues(each)
	s.ofSources(each)
	if s.options.Scopes&metric.Endpoint != 0 {
		plain(&metric.MetricsOverflow, func(f *serviceFigures) float64 { return flag(f.shown < len(f.counts)) })
	}
}

// ofExtra visits the families of retries and hedges.
func (s *scrape) ofExtra(each func(*metric.Family, func(*serviceFigures))) {
	kinds := [...]string{extra.Retry: "retry", extra.Hedge: "hedge"}
	each(&metric.ExtraAttempts, func(f *serviceFigures) {
		for k, n := range f.extra.Taken {
			s.value(float64(n), 0, f.name, kinds[k])
		}
	})
	each(&metric.ExtraRefused, func(f *serviceFigures) {
		for k, n := range f.extra.Refused {
			s.value(float64(n), 0, f.name, kinds[k])
		}
	})
	each(&metric.ExtraShare, func(f *serviceFigures) { s.value(f.extra.Share(), 0, f.name) })
	ends := func(begun bool) func(f *serviceFigures) {
		return func(f *serviceFigures) {
			for i, n := range f.extra.Hedges {
				if end := service.HedgeEnd(i); end.Begun() == begun && n > 0 {
					s.value(float64(n), 0, f.name, end.String())
				}
			}
		}
	}
	each(&metric.Hedges, ends(true))
	each(&metric.HedgesRefused, ends(false))
	each(&metric.HedgeDelay, func(f *serviceFigures) { s.value(f.extra.Due.Seconds(), 0, f.name) })
}

// ofLanes visits the families of lanes and sticky clients, of services that have them.
func (s *scrape) ofLanes(each func(*metric.Family, func(*serviceFigures))) {
	each(&metric.LaneEndpoints, func(f *serviceFigures) {
		all, _ := f.Lanes()
		for i := range all {
			s.value(float64(all[i].Usable), 0, f.name, all[i].Value)
		}
	})
	each(&metric.LanesMissed, func(f *serviceFigures) {
		if all, missed := f.Lanes(); all != nil {
			s.value(float64(missed), 0, f.name)
		}
	})
	each(&metric.StickyBindings, func(f *serviceFigures) {
		if n, on := f.Sticky(); on {
			for i := range n {
				s.value(float64(n[i]), 0, f.name, service.StickyEnd(i).String())
			}
		}
	})
}

// ofShadow visits the families of shadows and of load reports, of services that have them.
func (s *scrape) ofShadow(each func(*metric.Family, func(*serviceFigures))) {
	shadows := func(f *metric.Family, visit func(name string, x *service.ShadowStatus)) {
		each(f, func(f *serviceFigures) {
			if x := f.Shadow(); x.Name != "" {
				visit(f.name, &x)
			}
		})
	}
	shadows(&metric.ShadowPicks, func(name string, x *service.ShadowStatus) {
		s.value(float64(x.Agreed), 0, name, x.Name, "agreed")
		s.value(float64(x.Picks-x.Agreed), 0, name, x.Name, "differed")
	})
	shadows(&metric.ShadowWait, func(name string, x *service.ShadowStatus) {
		s.value(x.Acted.Seconds(), 0, name, x.Name, "policy")
		s.value(x.Would.Seconds(), 0, name, x.Name, "shadow")
	})
	each(&metric.LoadReports, func(f *serviceFigures) {
		if taken, refused := f.LoadReports(); taken+refused > 0 {
			s.value(float64(taken), 0, f.name, "taken")
			s.value(float64(refused), 0, f.name, "refused")
		}
	})
}

// ofQueues visits the families of bounds and queues, of services that have some.
func (s *scrape) ofQueues(each func(*metric.Family, func(*serviceFigures))) {
	plain := func(m *metric.Family, v func(q *service.QueueStatus) float64) {
		each(m, func(f *serviceFigures) {
			if f.queue.Bounded() {
				s.value(v(&f.queue), 0, f.name)
			}
		})
	}
	plain(&metric.InFlight, func(q *service.QueueStatus) float64 { return float64(q.InFlight) })
	plain(&metric.InFlightLimit, func(q *service.QueueStatus) float64 { return float64(q.Most) })
	plain(&metric.Queued, func(q *service.QueueStatus) float64 { return float64(q.Waiting) })
	plain(&metric.QueueRoom, func(q *service.QueueStatus) float64 { return float64(q.Room) })
	plain(&metric.QueueNewest, func(q *service.QueueStatus) float64 { return flag(q.Newest) })
	each(&metric.QueueEnded, func(f *serviceFigures) {
		for i, n := range f.queue.Ends {
			if f.queue.Bounded() {
				s.value(float64(n), 0, f.name, service.QueueEnd(i).String())
			}
		}
	})
	each(&metric.QueueWait, func(f *serviceFigures) {
		if f.queue.Bounded() {
			s.histogram(&f.queue.Waited, 0, f.name)
		}
	})
}

// ofSources visits the families of sources. Of a source that is made of several each part has series
// of its own, by its name; removals are held of their union only, whose name is merge.
func (s *scrape) ofSources(each func(*metric.Family, func(*serviceFigures))) {
	parts := func(f *serviceFigures, visit func(p *service.PartStatus)) {
		for i := range f.source.Parts {
			visit(&f.source.Parts[i])
		}
		if f.source.Parts == nil {
			visit(&service.PartStatus{Name: f.kind, Age: f.source.Age, Rejects: f.source.Rejects, Counts: f.source.Counts})
		}
	}
	each(&metric.SourceStale, func(f *serviceFigures) {
		parts(f, func(p *service.PartStatus) { s.value(p.Age.Seconds(), 0, f.name, p.Name) })
	})
	each(&metric.SourceHeld, func(f *serviceFigures) { s.value(float64(f.source.Held), 0, f.name, f.kind) })
	each(&metric.SourceRejected, func(f *serviceFigures) {
		parts(f, func(p *service.PartStatus) { s.value(float64(p.Rejects), 0, f.name, p.Name) })
	})
	each(&metric.SourceUpdates, func(f *serviceFigures) {
		parts(f, func(p *service.PartStatus) {
			s.value(float64(p.Counts.Applied), 0, f.name, p.Name, "applied")
			s.value(float64(p.Counts.Failed), 0, f.name, p.Name, "failed")
		})
		s.value(float64(f.source.Counts.Held), 0, f.name, f.kind, "held")
	})
}

// SourceKind is the word for the source of a service in a configuration, which is the value of the
// label source: its key, or list for endpoints that the configuration lists. A service that a request
// has named has that of its discover entry.
func SourceKind(c *config.Config, name string) string {
	from := c.Services[name].Source
	if entry, _, discovered := strings.Cut(name, "/"); discovered {
		d := c.Discover[entry]
		from = &d.Source
	}
	if from == nil {
		return "list"
	}
	return from.Kind()
}

// states are the values of the label state. An endpoint is in one of them only: one that is out,
// held or damped is not counted by its health.
var states = [...]string{"probing", "healthy", "ejected", "half-open", "draining", "out", "held", "damped"}

// statesOf counts endpoints by states.
func statesOf(all []service.EndpointStatus) (n [len(states)]int) {
	for i := range all {
		n[slices.Index(states[:], StateOf(&all[i]))]++
	}
	return n
}

// StateOf is the one word for the state of an endpoint, a value of the label state.
func StateOf(e *service.EndpointStatus) string {
	switch {
	case e.State >= health.Draining:
		return "draining"
	case e.Spec.Out, e.Drained:
		return "out"
	case e.Held > 0:
		return "held"
	case e.Damped > 0:
		return "damped"
	}
	return e.State.String()
}

// Other stands for all endpoints above metrics.endpoints_max.
const Other = "_other"

// ofEndpoints visits the families of endpoints: counters of all that are kept, and gauges of those
// that are there.
func (s *scrape) ofEndpoints() {
	s.counters()
	s.gauges()
}

// figures visits a family with the counters of each endpoint; those that have no series of their
// own are summed up before.
func (s *scrape) figures(f *metric.Family, visit func(name, endpoint string, c *service.EndpointCounts)) {
	s.visitor.Family(f)
	for i := range s.services {
		of := &s.services[i]
		for k := range of.counts[:of.shown] {
			c := &of.counts[k]
			visit(of.name, Label(c.ID), c)
		}
		if rest := of.counts[of.shown:]; len(rest) > 0 {
			sum := total(rest)
			visit(of.name, Other, &sum)
		}
	}
}

func (s *scrape) counters() {
	s.figures(&metric.EndpointAttempts, func(name, e string, c *service.EndpointCounts) {
		for i, n := range c.Classes {
			if n > 0 {
				s.value(float64(n), c.Since, name, e, classes[i])
			}
		}
	})
	s.figures(&metric.EndpointFailures, func(name, e string, c *service.EndpointCounts) {
		for _, why := range slices.Sorted(maps.Keys(c.Failures)) {
			s.value(float64(c.Failures[why]), c.Since, name, e, why)
		}
	})
	if !s.config.NoEndpointHistograms {
		s.figures(&metric.EndpointResponse, func(name, e string, c *service.EndpointCounts) { s.histogram(&c.Headed, c.Since, name, e) })
	}
	s.figures(&metric.EndpointEjections, func(name, e string, c *service.EndpointCounts) {
		for i, n := range c.Ejections {
			if i > 0 {
				s.value(float64(n), c.Since, name, e, health.Cause(i).String())
			}
		}
	})
	s.figures(&metric.EndpointOpened, func(name, e string, c *service.EndpointCounts) { s.value(float64(c.Opened), c.Since, name, e) })
	s.figures(&metric.EndpointReplaced, func(name, e string, c *service.EndpointCounts) { s.value(float64(c.Replaced), c.Since, name, e) })
	s.figures(&metric.EndpointProbes, func(name, e string, c *service.EndpointCounts) {
		if c.Passed+c.Failed > 0 {
			s.value(float64(c.Passed), c.Since, name, e, "passed")
			s.value(float64(c.Failed), c.Since, name, e, "failed")
		}
	})
}

func (s *scrape) gauges() {
	each := func(f *metric.Family, visit func(name, at string, e *service.EndpointStatus)) {
		s.visitor.Family(f)
		left := s.config.EndpointsMax
		for i := range s.services {
			of := &s.services[i]
			for k := range of.status[:min(len(of.status), left)] {
				visit(of.name, Label(of.status[k].Spec.ID), &of.status[k])
			}
			left -= min(len(of.status), left)
		}
	}
	plain := func(f *metric.Family, v func(e *service.EndpointStatus) float64) {
		each(f, func(name, at string, e *service.EndpointStatus) { s.value(v(e), 0, name, at) })
	}
	plain(&metric.EndpointInFlight, func(e *service.EndpointStatus) float64 { return float64(e.InFlight) })
	each(&metric.EndpointLimit, func(name, at string, e *service.EndpointStatus) {
		if e.Limit > 0 {
			s.value(float64(e.Limit), 0, name, at)
		}
	})
	each(&metric.EndpointBase, func(name, at string, e *service.EndpointStatus) {
		if e.Found {
			s.value(e.Base.Seconds(), 0, name, at)
		}
	})
	plain(&metric.EndpointWeight, func(e *service.EndpointStatus) float64 { return max(e.Spec.Weight, 1) })
	plain(&metric.EndpointUsable, func(e *service.EndpointStatus) float64 { return flag(e.Usable) })
	plain(&metric.EndpointLatency, func(e *service.EndpointStatus) float64 { return e.Latency.Seconds() })
	each(&metric.EndpointReported, func(name, at string, e *service.EndpointStatus) {
		if r := e.Load; r != nil && r.InFlight >= 0 && !r.Stale {
			s.value(float64(r.InFlight), 0, name, at)
		}
	})
	each(&metric.EndpointUtilization, func(name, at string, e *service.EndpointStatus) {
		if r := e.Load; r != nil && r.Utilization >= 0 && !r.Stale {
			s.value(r.Utilization, 0, name, at)
		}
	})
	each(&metric.EndpointConnections, func(name, at string, e *service.EndpointStatus) {
		pool, ok := e.Attached.(interface{ Counts() (open, idle int64) })
		if !ok {
			return
		}
		open, idle := pool.Counts()
		s.value(float64(open-idle), 0, name, at, "active")
		s.value(float64(idle), 0, name, at, "idle")
	})
	each(&metric.EndpointProbe, func(name, at string, e *service.EndpointStatus) {
		if p := &e.History.Probe; p.At > 0 {
			s.value(p.Took.Seconds(), 0, name, at)
		}
	})
}

// classes are the values of the label class.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Label is what an endpoint is called in metrics: its address, and its instance where it has one.
func Label(id endpoint.ID) string {
	switch {
	case id.Scheme != "http":
		return id.String()
	case id.Instance != "":
		return id.Address + "#" + id.Instance
	}
	return id.Address
}

// total sums up counters.
func total(all []service.EndpointCounts) (sum service.EndpointCounts) {
	sum.Since = all[0].Since
	sum.Failures = make(map[string]uint64)
	for i := range all {
		c := &all[i]
		sum.Since = min(sum.Since, c.Since)
		for k, n := range c.Classes {
			sum.Classes[k] += n
		}
		for k, n := range c.Ejections {
			sum.Ejections[k] += n
		}
		for why, n := range c.Failures {
			sum.Failures[why] += n
		}
		sum.Headed.Add(&c.Headed)
		sum.Opened += c.Opened
		sum.Replaced += c.Replaced
		sum.Passed += c.Passed
		sum.Failed += c.Failed
	}
	return sum
}
