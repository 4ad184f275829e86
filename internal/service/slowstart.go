package service

// Slow start: an endpoint that is new or has just recovered may have to fill caches, to compile,
// or to open connections before it can carry a full share. With Window 30 s and From 10
// (percent):
//
//	at 0 s 10 % of its share    at 15 s 55 %    at 30 s 100 %
//
// It works with every policy: when the picker has chosen such an endpoint, Pick tosses a coin,
// and with the probability that is missing to a full share it passes the endpoint over and the
// picker chooses again. The coin of a request with a key depends on the key only, so each key of
// a hashing policy moves to the endpoint once, at a moment of its own.
//
// While no endpoint is in its window this costs nothing: a bit in the mode of those that are,
// modeSlow, leads Pick off its shortest path.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// A SlowStart gives an endpoint that is new in a running service, or that has just recovered, a
// share of requests that grows over Window. Endpoints of the first set have a full share at
// once.
type SlowStart struct {
	Window time.Duration // length of the slow start; 0: none
	From   int           // percent of a full share at the beginning; 0 means 10
}

// slowFrom is the default of SlowStart.From.
const slowFrom = 10

// slowDraws is how many other choices of the picker are looked at in place of an endpoint in its
// window.
const slowDraws = 4

// modeSlow is set in the mode of a healthy endpoint in its window.
const modeSlow int32 = 1 << 30

// withDefaults replaces every zero by what it means.
func (w SlowStart) withDefaults() SlowStart {
	if w.From <= 0 {
		w.From = slowFrom
	}
	return w
}

// share is the share, from 0 to 1, at the instant now of an endpoint whose window began at began.
func (w SlowStart) share(began, now time.Duration) float64 {
	from := float64(w.From) / 100
	return min(1, from+(1-from)*float64(max(now-began, 0))/float64(max(w.Window, 1)))
}

// slow begins m's window at the instant now, if m is healthy and there is a slow start. Called with
// mu held.
func (s *Service) slow(m *Member, now time.Duration) {
	if s.conf.set.SlowStart.Window <= 0 || m.machine.State() != health.Healthy {
		return
	}
	m.slowSince.Store(int64(now))
	m.slowUntil = now + s.conf.set.SlowStart.Window
	s.alarm(m, now)
	s.mirror(m)
}

// endSlow ends the windows that are over at the instant now. Called with mu held.
func (s *Service) endSlow(now time.Duration) {
	for _, m := range s.members {
		if m.slowUntil > 0 && (m.slowUntil <= now || s.conf.set.SlowStart.Window <= 0) {
			m.slowUntil = 0
			s.mirror(m)
		}
	}
}

// passOver returns e, which is in its window, with the probability of its share, and else another
// healthy endpoint of the picker, or e if there is none. a is unchanged on return.
func (s *Service) passOver(w *view, a *policy.Attempt, e *endpoint.Endpoint) *endpoint.Endpoint {
	tried := a.Tried
	defer func() { a.Tried = tried }()
	coin := coinOf(a)
	for other := e; other != nil && a.Tried.Len() < policy.AttemptsMax; other = w.picker.Pick(a) {
		if other == policy.Wait {
			return e
		}
		m := Of(other)
		switch mode := m.mode.Load(); {
		case mode&^modeBounded == modeCalm || mode&^modeBounded == modeTally:
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

// coinOf is a number from 0 up to 1 that is independent of the policy's choice. It comes from the
// key, if there is one, so that all requests of a key have the same coin, or else from a.Rand.
func coinOf(a *policy.Attempt) float64 {
	x := a.Key
	if x == 0 {
		x = a.Rand
	}
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return float64((x^x>>32)>>11) / (1 << 53)
}
