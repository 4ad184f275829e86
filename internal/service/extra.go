package service

// The extra attempts of a service, retries and hedges (package extra). The state belongs to the
// service and so survives a reload; what the configuration allows is given with each question,
// since it belongs to the table of the exchange that asks.
//
//	every exchange        Seq, which is its running number
//	every attempt         Begin: one comparison; once a second it finds that turn is due
//	an extra attempt      TakeExtra, and ReturnExtra if it does not come about

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/extra"
)

// turnEvery is the interval of turn while there are attempts.
const turnEvery = time.Second

// extras are the extra attempts of one service.
type extras struct {
	budget   extra.Budget
	tail     atomic.Pointer[extra.Tail] // nil: nothing asks for a percentile
	quantile atomic.Uint64              // bits of Settings.HedgeAt
	hedges   [HedgeEnds]atomic.Uint64
}

// A HedgeEnd is what has become of a hedge that was due.
type HedgeEnd uint8

// Ends of hedges that began, and why others did not.
const (
	HedgeWon        HedgeEnd = iota // the client got its response
	HedgeLost                       // the first attempt answered before it
	HedgeFailed                     // neither of both answered
	HedgeNoBudget                   // not begun: the budget allowed none
	HedgeNoEndpoint                 // not begun: there is no other endpoint that works
	HedgeNoContent                  // not begun: the content was not there to be sent again

	HedgeEnds = int(iota) // how many there are
)

// Begun reports whether a hedge with this end was begun.
func (e HedgeEnd) Begun() bool { return e <= HedgeFailed }

// String is the value of a label in metrics.
func (e HedgeEnd) String() string {
	return [...]string{"won", "lost", "failed", "budget", "no-endpoint", "content"}[e]
}

// TakeExtra takes an extra attempt out of the budget of the service; false: l does not allow it.
// Any task may call it; it takes a lock for some instructions.
func (s *Service) TakeExtra(now time.Duration, k extra.Kind, l extra.Limits) bool {
	return s.extras.budget.Take(now, s.load.seq.Load(), k, l)
}

// ReturnExtra gives back what TakeExtra has taken, for an attempt that did not come about.
func (s *Service) ReturnExtra(k extra.Kind) { s.extras.budget.Return(k) }

// HedgeDue is the live percentile of Settings.HedgeAt; 0: it is not known. It takes no lock.
func (s *Service) HedgeDue() time.Duration {
	if t := s.extras.tail.Load(); t != nil {
		return t.Due()
	}
	return 0
}

// Timed learns that the first attempt of an exchange has taken d, or longer, until its response
// head. slot is that of the exchange. Without Settings.HedgeAt it does nothing.
func (s *Service) Timed(slot int, d time.Duration) {
	if t := s.extras.tail.Load(); t != nil {
		t.At(slot).Add(d)
	}
}

// Hedged counts the end of a hedge, or of one that was due and not begun.
func (s *Service) Hedged(e HedgeEnd) { s.extras.hedges[e].Add(1) }

// turn is called about once a second, by an attempt that begins at the instant now.
func (s *Service) turn(now time.Duration) {
	due := s.load.turn.Load()
	if int64(now) < due || !s.load.turn.CompareAndSwap(due, int64(now+turnEvery)) {
		return // another task does it
	}
	s.compareSoon()
	s.extras.budget.Turn(now, s.load.seq.Load())
	if t := s.extras.tail.Load(); t != nil {
		t.Turn(now, math.Float64frombits(s.extras.quantile.Load()))
	}
}

// adopt sets the percentile, from 0 to 1; 0: nothing asks for one, and what was known is forgotten.
func (x *extras) adopt(at float64, workers int) {
	x.quantile.Store(math.Float64bits(at))
	switch {
	case at == 0:
		x.tail.Store(nil)
	case x.tail.Load() == nil:
		x.tail.Store(extra.NewTail(workers))
	}
}

// An ExtraStatus is what is known of the extra attempts of a service at one moment.
type ExtraStatus struct {
	extra.Spent
	Hedges [HedgeEnds]uint64 // by HedgeEnd, since the service began
	Due    time.Duration     // the live percentile; 0: not known, or not asked for
}

// Extra reads the state of extra attempts. Any goroutine may call it.
func (s *Service) Extra() ExtraStatus {
	out := ExtraStatus{Spent: s.extras.budget.Spent(s.rt.Now(), s.load.seq.Load()), Due: s.HedgeDue()}
	for i := range out.Hedges {
		out.Hedges[i] = s.extras.hedges[i].Load()
	}
	return out
}
