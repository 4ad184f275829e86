package service

// What endpoints report of their load, for policies that use it. It is kept at the endpoint
// (endpoint.Report); here it is counted.

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// reports count load reports. Workers share them; a service whose endpoints report none does not
// touch them.
type reports struct{ taken, refused atomic.Uint64 }

// Report takes over what e has said of its load at the instant now; ok false: it could not be read,
// and what it said before stays. Any task may call it. It takes no lock.
func (s *Service) Report(e *endpoint.Endpoint, r endpoint.Report, now time.Duration, ok bool) {
	if !ok {
		s.reports.refused.Add(1)
		return
	}
	s.reports.taken.Add(1)
	e.Report(r, now)
}

// LoadReports are how many load reports of endpoints were taken over, and how many could not be
// read, since the service began. Any goroutine may call it.
func (s *Service) LoadReports() (taken, refused uint64) {
	return s.reports.taken.Load(), s.reports.refused.Load()
}
