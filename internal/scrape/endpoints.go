package scrape

// Families of endpoints. Each is a walk along all endpoints, which reads one figure of each:
//
//	Family(EndpointOpened)   10.0.0.1:80  cells ─► 17   Value(shop, 10.0.0.1:80) 17
//	                         10.0.0.2:80  cells ─► 3    Value(shop, 10.0.0.2:80) 3
//	                         all above metrics.endpoints_max, as one: _other

import (
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/metric"
)

// Other stands for all endpoints above metrics.endpoints_max.
const Other = "_other"

// ofEndpoints visits the families of endpoints: counters of all that are kept, and gauges of those
// that are there.
func (s *scrape) ofEndpoints() {
	s.attempts()
	s.ejections()
	s.opened()
	s.probes()
	s.gauges()
}

// A series is what a series of an endpoint is called, and from when it counts.
type series struct {
	service, endpoint string
	since             time.Duration
}

// figures visits a family with a counter of each endpoint, or a few. add adds those of one endpoint up;
// write writes the sum, which is of one endpoint, or of all that have no series of their own.
func figures[F any](s *scrape, f *metric.Family, add func(to *F, of *service.Service, r *service.Reading), write func(at series, sum *F)) {
	s.visitor.Family(f)
	sum, empty := new(F), *new(F)
	for i := range s.services {
		of := &s.services[i]
		for k := range of.shown {
			r := &of.all[k]
			*sum = empty
			add(sum, of.Service, r)
			write(series{of.name, r.Label, r.Since}, sum)
			s.turn.Did(1)
		}
		rest := of.all[of.shown:]
		if len(rest) == 0 {
			continue
		}
		*sum = empty
		since := rest[0].Since
		for k := range rest {
			add(sum, of.Service, &rest[k])
			since = min(since, rest[k].Since)
			s.turn.Did(1)
		}
		write(series{of.name, Other, since}, sum)
	}
}

// attempts visits the counters of attempts.
func (s *scrape) attempts() {
	figures(s, &metric.EndpointAttempts, func(to *[6]uint64, _ *service.Service, r *service.Reading) {
		r.Cells.Each(func(c *record.EndpointCell) { c.AddClasses(to) })
	}, func(at series, sum *[6]uint64) {
		for i, n := range sum {
			if n > 0 {
				s.value(float64(n), at.since, at.service, at.endpoint, classes[i])
			}
		}
	})
	type failures struct {
		some bool
		by   record.Reasons
	}
	figures(s, &metric.EndpointFailures, func(to *failures, _ *service.Service, r *service.Reading) {
		r.Cells.Each(func(c *record.EndpointCell) { to.some = c.AddFailures(&to.by) || to.some })
	}, func(at series, sum *failures) {
		if !sum.some { // as of most
			return
		}
		for _, i := range byWord {
			if n := sum.by[i]; n > 0 {
				s.value(float64(n), at.since, at.service, at.endpoint, reason.At(i))
			}
		}
	})
	if !s.config.NoEndpointHistograms {
		figures(s, &metric.EndpointResponse, func(to *record.Durations, _ *service.Service, r *service.Reading) {
			r.Cells.Each(func(c *record.EndpointCell) { c.AddHeaded(to) })
		}, func(at series, sum *record.Durations) { s.histogram(sum, at.since, at.service, at.endpoint) })
	}
}

// opened visits the counters of connections.
func (s *scrape) opened() {
	one := func(f *metric.Family, of func(c *record.EndpointCell) uint64) {
		figures(s, f, func(to *uint64, _ *service.Service, r *service.Reading) {
			r.Cells.Each(func(c *record.EndpointCell) { *to += of(c) })
		}, func(at series, n *uint64) { s.value(float64(*n), at.since, at.service, at.endpoint) })
	}
	one(&metric.EndpointOpened, func(c *record.EndpointCell) uint64 { n, _ := c.Connections(); return n })
	one(&metric.EndpointReplaced, func(c *record.EndpointCell) uint64 { _, n := c.Connections(); return n })
}

