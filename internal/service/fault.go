package service

// Panics of a custom policy, which is the embedder's code. They end neither the process nor the
// service:
//
//	Build panics, or returns nil    the last picker stays in use; Build is repeated after a second,
//	                                or when the set changes
//	Pick panics                     a random usable endpoint is picked instead
//
// Both are published as events with the stack, and Fault returns them while they last.

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

const (
	// buildAgain is the pause before a Build that panicked is repeated; a change of the set
	// repeats it sooner.
	buildAgain = time.Second
	// faultFor is for how long Fault returns a panic in Pick, and the shortest interval of
	// events of such panics.
	faultFor = time.Minute
)

// errNoPicker is the fault of a Build that returned nil.
var errNoPicker = errors.New("policy: Build returned no picker")

// shape has the policy p build the picker of next. If that fails the picker of the last view
// stays, which was built for another set, and the Build is repeated: see otherwise for what Pick
// does about it. version is conf.version of p. Called with work held.
func (s *Service) shape(next *view, p policy.Policy, custom bool, version uint64, now time.Duration) {
	prev := next.built
	if s.builds.pickerOf != version {
		prev = nil // it may be of another policy
	}
	picker, err := safely(p, next.members, next.usable, prev)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteBuild(err)
	if err != nil {
		next.oldPicker = true
		s.builds.again = now + buildAgain
		return
	}
	s.builds.pickerOf, s.builds.again = version, 0
	next.built, next.picker, next.oldPicker = picker, picker, false
	if custom {
		next.picker = &guarded{Picker: picker, service: s}
	}
}

// safely calls p.Build. A panic, or no picker, is an error.
func safely(p policy.Policy, members, usable []*endpoint.Endpoint, prev policy.Picker) (picker policy.Picker, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{in: "policy: Build", value: v, stack: debug.Stack()}
		}
	}()
	if picker = p.Build(members, usable, prev); picker == nil {
		return nil, errNoPicker
	}
	return picker, nil
}

// panicked is the error of a recovered panic.
type panicked struct {
	in    string // the code that panicked, as "policy: Build"
	value any
	stack []byte
}

// Error implements error.
func (p *panicked) Error() string { return fmt.Sprintf("%s panicked: %v", p.in, p.value) }

// noteBuild records how a Build ended; err nil: well. It publishes only what differs from the last
// one. Called with mu held.
func (s *Service) noteBuild(err error) {
	switch was := s.faults.build; {
	case err == nil && was != nil:
		s.publish(event.FaultEnded{})
	case err != nil && (was == nil || was.Error() != err.Error()):
		s.publish(fault(err))
	}
	s.faults.build = err
}

// guarded is a custom picker whose panics are recovered. Pickers of this module are used
// directly: a deferred recover costs some nanoseconds per pick.
type guarded struct {
	policy.Picker
	service *Service
	failed  atomic.Int64 // instant at which a panic was published last; 0: never
}

// Pick calls the embedder's Pick. After a panic, or if that returns an endpoint that no service has
// made, it returns nil: the caller then picks at random.
func (g *guarded) Pick(a *policy.Attempt) (e *endpoint.Endpoint) {
	defer func() {
		if v := recover(); v != nil {
			g.note(v)
			e = nil
		}
	}()
	e = g.Picker.Pick(a)
	if e != nil && e != policy.Wait {
		_ = e.Local.(*Member) // panics for an endpoint of the picker's own making
	}
	return e
}

// note publishes the recovered panic v, at most one per faultFor. The deferred function that has
// recovered it calls it, for the stack. That of a frozen view, without a service, publishes none.
func (g *guarded) note(v any) {
	s := g.service
	if s == nil {
		return
	}
	now := s.rt.Now()
	last := g.failed.Load()
	if last != 0 && now-time.Duration(last) < faultFor || !g.failed.CompareAndSwap(last, int64(now)) {
		return
	}
	err := &panicked{in: "policy: Pick", value: v, stack: debug.Stack()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.pick, s.faults.pickAt = err, now
	s.publish(fault(err))
}

// Fault is the failure of the service's custom policy: its latest Build has failed, or a Pick has
// panicked less than a minute ago; nil: neither. Any goroutine may call it.
func (s *Service) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.build != nil {
		return s.faults.build
	}
	if s.faults.pick != nil && s.rt.Now()-s.faults.pickAt < faultFor {
		return s.faults.pick
	}
	return nil
}

// shield calls f, a part of the keeper's or a prober's work. It recovers a panic and publishes
// it, so that the caller goes on.
func (s *Service) shield(in string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.publish(fault(&panicked{in: in, value: v, stack: debug.Stack()}))
		}
	}()
	f()
}
