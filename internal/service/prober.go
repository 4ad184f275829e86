package service

import (
	"errors"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
)

// orders are what a prober is to do, as of one moment.
type orders struct {
	probe    func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error
	interval time.Duration
	timeout  time.Duration
	checkGen uint64
	version  uint64
	held     bool // its removal is held
	pressed  bool // the service has nothing sound: probes are due sooner
}

// A schedule is how far a prober has come. It outlives a prober that gives way to another
// one, which goes on from there.
type schedule struct {
	last  orders
	began time.Duration // the latest probe
	at    time.Duration // the next one
}

// probed reports whether m is to be probed. Called with mu held.
func (s *Service) probed(m *Member) bool {
	return !m.out && s.conf.health.Probed || m.heldUntil > 0 && s.conf.set.Connect != nil
}

// wantProber asks the keeper for m's prober if there is none and m is to be probed. Called
// with mu held.
func (s *Service) wantProber(m *Member) {
	if s.probed(m) && !m.probing && !s.stopped.Load() {
		m.probing = true
		s.probers.starting = append(s.probers.starting, m)
		s.wake.Set()
	}
}

// tend takes leave of the probers that ended and starts those that are wanted. It is the
// keeper's: only its task forks and joins.
func (s *Service) tend() {
	s.mu.Lock()
	ended, starting, fork, home := s.probers.ended, s.probers.starting, s.conf.set.Prober, s.probers.home
	s.probers.ended, s.probers.starting = nil, nil
	s.mu.Unlock()
	if fork == nil {
		fork = func(f func(engine.Runtime)) engine.Join { return s.rt.Fork(func() { f(s.rt) }) }
	}
	for _, m := range ended {
		s.shield("a prober", m.prober.Wait)
		m.prober = nil
	}
	for _, m := range starting {
		m.prober = fork(func(rt engine.Runtime) { s.probe(rt, m, home) })
	}
}

// probe is a prober: the task that probes one endpoint, first at once, then at intervals,
// so that a black hole delays no other probe. It ends when its endpoint is removed, when
// there is neither a check nor a hold any more, and when the service stops; after a Rehome
// it gives way to another one.
func (s *Service) probe(rt engine.Runtime, m *Member, home uint64) {
	returned := false
	s.shield("a probe", func() {
		s.follow(rt, m, home)
		returned = true
	})
	if returned {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.schedule.at = s.after(rt.Now(), max(s.conf.check.Interval, heldEvery))
	m.probing = false
	s.probers.ended = append(s.probers.ended, m)
	s.wantProber(m) // another one goes on, an interval later
	s.wake.Set()
}

// follow probes m until there are no orders any more.
func (s *Service) follow(rt engine.Runtime, m *Member, home uint64) {
	signal := rt.NewSignal()
	s.mu.Lock()
	m.signal = signal // before the first look at the orders: no nudge is missed
	s.mu.Unlock()
	for {
		o, ok := s.ordersFor(m, home)
		if !ok {
			return
		}
		p, last := &m.schedule, m.schedule.last
		switch {
		case o.checkGen != last.checkGen || last.probe == nil || o.held && !last.held:
			p.at = rt.Now()
		case o.version != last.version || o.held != last.held || o.pressed != last.pressed:
			p.at = s.after(p.began, o.interval)
		}
		p.last = o
		if now := rt.Now(); now < p.at {
			signal.Wait(p.at)
			continue
		}
		p.began = rt.Now()
		err := o.probe(rt, m.endpoint, p.began+o.timeout)
		s.verdict(m, o, err, rt.Now())
		// A probe that took longer than the interval is followed at once by the next.
		p.at = s.after(p.began, o.interval)
	}
}

// after is an interval after t, give or take 10 %, so that probes of many endpoints and
// many proxies do not keep step.
func (s *Service) after(t, interval time.Duration) time.Duration {
	tenth := float64(interval) / 10
	return t + interval + time.Duration(tenth*(float64(s.rt.Rand()>>11)/(1<<52)-1))
}

// ordersFor says what m's prober, which was started in that home, is to do; ok false: to
// end, which is noted.
func (s *Service) ordersFor(m *Member, home uint64) (o orders, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := !s.probed(m) || m.machine.State() >= health.Draining || s.stopped.Load()
	if over || home != s.probers.home {
		m.probing = false
		s.probers.ended = append(s.probers.ended, m)
		if over {
			m.schedule = schedule{} // should it be probed again, then at once
		} else {
			s.wantProber(m)
		}
		s.wake.Set()
		return orders{}, false
	}
	o = orders{
		probe:    s.conf.set.Probe,
		interval: s.conf.check.Interval,
		timeout:  s.conf.check.Timeout,
		checkGen: s.conf.checkGen,
		version:  s.conf.version,
		held:     m.heldUntil > 0,
		pressed:  s.tally.sound == 0,
	}
	if o.pressed {
		o.interval = s.pace()
	}
	if !s.conf.health.Probed {
		o.probe, o.interval, o.timeout = s.conf.set.Connect, heldEvery, heldTimeout
	}
	if o.held {
		o.interval = min(o.interval, heldEvery)
	}
	return o, true
}

// verdict reports the result of a probe that ended now, unless the check became another one
// meanwhile. Of a held member a failure says that its removal is right, and without a check
// no more.
func (s *Service) verdict(m *Member, o orders, err error, now time.Duration) {
	in := health.Input{Event: health.ProbePassed, Now: now}
	switch {
	case errors.Is(err, engine.ErrStopping), engine.Exhausted(err):
		return // says nothing about the endpoint
	case errors.Is(err, engine.ErrRefused):
		in.Event = health.ProbeRefused
	case err != nil:
		in.Event, in.Silent = health.ProbeFailed, errors.Is(err, engine.ErrTimeout)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case o.checkGen != s.conf.checkGen:
		return
	case err != nil && m.heldUntil > 0:
		s.confirm(m, in.Now, err)
		return
	case !s.conf.health.Probed:
		return
	}
	s.noteProbe(m, err)
	s.apply(m, in, err)
	if err != nil {
		m.rest(in.Event == health.ProbeRefused, now)
	}
	if at := m.machine.Deadline(); at > 0 && at <= in.Now {
		// The breaker's time was over before, but the latest probe had failed then.
		s.apply(m, health.Input{Event: health.TimePassed, Now: in.Now}, nil)
	}
}
