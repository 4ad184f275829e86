package service

// The view: what exchanges read of a service, in one atomic load. A build looks at all members,
// sorts them into the lists of a view and has the policy build a picker for usable:
//
//	usable    healthy and half-open; in panic mode also ejected ones; what the picker picks from
//	reserve   usable but damped (flap.go): picked when the picker has nothing to offer
//	ejected   may be tried as a last resort (resort.go)
//	members   all, those included that are out or drained: tables of hashing policies stand on them
//
// Between two builds a view may be out of date by some milliseconds. Pick therefore checks the
// mode of what the picker returns.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

// A view is a snapshot of a service. It is never modified after it was published.
type view struct {
	picker    policy.Picker
	built     policy.Picker                 // what the policy's Build returned; nil before the first
	oldPicker bool                          // Build failed, so picker is that of an older set
	members   []*endpoint.Endpoint          // in the order of their IDs
	usable    []*endpoint.Endpoint          // the subset that the picker chooses from, in the same order
	reserve   []*endpoint.Endpoint          // usable, but damped: for when no other is left
	ejected   []*endpoint.Endpoint          // those that may be tried as a last resort, in the same order
	shadow    *shadowing                    // nil: no other policy is asked beside the picker
	lanes     *lanes                        // nil: there are none, or it is the view of one
	tokens    map[uint64]*endpoint.Endpoint // members by Settings.Token; nil: there is none
	slow      SlowStart
	panic     bool // panic mode: ejected endpoints may be among usable
	strict    bool // panic mode is switched off: what probes ejected is never used
	failing   bool // no member is sound: panic mode admits what the breaker has ejected too
	frozen    bool // a copy for Explain: a pick from it takes no trial and no turn
}

// noEndpoints is the Picker before the first set is known.
type noEndpoints struct{}

// Pick implements policy.Picker.
func (noEndpoints) Pick(*policy.Attempt) *endpoint.Endpoint { return nil }

// build publishes a view of what is usable at the instant now. The policy builds a new picker only
// if the usable set, the members, weights or the policy have changed. Before the first set it does
// nothing. Called with work held; it may take as long as Policy.Build.
func (s *Service) build(now time.Duration) {
	old := s.view.Load()
	d := s.draft(now)
	if d.view == nil {
		return
	}
	next := d.view
	next.picker, next.built, next.oldPicker, next.shadow = old.picker, old.built, old.oldPicker, old.shadow
	if d.shaped || old.oldPicker || !slices.Equal(next.usable, old.usable) {
		s.shape(next, d.set.Policy, d.set.Custom, d.version, now)
		s.shapeShadow(next, &d.set, d.version)
	}
	s.divide(next, old, &d, now)
	d.tokenize(next, old)
	s.builds.begun = true
	s.view.Store(next)
	s.invite() // another endpoint may have a place
	s.announce(old, next, d.settled)
}

// A draft is a view that has no picker yet, with what it takes to build one.
type draft struct {
	view    *view // nil: there is no set yet
	set     Settings
	version uint64
	shaped  bool // the picker must be built anew, whatever is usable
	settled bool // every endpoint of the first set has a verdict
}

// draft makes the next view, without a picker. Called with work held.
func (s *Service) draft(now time.Duration) (d draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tally.awaiting < 0 {
		return d
	}
	d = draft{view: s.look(now), set: s.conf.set, version: s.conf.version, shaped: s.todo.shaped, settled: s.tally.awaiting == 0}
	s.todo.dirty, s.todo.shaped, s.todo.urgent = false, false, false
	return d
}

// look sorts the members into the lists of a view and sets retryAt. Called with both locks.
func (s *Service) look(now time.Duration) *view {
	w := &view{members: make([]*endpoint.Endpoint, 0, len(s.members)), failing: s.tally.sound == 0, strict: s.conf.set.PanicThreshold < 0, slow: s.conf.set.SlowStart}
	all, known, usable, doubtful := 0, 0, 0, 0
	var byGroup groups
	retryAt := time.Duration(0)
	for _, m := range s.members {
		w.members = append(w.members, m.endpoint)
		if m.away() {
			continue
		}
		all++
		in := byGroup.of(m, s.conf.set.Priority)
		switch m.machine.State() {
		case health.Probing:
			known--
			in.good++
		case health.Healthy, health.HalfOpen:
			if !m.machine.Kept() {
				usable++
				in.good++
			}
		case health.Ejected:
			if !w.strict || m.machine.Cause().Passive() {
				w.ejected = append(w.ejected, m.endpoint)
			}
		}
		known++
		if w.doubts(m) {
			doubtful++
		}
		if at := s.mayReturn(m, now); at > 0 && (retryAt == 0 || at < retryAt) {
			retryAt = at
		}
	}
	s.retryAt.Store(int64(retryAt))
	unknown := all - known
	w.panic = doubtful > 0 && byGroup.panic(s.conf.set.PanicThreshold)
	w.usable = make([]*endpoint.Endpoint, 0, usable+doubtful)
	for _, m := range s.members {
		state := m.machine.State()
		if m.away() {
			continue
		}
		if state == health.Healthy || state == health.HalfOpen || w.panic && w.doubts(m) {
			if m.quietUntil > 0 {
				w.reserve = append(w.reserve, m.endpoint)
				continue
			}
			w.usable = append(w.usable, m.endpoint)
		}
	}
	w.enough()
	s.cover(w, unknown > 0)
	return w
}

