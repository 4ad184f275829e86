package scrape

import (
	"maps"
	"slices"

	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/metric"
)

// routes visits the families of routes. Requests that found no route count under the name "".
func (s *scrape) routes() {
	all := s.core.RouteCounts()
	if none := s.core.UnmatchedCounts(); none.Begun > 0 {
		all = append(all, none)
	}
	all = slices.DeleteFunc(all, func(r record.RouteSums) bool { return !s.wanted(r.Service) })

	each := func(f *metric.Family, visit func(r *record.RouteSums)) {
		s.visitor.Family(f)
		for i := range all {
			visit(&all[i])
		}
	}
	plain := func(f *metric.Family, v func(r *record.RouteSums) uint64) {
		each(f, func(r *record.RouteSums) { s.value(float64(v(r)), r.Since, r.Name, r.Service) })
	}
	reasons := func(f *metric.Family, of func(r *record.RouteSums) map[string]uint64) {
		each(f, func(r *record.RouteSums) {
			counts := of(r)
			for _, why := range slices.Sorted(maps.Keys(counts)) {
				s.value(float64(counts[why]), r.Since, r.Name, r.Service, why)
			}
		})
	}
	each(&metric.Requests, func(r *record.RouteSums) {
		for _, c := range r.Codes {
			s.value(float64(c.N), r.Since, r.Name, r.Service, codeOf(c.Status))
		}
	})
	each(&metric.RequestDuration, func(r *record.RouteSums) { s.histogram(&r.Took, r.Since, r.Name, r.Service) })
	plain(&metric.RequestsInFlight, func(r *record.RouteSums) uint64 { return r.Begun - r.Ended() })
	plain(&metric.RequestBytes, func(r *record.RouteSums) uint64 { return r.BytesIn })
	plain(&metric.ResponseBytes, func(r *record.RouteSums) uint64 { return r.BytesOut })
	reasons(&metric.Failures, func(r *record.RouteSums) map[string]uint64 { return r.Failures })
	reasons(&metric.Retries, func(r *record.RouteSums) map[string]uint64 { return r.Retried })
	each(&metric.GRPCRequests, func(r *record.RouteSums) {
		for i, n := range r.RPCs {
			if n > 0 {
				s.value(float64(n), r.Since, r.Name, r.Service, grpc.Code(i).String())
			}
		}
	})
	each(&metric.RetriesRefused, func(r *record.RouteSums) {
		for i, n := range r.NoRetry {
			if n > 0 {
				s.value(float64(n), r.Since, r.Name, r.Service, record.NoRetry(i).String())
			}
		}
	})
}
