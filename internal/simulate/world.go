package simulate

// A world is one run: the clock, what is still to come, and all that takes part.

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/service"
)

// start is the first instant of a run: above zero, which means "none" to many, and late enough
// that nothing of the past is missing.
const start = time.Hour

type world struct {
	now      time.Duration
	events   queue
	tasks    *tasks
	scenario *Scenario
	keyed    bool // requests have keys
	proxies  []proxy
	servers  []*server
	changes  []change
	requests slots[request]
	attempts slots[attempt]
	stands   []*stand      // that wait for requests
	from     time.Duration // end of the warm-up
	sample   time.Duration // end of the present interval
	report   *Report
}

// slots are values with numbers, which are used again.
type slots[T any] struct {
	all  []T
	free []int32
}

// take returns the number of a value that was not in use. Pointers to values are void afterwards.
func (s *slots[T]) take() int32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		return n
	}
	var zero T
	s.all = append(s.all, zero)
	return int32(len(s.all) - 1)
}

func (s *slots[T]) give(n int32) { s.free = append(s.free, n) }

// release gives the slot of attempt i back. Events for it are void from now on.
func (w *world) release(i int32) {
	w.attempts.all[i].endpoint = nil
	w.attempts.all[i].gen++
	w.attempts.give(i)
}

// run plays all arrivals and what follows from them.
func (w *world) run(from source) {
	w.tasks.run()
	next, more := from.next()
	for {
		e, some := w.events.first()
		for some && w.void(&e) {
			w.events.drop()
			e, some = w.events.first()
		}
		switch {
		case more && (!some || start+next.at < e.at):
			w.advance(start + next.at)
			w.arrive(&next)
			next, more = from.next()
		case !more && w.idle():
			return
		case !some:
			return
		default:
			w.events.drop()
			w.advance(e.at)
			w.happen(&e)
		}
		if w.tasks.ready > 0 {
			w.tasks.run()
		}
	}
}

// advance moves the clock, and closes the intervals of the pictures on the way.
func (w *world) advance(to time.Duration) {
	for to >= w.sample {
		w.now = w.sample
		for _, s := range w.servers {
			s.count(w.now, 0)
			s.report.Load = append(s.report.Load, float32(s.area/float64(w.report.Interval)))
			s.report.Away = append(s.report.Away, !w.inRotation(s))
			s.area = 0
		}
		w.sample += w.report.Interval
	}
	w.now = to
}

// inRotation reports whether a proxy may pick s.
func (w *world) inRotation(s *server) bool {
	return slices.ContainsFunc(s.known, func(e *endpoint.Endpoint) bool { return e != nil && e.Usable() })
}

// idle reports whether no request is under way.
func (w *world) idle() bool { return len(w.requests.free) == len(w.requests.all) }

// void reports whether an event is for something that is over.
func (w *world) void(e *event) bool {
	switch e.kind {
	case evEnd, evLook, evHedge:
		return w.attempts.all[e.n].gen != e.gen
	case evWake:
		t := w.tasks.all[e.n]
		return t.ended || t.waits != e.gen
	}
	return false
}

func (w *world) happen(e *event) {
	switch e.kind {
	case evEnd:
		w.end(e.n)
	case evLook:
		w.look(e.n)
	case evHedge:
		w.hedge(e.n)
	case evAgain:
		w.resume(e.n)
	case evWake:
		w.tasks.wake(w.tasks.all[e.n])
	case evChange:
		w.change(&w.changes[e.n])
	}
}

// change begins or ends a fault.
func (w *world) change(c *change) {
	s := c.server
	switch c.kind {
	case crashes:
		w.crash(s)
	case coolsDown:
		s.cold, s.coldFactor = c.fault.Answers, c.fault.Factor
	case joins, leaves:
		s.absent = c.kind == leaves
		for i := range w.proxies {
			w.proxies[i].service.Update(w.named())
		}
	}
}

// crash ends all attempts at s.
func (w *world) crash(s *server) {
	for i := range s.free {
		s.free[i] = 0
	}
	for i := range w.attempts.all {
		a := &w.attempts.all[i]
		if a.endpoint == nil || a.server != s || a.fate.at <= w.now {
			continue
		}
		a.fate.at, a.fate.result = w.now, reset
		a.gen++
		w.events.add(event{at: w.now, kind: evEnd, n: int32(i), gen: a.gen})
	}
}

// named is the set as its source names it now.
func (w *world) named() []endpoint.Spec {
	return specsOf(slices.DeleteFunc(slices.Clone(w.servers), func(s *server) bool { return s.absent }))
}

func specsOf(servers []*server) []endpoint.Spec {
	specs := make([]endpoint.Spec, len(servers))
	for i, s := range servers {
		specs[i] = s.spec
	}
	return specs
}

// finish is the end of request n; a is its last attempt, or nil.
func (w *world) finish(n int32, how outcome, a *attempt) {
	r := &w.requests.all[n]
	if r.arrived >= w.from {
		w.report.Requests++
		w.report.Outcomes[how]++
		class := w.report.class(r.class)
		if class != nil {
			class.Requests++
			class.Outcomes[how]++
		}
		w.report.Makespan = w.now - w.from
		if how == Served {
			all := w.now - r.arrived
			last := w.now - a.began
			queue := a.fate.queue + r.queued
			spent := Parts{Network: last - a.fate.queue - a.fate.work, Queue: queue, Work: a.fate.work, Lost: all - last - r.queued}
			if w.report.Latency.add(all, spent); class != nil {
				class.Latency.add(all, spent)
			}
		}
	}
	w.requests.give(n)
}

// serve starts the services of the proxies, each by its plan.
func (w *world) serve(plans []*compile.ServicePlan) {
	byID := make(map[endpoint.ID]*server)
	for _, s := range w.servers {
		byID[s.spec.ID] = s
		s.known = make([]*endpoint.Endpoint, len(w.proxies))
	}
	for i := range w.proxies {
		p, set := &w.proxies[i], plans[i].Settings
		set.Probe = w.probe
		set.Attach = func(e *endpoint.Endpoint) any {
			s := byID[e.ID()]
			s.known[i] = e
			return s
		}
		p.service = service.New(fmt.Sprint("proxy ", i+1), w.tasks, set, nil)
		p.service.Update(w.named())
		w.tasks.start(p.service.Run)
	}
}

var errProbe = errors.New("503")

// probe is service.Settings.Probe.
func (w *world) probe(_ engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
	f := service.Of(e).Attached.(*server).probe(w.now, w.scenario.Network)
	if err := w.tasks.Sleep(min(f.at, by)); err != nil {
		return err
	}
	switch {
	case f.at > by:
		return engine.ErrTimeout
	case f.result == refused:
		return fmt.Errorf("probe: %w", engine.ErrRefused)
	case f.result == failed:
		return errProbe
	}
	return nil
}

// stop ends the services.
func (w *world) stop() {
	for i := range w.proxies {
		w.proxies[i].service.Stop()
	}
	w.tasks.stop()
}