// addTallies adds up what has happened to an endpoint beside attempts.
func addTallies(to *service.Tallies, of *service.Service, r *service.Reading) {
	t := of.Tallies(r)
	to.Passed, to.Failed = to.Passed+t.Passed, to.Failed+t.Failed
	for k, n := range t.Ejections {
		to.Ejections[k] += n
	}
}

// ejections visits the counters of ejections.
func (s *scrape) ejections() {
	figures(s, &metric.EndpointEjections, addTallies, func(at series, sum *service.Tallies) {
		for i, n := range sum.Ejections {
			if i > 0 {
				s.value(float64(n), at.since, at.service, at.endpoint, health.Cause(i).String())
			}
		}
	})
}

// probes visits the counters of probes.
func (s *scrape) probes() {
	figures(s, &metric.EndpointProbes, addTallies, func(at series, sum *service.Tallies) {
		if sum.Passed+sum.Failed > 0 {
			s.value(float64(sum.Passed), at.since, at.service, at.endpoint, "passed")
			s.value(float64(sum.Failed), at.since, at.service, at.endpoint, "failed")
		}
	})
}

// gauges visits what goes for the endpoints that are there.
func (s *scrape) gauges() {
	each := func(f *metric.Family, visit func(of *serviceFigures, r *service.Reading)) {
		s.visitor.Family(f)
		left := s.config.EndpointsMax
		for i := range s.services {
			of := &s.services[i]
			for k := range of.all {
				if r := &of.all[k]; !r.Gone() && left > 0 {
					left--
					visit(of, r)
					s.turn.Did(1)
				}
			}
		}
	}
	plain := func(f *metric.Family, v func(e *endpoint.Endpoint) (float64, bool)) {
		each(f, func(of *serviceFigures, r *service.Reading) {
			if n, ok := v(r.Endpoint()); ok {
				s.value(n, 0, of.name, r.Label)
			}
		})
	}
	now := s.about.Now
	plain(&metric.EndpointInFlight, func(e *endpoint.Endpoint) (float64, bool) { return float64(e.InFlight()), true })
	plain(&metric.EndpointLimit, func(e *endpoint.Endpoint) (float64, bool) { n := e.Limit(); return float64(n), n > 0 })
	each(&metric.EndpointBase, func(of *serviceFigures, r *service.Reading) {
		if base, found := r.Base(); found {
			s.value(base.Seconds(), 0, of.name, r.Label)
		}
	})
	plain(&metric.EndpointWeight, func(e *endpoint.Endpoint) (float64, bool) { return max(e.Spec().Weight, 1), true })
	plain(&metric.EndpointUsable, func(e *endpoint.Endpoint) (float64, bool) { return flag(e.Usable()), true })
	plain(&metric.EndpointLatency, func(e *endpoint.Endpoint) (float64, bool) { return e.Latency(now).Seconds(), true })
	plain(&metric.EndpointReported, func(e *endpoint.Endpoint) (float64, bool) {
		r, ok := e.LastReport(now)
		return float64(r.InFlight), ok && r.InFlight >= 0 && !r.Stale
	})
	plain(&metric.EndpointUtilization, func(e *endpoint.Endpoint) (float64, bool) {
		r, ok := e.LastReport(now)
		return r.Utilization, ok && r.Utilization >= 0 && !r.Stale
	})
	each(&metric.EndpointConnections, func(of *serviceFigures, r *service.Reading) {
		if pool, ok := r.Attached().(interface{ Counts() (open, idle int64) }); ok {
			open, idle := pool.Counts()
			s.value(float64(open-idle), 0, of.name, r.Label, "active")
			s.value(float64(idle), 0, of.name, r.Label, "idle")
		}
	})
	each(&metric.EndpointProbe, func(of *serviceFigures, r *service.Reading) {
		if p := of.Probe(r); p.At > 0 {
			s.value(p.Took.Seconds(), 0, of.name, r.Label)
		}
	})
}

// classes are the values of the label class.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// byWord are the numbers of all reasons in the order of their words.
var byWord = func() (all [reason.Count + 1]int) {
	for i := range all {
		all[i] = i
	}
	slices.SortFunc(all[:], func(a, b int) int { return strings.Compare(reason.At(a), reason.At(b)) })
	return all
}()
