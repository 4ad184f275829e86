package scrape

// The families of services. Those of what a service may have, such as lanes or a queue, have no series of
// services without it.

import (
	"strconv"

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
		for i, n := range f.states {
			s.value(float64(n), 0, f.name, states[i])
		}
	})
	plain(&metric.Panic, func(f *serviceFigures) float64 { return flag(f.Panic()) })
	plain(&metric.LastResort, func(f *serviceFigures) float64 { return flag(f.Resorting()) })
	each(&metric.PlaceShare, func(f *serviceFigures) {
		places := f.Shares()
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
		plain(&metric.MetricsOverflow, func(f *serviceFigures) float64 { return flag(f.shown < len(f.all)) })
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

// states are the values of the label state: what EndpointStatus.Word may be.
var states = [...]string{"probing", "healthy", "ejected", "half-open", "draining", "out", "held", "damped"}
