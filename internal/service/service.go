// Package service is the middle of an endpoint's corridor: the sets a source names are
// compared with the endpoints that are known, by identity; probes start and stop; what may
// be picked goes to Policy.Build; and one atomic store publishes the view that exchanges
// read.
//
//	source ─Update─► reconcile ─► members ─► usable set ─► Policy.Build ─► view ─Pick─► exchange
//	                     │           ▲  ▲                                                  │
//	                     └─► probers ┘  └────────────────────── Settle ────────────────────┘
//
// What is known about an endpoint belongs to its identity: it survives every Update that
// still names the endpoint and every Configure.
//
// There are two locks. A task holds work while it changes the set of members or builds a
// view, and mu while it touches a state machine; work is taken before mu. Neither is held
// where the runtime may yield (Signal.Wait, Sleep, Probe), nor while an observer of events runs.
//
// # Panic mode
//
// When fewer than PanicThreshold percent of the known endpoints (those with a verdict) are
// usable, it is likelier that the check is wrong than that so many endpoints are: the view
// then admits those that probes have ejected too. What the breaker has ejected did fail, so it
// is admitted only when no endpoint is sound: healthy, and not only kept because there is no
// other. Then it may be the load that all fail by, and it is spread over all. Two kinds stay
// out, because there is no doubt about them: endpoints without a first verdict, and those to
// which the latest probe or attempt got no connection. What becomes of requests when nothing
// else is left is in resort.go.
package service

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

// Settings are what the configuration says about a service. They are not modified after
// New or Configure.
type Settings struct {
	Policy policy.Policy
	// Custom: Policy is not one of this module's. Its pickers may panic, which is recovered.
	Custom bool
	// Workers is how many workers settle attempts, for the counters: Runtime.Worker is below
	// it. 0 means 1. It must not change between New and Configure.
	Workers int
	// Check says when to probe; nil: never, endpoints start healthy.
	Check *Check
	// Probe does one probe on the calling task, one of rt, and returns by the given instant; nil
	// means passed, an error that wraps engine.ErrRefused that nothing listens there.
	Probe func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error
	// ProbeID is the identity of the check. Verdicts start anew when it changes: an
	// endpoint in rotation stays there until the new check has spoken.
	ProbeID string
	Breaker health.Breaker
	// PanicThreshold is a percentage; 0 means 50, negative: never.
	PanicThreshold int
	// SlowStart has endpoints that are new or have recovered begin with a small share.
	SlowStart SlowStart
	// Guard holds back updates of a source that would remove many endpoints at once.
	Guard Guard
	// Connect tells by connecting whether anything listens at e: it probes held members of
	// a service without a check. Otherwise as Probe; nil: they are not probed.
	Connect func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error
	// Prober starts f as a task of the runtime that shall probe, and passes that. Nil: the
	// service's own. It is called, and the Join waited for, by the service's own task.
	Prober func(f func(rt engine.Runtime)) engine.Join
	// Discard frees what Attach made: the endpoint is gone, or the service stopped. It is
	// called once, by the service's own task, and may block. Nil: nothing to free.
	Discard func(e *endpoint.Endpoint)
	// Attach makes what the data path keeps for a new endpoint, found at Of(e).Attached.
	// It must not block. Nil: nothing is kept.
	Attach func(e *endpoint.Endpoint) any
}

// A Check says when an endpoint is probed and what its verdicts mean. Zero fields have
// the defaults of the configuration.
type Check struct {
	Interval       time.Duration // between the starts of two probes, jittered by 10 %; 0 means 5 s
	Timeout        time.Duration // for one probe; 0 means 1 s
	UnhealthyAfter int           // failed probes in a row that eject; 0 means 3
	HealthyAfter   int           // passed probes in a row that bring back; 0 means 2
}

const (
	// Builds take a tenth of the time at most, so that a service of thousands that is
	// deployed leaves the processors to requests; one build answers all changes since the
	// last one. They begin buildEvery after each other at least and buildRest at most,
	// unless nothing is usable: then at once.
	buildShare = 10
	buildEvery = 5 * time.Millisecond
	buildRest  = time.Second
	// panicThreshold is the default of Settings.PanicThreshold.
	panicThreshold = 50
)

