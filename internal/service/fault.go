package service

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

// A policy may be the embedder's code, and it may panic. Such a panic costs neither the
// proxy nor the service: a Build that panics leaves the last picker in use and is repeated,
// a Pick that panics is replaced by a random choice. Both are logged with their stack, and
// the service's Fault says so as long as it lasts.

const (
	// buildAgain is the pause before a Build that panicked is repeated; a change of the set
	// repeats it sooner.
	buildAgain = time.Second
	// faultFor is for how long a panic in Pick is shown as the service's fault, and how
	// often such panics are logged.
	faultFor = time.Minute
)

// errNoPicker is the fault of a Build that returned nil.
var errNoPicker = errors.New("policy: Build returned no picker")

// shape has the policy build the picker of next. If that fails it keeps the last picker,
// which stands on another set: Pick makes up for what it does not know. Called with work
// held.
func (s *Service) shape(next *view, p policy.Policy, custom bool, version uint64, now time.Duration) {
	prev := next.built
	if s.builds.pickerOf != version {
		prev = nil // another policy's, perhaps
	}
	picker, err := safely(p, next.members, next.usable, prev)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteBuild(err)
	if err != nil {
		next.astray = true
		s.builds.again = now + buildAgain
		return
	}
	s.builds.pickerOf, s.builds.again = version, 0
	next.built, next.picker, next.astray = picker, picker, false
	if custom {
		next.picker = &guarded{Picker: picker, service: s}
	}
}

// safely is p.Build, with a panic as an error.
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

// panicked is a panic that was recovered.
type panicked struct {
	in    string // what panicked
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("%s panicked: %v", p.in, p.value) }

// noteBuild notes how a Build ended, and publishes changes only. Called with mu
// held.
func (s *Service) noteBuild(err error) {
	switch was := s.faults.build; {
	case err == nil && was != nil:
		s.publish(event.FaultEnded{})
	case err != nil && (was == nil || was.Error() != err.Error()):
		s.publish(fault(err))
	}
	s.faults.build = err
}

// guarded is a picker whose panics are recovered. Pickers of this module do without: the
// recovery costs some nanoseconds for each pick.
type guarded struct {
	policy.Picker
	service *Service
	failed  atomic.Int64 // when a panic was logged last; 0: never
}

// Pick is the embedder's Pick. After a panic, or for an endpoint that is none of a
// service, it returns nil: the caller then picks at random.
func (g *guarded) Pick(a *policy.Attempt) (e *endpoint.Endpoint) {
	defer func() {
		if v := recover(); v != nil {
			g.note(v)
			e = nil
		}
	}()
	e = g.Picker.Pick(a)
	if e != nil {
		_ = e.Local.(*Member) // panics for an endpoint of the picker's own making
	}
	return e
}

// note reports a panic, at most one in faultFor.
func (g *guarded) note(v any) {
	s, now := g.service, g.service.rt.Now()
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

// Fault says what is wrong with code that the service was given: its policy panicked. Nil:
// nothing. A panic in Pick is shown for a minute. Any goroutine may call it.
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

// shield calls f, a part of the keeper's work, and publishes a panic: the keeper goes on.
func (s *Service) shield(in string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.publish(fault(&panicked{in: in, value: v, stack: debug.Stack()}))
		}
	}()
	f()
}
