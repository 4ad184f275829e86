package virtual

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// errTLS is what Dial says to a tls.Config: the world is deterministic, and crypto/tls
// draws its own random numbers and holds locks while it waits.
var errTLS = errors.New("virtual: no TLS in a virtual world")

// Runtime returns the world as the runtime of its tasks.
func (w *World) Runtime() engine.Runtime { return runtime{w} }

// runtime is the face of a World that code under test sees.
type runtime struct{ w *World }

func (r runtime) Now() time.Duration { return r.w.Now() }

func (r runtime) Rand() uint64 {
	r.w.outside.Lock()
	defer r.w.outside.Unlock()
	return r.w.outside.chance.Uint64()
}

func (r runtime) Worker() int { return 0 }

func (r runtime) Sleep(until time.Duration) error {
	w := r.w
	for !w.stopping {
		if until <= w.Now() {
			return nil
		}
		w.wait(&w.nobody, until, fmt.Sprintf("sleep until %v", until))
	}
	w.pass(w.running())
	return engine.ErrStopping
}

func (r runtime) Fork(f func()) engine.Join {
	return &join{w: r.w, of: r.w.child(f)}
}

// Do runs f in place: what blocks outside of the world takes no virtual time.
func (r runtime) Do(f func()) { f() }

func (r runtime) Dial(d *engine.Dial) (engine.Stream, error) {
	if d.TLS != nil {
		return nil, errTLS
	}
	if r.w.Shortage {
		return nil, fmt.Errorf("connect %s: %w", d.Address, engine.ErrExhausted)
	}
	r.w.ports++
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 255, 0, 1}), 1024+r.w.ports%60000)
	s, err := r.w.Connect(local, d.Address, d.By)
	if err == nil && len(d.Preface) > 0 {
		if _, err = s.Write(d.Preface); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, err
}

func (r runtime) Watch(client engine.Stream, up engine.Interrupter) {
	client.(*Stream).watch(up, false)
}

func (r runtime) WatchReset(client engine.Stream, up engine.Interrupter) {
	client.(*Stream).watch(up, true)
}

func (s *Stream) watch(up engine.Interrupter, patient bool) {
	s.patient = patient
	switch {
	case s.broken != nil:
		up.Interrupt(s.broken)
		return
	case s.left():
		up.Interrupt(engine.ErrClientGone)
		return
	}
	s.watched = append(s.watched, up)
}

func (r runtime) Unwatch(client engine.Stream, up engine.Interrupter) {
	s := client.(*Stream)
	for i, u := range s.watched {
		if u == up {
			s.watched = append(s.watched[:i], s.watched[i+1:]...)
			return
		}
	}
}

func (r runtime) NewSignal() engine.Signal { return &signal{w: r.w} }

// join waits for one forked task.
type join struct {
	w      *World
	of     *task
	waited bool
}

func (j *join) Wait() {
	if j.waited {
		panic("virtual: Join.Wait called twice")
	}
	j.waited = true
	for j.of.state != ended {
		if j.w.stopping && j.of.state == parked {
			// Its waits fail while the world stops: it only has to run.
			j.w.makeReady(j.of)
		}
		j.w.join(j.of)
	}
}

// join parks the calling task until t ends, also while the world stops: a task has to
// outlive those it forked.
func (w *World) join(t *task) {
	self := w.running()
	t.end.waiting = append(t.end.waiting, self)
	self.state, self.waits = parked, "join "+t.name
	self.leave()
}

// signal is a one-slot wake-up. set belongs to the world; what Set asks for waits in
// World.outside until the scheduler or a Wait looks.
type signal struct {
	w    *World
	set  bool
	wake cond
}

func (s *signal) Set() {
	s.w.outside.Lock()
	s.w.outside.set = append(s.w.outside.set, s)
	s.w.outside.Unlock()
}

func (s *signal) Wait(by time.Duration) bool {
	for {
		s.w.takeSignals()
		if s.set {
			s.set = false
			return true
		}
		if !s.w.wait(&s.wake, by, "signal") || s.w.stopping {
			return false
		}
	}
}