// groups count the members of each fail-over group, for panic mode.
type groups [endpoint.PriorityMax + 1]group

type group struct {
	all  int
	good int // usable, or without a verdict: they may turn out to be healthy
}

// of counts m, and returns its group. Called with mu held.
func (g *groups) of(m *Member, priority func(*endpoint.Spec) int) *group {
	spec := m.endpoint.Spec()
	i := spec.Priority
	if priority != nil {
		i = priority(spec)
	}
	one := &g[min(max(i, 0), endpoint.PriorityMax)]
	one.all++
	return one
}

// panic reports whether all groups are below the threshold, a percentage.
func (g *groups) panic(threshold int) bool {
	for i := range g {
		if g[i].good*100 >= threshold*g[i].all && g[i].all > 0 {
			return false
		}
	}
	return true
}

// resorting reports whether the last resort is in use: no member is sound, and some are ejected.
func (w *view) resorting() bool { return w.failing && len(w.ejected) > 0 }

// doubts reports whether panic mode would admit m, which is ejected. Called with mu held.
func (w *view) doubts(m *Member) bool {
	cause := m.machine.Cause()
	return m.machine.Doubtful() && (w.failing || cause == health.Outlier || cause == health.Probes && !m.machine.Convicted())
}

// cover keeps removed endpoints in use while nothing else is usable and new ones have no verdict
// yet, so that a full replacement leaves no gap. unknown: there are such new ones. Called with both
// locks.
func (s *Service) cover(w *view, unknown bool) {
	covered := unknown && len(w.usable) == 0
	for _, m := range s.draining {
		was := m.before.State()
		if m.covering = covered && !m.confirmed && !m.out && !m.drained && (was == health.Healthy || was == health.HalfOpen); m.covering {
			w.members = append(w.members, m.endpoint)
			w.usable = append(w.usable, m.endpoint)
		}
	}
	if covered {
		order := func(a, b *endpoint.Endpoint) int { return a.ID().Compare(b.ID()) }
		slices.SortFunc(w.members, order)
		slices.SortFunc(w.usable, order)
	}
}

// mayReturn is the earliest instant at which m may become usable, for Retry-After; 0: it is
// healthy. Called with mu held.
func (s *Service) mayReturn(m *Member, now time.Duration) time.Duration {
	switch {
	case m.machine.State() == health.Healthy:
		return 0
	case m.machine.Cause().Passive():
		return min(max(m.machine.Deadline(), now), now+resortEvery)
	case m.machine.Cause() == health.Probes && s.conf.set.PanicThreshold >= 0:
		return now + resortEvery
	case m.machine.Cause() == health.Probes:
		return now + time.Duration(m.machine.Lacking(&s.conf.health))*s.pace()
	}
	return now // probing or half-open: at any moment
}

// announce publishes the events of a new view (panic mode, overflow, the last resort) and, once the
// service is settled, wakes the tasks in AwaitReady. Called with work held.
func (s *Service) announce(old, next *view, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.panic != old.panic {
		s.publish(event.PanicChanged{On: next.panic, Usable: len(next.usable), Members: len(next.members)})
	}
	if share := policy.Overflow(next.built); settled && share > 0 != s.tally.overflow {
		s.tally.overflow = share > 0
		s.publish(event.OverflowChanged{On: share > 0, Share: share, Usable: len(next.usable), Members: len(next.members)})
	}
	if next.resorting() != old.resorting() {
		s.publish(event.LastResortChanged{
			On: next.resorting(), Ejected: len(next.ejected), Usable: len(next.usable), Members: len(next.members),
		})
	}
	if !settled || s.settled.Load() {
		return
	}
	s.settled.Store(true)
	for _, w := range s.waiters {
		w.Set()
	}
	s.waiters = nil
}
