// Package service is the middle of the endpoint lifecycle. It compares the sets that a source names
// with the endpoints it knows, by identity, starts and stops their probers, has the policy build
// a picker for the endpoints that may be picked, and publishes the view that exchanges read by
// one atomic store.
//
//	source ─Update─► reconcile ─► members ─► usable set ─► Policy.Build ─► view ─Pick─► exchange
//	                     │           ▲  ▲                                                  │
//	                     └─► probers ┘  └────────────────────── Settle ────────────────────┘
//
// What is known about an endpoint belongs to its identity: it survives every Update that
// still names the endpoint and every Configure.
//
// Three kinds of tasks use a Service:
//
//	the keeper      Run, one per service: reconcile, views, deadlines, starts probers (keeper.go)
//	probers         one per probed endpoint, on any worker (prober.go)
//	exchanges       Pick, Begin, Settle: no lock but for trials and failures (pick.go)
//
// Sources call Take, and the configuration Update and Configure, from any goroutine; they do the
// keeper's work at once where that is allowed.
//
// There are two locks. A task holds work while it changes the set of members or builds a
// view, and mu while it touches a state machine; work is taken before mu. Neither is held
// where the runtime may yield (Signal.Wait, Sleep, Probe), nor while an observer of events runs.
// Comments say which of them the caller holds; where they say nothing the caller holds none.
//
// # Panic mode
//
// When fewer than PanicThreshold percent of the endpoints are usable, where those without a
// verdict count as usable, the check is more likely to be wrong than so many endpoints are. Then
// the view admits endpoints that probes have ejected too. Those that the breaker has ejected did
// fail, so they are admitted only when no endpoint is sound: too much load may be why all fail,
// and it is best spread over all. Outliers work, only worse than others, so they are admitted as
// those of probes are. Two kinds stay out: endpoints without a first verdict, and
// those to which the latest probe or attempt got no connection. With a threshold of 50 %:
//
//	of 4: ejected by probes   by breaker   panic mode   may be picked
//	2                         0            no           the 2 healthy ones
//	3                         0            yes          all 4
//	2                         1            yes          3: not the one of the breaker
//	0                         3            yes          all 4: the healthy one is only kept, as
//	                                                    the last one, so none is sound
//
// Fail-over groups are counted one by one, and there is no panic as long as one of them is above the
// threshold: three endpoints that are ejected beside a backup that works are a reason to use the
// backup.
//
// resort.go has what becomes of requests when nothing else is left.
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
	// Shadow is asked beside Policy for each pick, without effect; nil: none. ShadowName tells it
	// from another one: what was counted of one that has another name is forgotten.
	Shadow     policy.Policy
	ShadowName string
	// Custom: Policy is the embedder's code, so panics of its pickers are recovered.
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
	// endpoint in rotation stays there until the first verdict of the new check.
	ProbeID string
	// Breaker.Outliers is set by Outliers.
	Breaker health.Breaker
	// Outliers are ejected beside what the breaker ejects, and not if that is off.
	Outliers Outliers
	// PanicThreshold is a percentage; 0 means 50, negative: never.
	PanicThreshold int
	// Priority is the fail-over group of an endpoint, from 0 to endpoint.PriorityMax; nil: what its
	// Spec says.
	Priority func(*endpoint.Spec) int
	// SlowStart has endpoints that are new or have recovered begin with a small share.
	SlowStart SlowStart
	// Overload bounds the attempts in flight.
	Overload Overload
	// HedgeAt is the percentile of the time to a response head, from 0 to 1, that HedgeDue is to
	// know; 0: none.
	HedgeAt float64
	// Token is what cookies call an endpoint; nil: none does. It is a function of the ID alone.
	Token func(id endpoint.ID) uint64
	// Lanes are the parts of the endpoints that attempts may be bound to; nil: there are none.
	Lanes *Lanes
	// Guard holds back updates of a source that would remove many endpoints at once.
	Guard Guard
	// Connect finds out by connecting whether anything listens at e: it probes held members
	// of a service without a check. Otherwise as Probe; nil: they are not probed.
	Connect func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error
	// Prober starts f as a task of the runtime that is to probe, and passes that runtime to it.
	// Nil: the service's own. The keeper calls it and waits for the Join.
	Prober func(f func(rt engine.Runtime)) engine.Join
	// Discard frees what Attach made, when the endpoint is gone or the service has stopped. The
	// keeper calls it once, and it may block. Nil: there is nothing to free.
	Discard func(e *endpoint.Endpoint)
	// Attach makes what exchanges need of a new endpoint, a pool of connections for instance,
	// which is then Of(e).Attached. It must not block. Nil: Attached is nil.
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
	// Builds of views take a tenth of the time at most, so that a deployment of a service of
	// thousands leaves the processors to requests. A build covers all changes since the last
	// one. The distance of the beginnings of two builds is buildShare times what the first one
	// took, from buildEvery to buildRest; urgent builds do not wait:
	//
	//	a build takes 100 µs    the next one may begin after 5 ms
	//	a build takes 20 ms     after 200 ms
	//	a build takes 300 ms    after 1 s
	//	nothing is usable       at once
	buildShare = 10
	buildEvery = 5 * time.Millisecond
	buildRest  = time.Second
	// panicThreshold is the default of Settings.PanicThreshold.
	panicThreshold = 50
)

// New makes a service without endpoints; the caller must run Run in a task of rt, which need not
// run yet. name is that of the configuration. events may be nil: then no events are published.
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
	s.extras.budget.Start(s.load.seq.Load())
	s.adopt(set)
	s.publish(event.ServiceStarted{})
	return s
}

// adopt makes set the settings, with defaults. Called with mu held, or by New.
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
	s.conf.health.Breaker.Outliers = set.Outliers.MaxEjected > 0 && !set.Breaker.Off
	s.comparing.on.Store(s.conf.health.Breaker.Outliers)
	s.extras.adopt(set.HedgeAt, s.conf.set.Workers)
	s.shadow.adopt(set.ShadowName)
	s.adoptBounds(set.Overload)
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

// configure makes set the settings and puts the change to every member. Called with work held.
func (s *Service) configure(set Settings, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, id := s.conf.health.Probed, s.conf.set.ProbeID
	s.loosen(&set.Overload)
	s.adopt(set)
	if s.conf.set.Guard.MaxRemoval < 0 {
		s.releaseAll(now)
	}
	event := health.TimePassed // ends ejections if the breaker was switched off
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
		s.bound(m)
		s.apply(m, health.Input{Event: event, Now: now}, nil)
		if event != health.TimePassed { // the breaker may be off as well
			s.apply(m, health.Input{Event: health.TimePassed, Now: now}, nil)
		}
		s.wantProber(m)
		m.nudge()
	}
	s.endSlow(now)
	s.todo.shaped, s.todo.dirty = true, true
}

// Rehome replaces the probers by new ones, which Settings.Prober can put on workers that did not
// run before. No probe is repeated or omitted. Any goroutine may call it.
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
