package service

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// A SlowStart gives an endpoint that is new in a running service, or that has just recovered,
// a share of requests that grows: it may have to fill caches, to compile, or to open
// connections first. Whatever the policy, the endpoint is passed over with the probability
// that its share leaves, and the policy picks again; so a key of a hashing policy goes home
// once, at a moment of its own. Endpoints of the first set start with a full share, and so do
// endpoints that nothing else could stand in for.
//
// It costs a pick nothing while no endpoint is in its window: the mode of one that is has a
// bit set, which leads the pick off its shortest way.
type SlowStart struct {
	Window time.Duration // until the full share; 0: no slow start
	From   int           // percent of a full share at the beginning; 0 means 10
}

const slowFrom = 10

// slowDraws is how many other endpoints are asked for in place of one in its window.
const slowDraws = 4

// modeSlow is added to the mode of a healthy endpoint in its window.
const modeSlow int32 = 1 << 30

// withDefaults replaces every zero by what it means.
func (w SlowStart) withDefaults() SlowStart {
	if w.From <= 0 {
		w.From = slowFrom
	}
	return w
}

// share is the share of an endpoint whose window began at an instant, from 0 to 1.
func (w SlowStart) share(began, now time.Duration) float64 {
	from := float64(w.From) / 100
	return min(1, from+(1-from)*float64(max(now-began, 0))/float64(max(w.Window, 1)))
}

// slow begins m's window, if it is healthy. Called with mu held.
func (s *Service) slow(m *Member, now time.Duration) {
	if s.conf.set.SlowStart.Window <= 0 || m.machine.State() != health.Healthy {
		return
	}
	m.slowSince.Store(int64(now))
	m.slowUntil = now + s.conf.set.SlowStart.Window
	s.alarm(m, now)
	s.mirror(m)
}

// fast ends the windows that are over. Called with mu held.
func (s *Service) fast(now time.Duration) {
	for _, m := range s.members {
		if m.slowUntil > 0 && (m.slowUntil <= now || s.conf.set.SlowStart.Window <= 0) {
			m.slowUntil = 0
			s.mirror(m)
		}
	}
}

// passOver picks another endpoint in place of e, which is in its window, unless it is e's
// turn or there is no other. What it returns is e or healthy.
func (s *Service) passOver(w *view, a *policy.Attempt, e *endpoint.Endpoint) *endpoint.Endpoint {
	tried := a.Tried
	defer func() { a.Tried = tried }()
	coin := coinOf(a)
	for other := e; other != nil && a.Tried.Len() < policy.AttemptsMax; other = w.picker.Pick(a) {
		m := Of(other)
		switch mode := m.mode.Load(); {
		case mode == modeCalm || mode == modeTally:
			return other
		case mode&modeSlow != 0 && coin < w.slow.share(time.Duration(m.slowSince.Load()), a.Now):
			return other
		case a.Tried.Len()-tried.Len() >= slowDraws:
			return e
		}
		a.Tried.Add(other)
	}
	return e
}

// coinOf is a number from 0 to 1 that a policy does not choose by: of the key, so that a key
// is passed over or not for all requests alike, or else of the attempt.
func coinOf(a *policy.Attempt) float64 {
	x := a.Key
	if x == 0 {
		x = a.Rand
	}
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return float64((x^x>>32)>>11) / (1 << 53)
}
