package service

// A shadow is a second policy that is asked for each first attempt, on the endpoints as they are, and
// whose choice is compared with the one that is followed:
//
//	Pick     the picker of the policy chooses a: the request goes to a
//	         the picker of the shadow chooses b: counted as agreed if b is a
//	         the waits that a and b promise are added up, if both are known
//
// So an operator sees, before a change of the policy, how often it would decide otherwise and
// whether that promises shorter waits. What it cannot show is what endpoints would be like if the
// shadow had been followed: the latencies are those that the other policy's choices have made.
//
// The wait that an endpoint promises is its expected latency (endpoint.Expected), times its load
// beside the mean:
//
//	expected 5 ms, 3 in flight where the mean is 1     5 × (1 + 3) / (1 + 1) = 10 ms
//	expected 8 ms, nothing in flight                   8 × 1 / 2 = 4 ms
//
// A shadow hurts nothing: one that panics, or takes longer than a millisecond three times in a row,
// is asked no more. A service without one pays a comparison with nil.

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

const (
	// shadowTimed says which picks of a shadow are timed: one in so many.
	shadowTimed = 64
	// shadowSlow is how long one may take, and shadowStrikes how often in a row it may take longer.
	shadowSlow    = time.Millisecond
	shadowStrikes = 3
)

// shadowing is what a view has of the shadow. It is never modified after the view was published.
type shadowing struct {
	picker policy.Picker
	mean   float64 // weight of the endpoints that it picks from
	count  float64 // how many those are
}

// shadow has what was counted of the shadow. It has cache lines to itself: all workers write it for
// every pick, and only then.
type shadow struct {
	_       [64]byte
	picks   atomic.Uint64 // that were compared
	agreed  atomic.Uint64 // of those, with the same endpoint
	waits   atomic.Uint64 // of those, with both waits known
	acted   atomic.Int64  // sum of the waits of the endpoints that were picked, ns
	would   atomic.Int64  // sum of those of the shadow's
	strikes atomic.Int32
	off     atomic.Pointer[string] // why it is asked no more; nil: it is asked
	_       [64]byte
	name    string // Settings.ShadowName; guarded by Service.mu
}

// adopt begins anew if the shadow has another name. Called with mu held, or by New.
func (x *shadow) adopt(name string) {
	if name == x.name {
		return
	}
	x.name = name
	for _, n := range [...]*atomic.Uint64{&x.picks, &x.agreed, &x.waits} {
		n.Store(0)
	}
	x.acted.Store(0)
	x.would.Store(0)
	x.strikes.Store(0)
	x.off.Store(nil)
}

// shapeShadow has the shadow build a picker for next. If that fails there is none, and the service
// works on. Called with work held.
func (s *Service) shapeShadow(next *view, set *Settings, version uint64) {
	var prev policy.Picker
	if next.shadow != nil && s.builds.shadowOf == version {
		prev = next.shadow.picker
	}
	next.shadow = nil
	if set.Shadow == nil || s.shadow.off.Load() != nil || len(next.usable) == 0 {
		return
	}
	picker, err := safely(set.Shadow, next.members, next.usable, prev)
	if err != nil {
		s.endShadow(err)
		return
	}
	s.builds.shadowOf = version
	total := int64(0)
	for _, e := range next.usable {
		total += e.Weight()
	}
	n := float64(len(next.usable))
	next.shadow = &shadowing{picker: picker, mean: float64(total) / n, count: n}
}

// endShadow has the shadow asked no more, because of err.
func (s *Service) endShadow(err error) {
	why := err.Error()
	if s.shadow.off.CompareAndSwap(nil, &why) {
		s.publish(fault(err))
	}
}

// compareShadow asks the shadow about an attempt for which e was picked. It changes neither.
func (s *Service) compareShadow(w *shadowing, a *policy.Attempt, e *endpoint.Endpoint) {
	x := &s.shadow
	if e == nil || e == policy.Wait || a.Tried.Len() > 0 || x.off.Load() != nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.endShadow(&panicked{in: "policy: Pick of the shadow", value: v, stack: debug.Stack()})
		}
	}()
	question := *a
	other := s.askShadow(w, &question)
	if other == nil || other == policy.Wait {
		return
	}
	x.picks.Add(1)
	if other == e {
		x.agreed.Add(1)
	}
	acted, known := w.wait(e, a)
	would, also := w.wait(other, a)
	if known && also {
		x.acted.Add(int64(acted))
		x.would.Add(int64(would))
		x.waits.Add(1)
	}
}

// shadowPick is what the shadow would pick, for people; nil: nothing, or there is no shadow. It counts
// nothing.
func (s *Service) shadowPick(w *shadowing, a policy.Attempt) (e *endpoint.Endpoint) {
	if w == nil || s.shadow.off.Load() != nil {
		return nil
	}
	defer func() {
		if recover() != nil { // compare will meet it too, and publish it
			e = nil
		}
	}()
	return w.picker.Pick(&a)
}

// askShadow picks from the shadow, and looks at the clock now and then.
func (s *Service) askShadow(w *shadowing, a *policy.Attempt) *endpoint.Endpoint {
	if a.Seq%shadowTimed != 0 {
		return w.picker.Pick(a)
	}
	began := s.rt.Now()
	e := w.picker.Pick(a)
	switch took := s.rt.Now() - began; {
	case took <= shadowSlow:
		s.shadow.strikes.Store(0)
	case s.shadow.strikes.Add(1) >= shadowStrikes:
		s.endShadow(fmt.Errorf("policy: Pick of the shadow took %v", took))
	}
	return e
}

// wait is what an attempt has to expect at e; known false: e was not measured.
func (w *shadowing) wait(e *endpoint.Endpoint, a *policy.Attempt) (d time.Duration, known bool) {
	expected := e.Expected(a.Now).Duration()
	load := (1 + float64(e.InFlight())*w.mean/float64(e.Weight())) / (1 + float64(a.Load)/w.count)
	return time.Duration(float64(expected) * load), expected > 0
}

// A ShadowStatus is how the choices of the shadow compare with those that were followed.
type ShadowStatus struct {
	Name   string // Settings.ShadowName; empty: there is none
	Picks  uint64 // that were compared
	Agreed uint64 // of those, with the same endpoint
	// Waits are the picks of which both waits were known, Acted and Would the sums of the waits
	// that the endpoint promised which was picked, and that of the shadow.
	Waits        uint64
	Acted, Would time.Duration
	Off          string // why it is asked no more; empty: it is
}

// Shadow reads how the shadow does. Any goroutine may call it.
func (s *Service) Shadow() (x ShadowStatus) {
	s.mu.Lock()
	if s.conf.set.Shadow != nil {
		x.Name = s.shadow.name
	}
	s.mu.Unlock()
	if x.Name == "" {
		return x
	}
	// Agreements before picks, so that they are never more.
	x.Agreed, x.Picks = s.shadow.agreed.Load(), s.shadow.picks.Load()
	x.Acted, x.Would, x.Waits = time.Duration(s.shadow.acted.Load()), time.Duration(s.shadow.would.Load()), s.shadow.waits.Load()
	if why := s.shadow.off.Load(); why != nil {
		x.Off = *why
	}
	return x
}
