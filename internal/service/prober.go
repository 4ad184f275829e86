package service

// Probers: each probed endpoint has a task that probes it, so that an endpoint which hangs
// delays no other. With interval 5 s, timeout 1 s, unhealthy_after 3, healthy_after 2:
//
//	 0 s           first probe, at once: its verdict decides alone
//	 5, 10, 15 s   three fail (each ±10 %): ejected
//	20 s           passes; 25 s: passes: healthy
//	               if no endpoint was sound, the probes came every second instead
//
// Before each probe the prober reads its orders, under mu: what to do, how often, or to end.
// Changes (another check, a hold, the last sound endpoint lost) wake it, so that it reads them
// at once. A prober ends when its endpoint needs none any more, and the keeper joins it. After
// Rehome it ends too, and a new one goes on by the same schedule.

import (
	"errors"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
)

// orders are what a prober has to do, copied under mu.
type orders struct {
	probe    func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error
	interval time.Duration
	timeout  time.Duration
	checkGen uint64
	version  uint64
	held     bool // the removal of the endpoint is held
	pressed  bool // no endpoint is sound: probes are due sooner
}

// A schedule is the state of probing one endpoint. The prober alone uses it while it runs; a prober
// that replaces another one continues it.
type schedule struct {
	last  orders
	began time.Duration // instant of the latest probe
	at    time.Duration // instant of the next one
}

// probed reports whether m must be probed: by the check, unless it is out, or because its removal
// is held. Called with mu held.
func (s *Service) probed(m *Member) bool {
	return !m.out && s.conf.health.Probed || m.heldUntil > 0 && s.conf.set.Connect != nil
}

// wantProber has the keeper start a prober for m, if m must be probed and has none. Called with mu
// held.
func (s *Service) wantProber(m *Member) {
	if s.probed(m) && !m.probing && !s.stopped.Load() {
		m.probing = true
		s.probers.starting = append(s.probers.starting, m)
		s.wake.Set()
	}
}

// tend joins the probers that have ended and starts those that are wanted. Only the keeper calls
// it: one task forks and joins.
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

// probe is a prober, a task of rt. It ends when its endpoint is removed, when there is neither a
// check nor a hold any more, when the service stops, and after Rehome, if home is not the latest
// one. A panic of Settings.Probe ends it too; another one starts, an interval later.
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
	s.wantProber(m)
	s.wake.Set()
}

// follow probes m until it has no orders any more. It waits in the calling task.
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
			m.nextProbe.Store(int64(p.at))
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

// after is the instant t plus interval, ±10 % at random, so that probes of many endpoints and many
// proxies spread evenly.
func (s *Service) after(t, interval time.Duration) time.Duration {
	tenth := float64(interval) / 10
	return t + interval + time.Duration(tenth*(float64(s.rt.Rand()>>11)/(1<<52)-1))
}

// ordersFor returns the orders of m's prober, which was started at that home. ok false: it must
// end; ordersFor has recorded that it has.
func (s *Service) ordersFor(m *Member, home uint64) (o orders, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := !s.probed(m) || m.machine.State() >= health.Draining || s.stopped.Load()
	if over || home != s.probers.home {
		m.probing = false
		s.probers.ended = append(s.probers.ended, m)
		if over {
			m.schedule = schedule{} // should it be probed again, then at once
			m.nextProbe.Store(0)
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

// verdict puts the result of a probe that ended at the instant now to the state machine; err
// nil: it passed. If the check has changed since the probe began, the result is dropped. A
// failure of a held member confirms its removal; without a check a success of one means nothing.
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
	if in.Event == health.ProbeRefused && m.stale(m.schedule.began) {
		in.Event, in.Silent = health.ProbeFailed, true
	}
	m.history.probed(m.schedule.began, now, err)
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