// New makes a service without endpoints. It must be called before the tasks that use the
// service start; rt may not have to be running yet. events nil: what happens is not said.
func New(name string, rt engine.Runtime, set Settings, events *event.Bus) *Service {
	s := &Service{
		name:   name,
		rt:     rt,
		events: events,
		wake:   rt.NewSignal(),
		byID:   make(map[endpoint.ID]*Member),
		tally:  tally{awaiting: -1},
	}
	s.view.Store(&view{picker: noEndpoints{}})
	s.load.seq.Store(rt.Rand())
	s.adopt(set)
	s.publish(event.ServiceStarted{})
	return s
}

// adopt takes set over as the settings. Called with mu held, or before anybody else knows s.
func (s *Service) adopt(set Settings) {
	s.conf.set = set
	if set.PanicThreshold == 0 {
		s.conf.set.PanicThreshold = panicThreshold
	}
	s.conf.set.Workers = max(set.Workers, 1)
	s.conf.set.Guard = set.Guard.withDefaults()
	s.conf.set.SlowStart = set.SlowStart.withDefaults()
	s.conf.version++
	s.conf.check = Check{}
	if set.Check != nil {
		s.conf.check = *set.Check
		if s.conf.check.Interval <= 0 {
			s.conf.check.Interval = 5 * time.Second
		}
		if s.conf.check.Timeout <= 0 {
			s.conf.check.Timeout = time.Second
		}
	}
	s.conf.health = health.Config{
		Probed:         set.Check != nil,
		UnhealthyAfter: s.conf.check.UnhealthyAfter,
		HealthyAfter:   s.conf.check.HealthyAfter,
		Breaker:        set.Breaker,
	}.WithDefaults()
	s.rated.Store(!set.Breaker.Off && set.Breaker.FailureRate > 0)
}

// Name is the service's name in the configuration.
func (s *Service) Name() string { return s.name }

// Update takes a complete set that the configuration names; what a source names goes
// through Take. The last call wins; of entries with the same ID the first counts. Any
// goroutine may call it. The set is in force on return, unless it is too early for another
// build (5 ms after the last one, or ten times as long as that took, at most a second): then
// the keeper follows up.
func (s *Service) Update(specs []endpoint.Spec) { s.take(specs, false) }

// Configure takes new settings; they, and the last Update, are in force on return.
// Endpoint state lives on. Any goroutine may call it.
func (s *Service) Configure(set Settings) {
	s.work.Lock()
	defer s.wake.Set()
	defer s.work.Unlock()
	now := s.rt.Now()
	s.reconcile(now)
	s.configure(set, now)
	s.build(now)
}

// configure takes over set and tells every member. Called with work held.
func (s *Service) configure(set Settings, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, id := s.conf.health.Probed, s.conf.set.ProbeID
	s.adopt(set)
	if s.conf.set.Guard.MaxRemoval < 0 {
		s.letGo(now)
	}
	event := health.TimePassed // a breaker that was switched off lets go
	switch {
	case had && !s.conf.health.Probed:
		event = health.CheckGone
	case s.conf.health.Probed && (!had || id != set.ProbeID):
		event = health.CheckChanged
	}
	if event != health.TimePassed {
		s.conf.checkGen++
	}
	for _, m := range s.members {
		m.checkGen = s.conf.checkGen
		s.apply(m, health.Input{Event: event, Now: now}, nil)
		if event != health.TimePassed { // the breaker may be off as well
			s.apply(m, health.Input{Event: health.TimePassed, Now: now}, nil)
		}
		s.wantProber(m)
		m.nudge()
	}
	s.fast(now)
	s.todo.shaped, s.todo.dirty = true, true
}

// Rehome replaces the probers: Settings.Prober has a better place for them now. No probe is
// repeated or left out for that. Any goroutine may call it.
func (s *Service) Rehome() {
	s.mu.Lock()
	s.probers.home++
	for _, m := range s.byID {
		m.nudge()
	}
	s.mu.Unlock()
}

// Stop makes Run end. Any goroutine may call it, more than once.
func (s *Service) Stop() {
	s.stopped.Store(true)
	s.mu.Lock()
	for _, m := range s.byID {
		m.nudge()
	}
	s.mu.Unlock()
	s.wake.Set()
}
