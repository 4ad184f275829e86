package simulate

// A server is the queue behind an endpoint, which all proxies of a run share. When a request is
// done is known when it arrives, because requests are served in the order in which they came and
// faults are known beforehand: the worker that is free first takes it. So a request costs one
// event. With two workers, and a stall from 10 to 30 ms:
//
//	arrives   works for   worker   begins   done
//	 0 ms     8 ms        1         0 ms     8 ms
//	 1 ms     12 ms       2         1 ms    33 ms   stands still for 20 ms
//	 2 ms     5 ms        1         8 ms    33 ms   likewise
//
// Only a crash changes what was known: world.crash ends the attempts that are under way.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// A span of time, in which something holds.
type span struct {
	from, to time.Duration
	factor   float64
}

// spans are in the order of their beginnings.
type spans []span

// at returns the span that holds at the instant t; nil: none.
func (s spans) at(t time.Duration) *span {
	for i := range s {
		if one := &s[i]; one.from > t {
			return nil
		} else if t < one.to {
			return one
		}
	}
	return nil
}

// forget drops what is over at the instant now.
func (s *spans) forget(now time.Duration) {
	for len(*s) > 0 && (*s)[0].to <= now {
		*s = (*s)[1:]
	}
}

// A server is one endpoint's side of the simulation.
type server struct {
	spec   endpoint.Spec
	time   Time
	factor float64

	slow, stall, fail, flaky, down spans

	free []time.Duration // when each worker is free: a heap, the earliest first

	cold       int // so many requests to come take coldFactor times as long
	coldFactor float64
	absent     bool // its source does not name it

	known []*endpoint.Endpoint // what each proxy has made of it last; nil: nothing yet

	// For the report.
	open    int // attempts under way
	changed time.Duration
	area    float64 // of open over time since the last sample, in nanoseconds
	report  EndpointReport
}

// A fate is what becomes of an attempt, as it is known when the attempt begins.
type fate struct {
	at     time.Duration // its end, as the proxy sees it
	result result
	queue  time.Duration // spent in the queue
	work   time.Duration // worked on
}

// A result is how an attempt ends.
type result uint8

const (
	answered  result = iota
	failed           // 503
	refused          // no connection
	reset            // the connection broke
	timedOut         // no answer by the client's timeout
	rescued          // the endpoint was ejected while the request waited there
	overtaken        // the other attempt of the request has answered
)

// failTime is how long a failing endpoint takes to say so.
const failTime = 100 * time.Microsecond

// take is a request that a proxy sends at the instant now.
func (s *server) take(now, network time.Duration, r *request) fate {
	for _, list := range [...]*spans{&s.slow, &s.stall, &s.fail, &s.flaky, &s.down} {
		list.forget(now)
	}
	if s.down.at(now) != nil || s.absent {
		return fate{at: now + network, result: refused}
	}
	if s.fail.at(now) != nil {
		return fate{at: now + network + failTime, result: failed, work: failTime}
	}
	if flaky := s.flaky.at(now); flaky != nil && float64(mix(r.lot+uint64(r.tries))>>11)/(1<<53) < flaky.factor {
		return fate{at: now + network + failTime, result: failed, work: failTime}
	}
	arrived := now + network/2
	begin := max(arrived, s.free[0])
	work := s.work(begin, r)
	done := s.through(begin, work)
	s.busyUntil(done)
	return fate{at: done + network - network/2, result: answered, queue: done - arrived - work, work: work}
}

// work is how long the server works on r if it begins at the instant begin.
func (s *server) work(begin time.Duration, r *request) time.Duration {
	work := r.took
	if work == 0 {
		work = s.time.of(r.lot)
	}
	factor := s.factor
	if slow := s.slow.at(begin); slow != nil {
		factor *= slow.factor
	}
	if s.cold > 0 {
		s.cold--
		factor *= s.coldFactor
	}
	return max(1, time.Duration(float64(work)*factor))
}

// through is when work that begins at the instant begin is done, with the stalls in between.
func (s *server) through(begin, work time.Duration) time.Duration {
	at := begin
	for i := range s.stall {
		one := &s.stall[i]
		if one.to <= at {
			continue
		}
		if at+work <= one.from {
			break
		}
		if one.from > at {
			work -= one.from - at
		}
		at = one.to
	}
	return at + work
}

// busyUntil has the worker that is free first work until done.
func (s *server) busyUntil(done time.Duration) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(s.free) {
			break
		}
		if child+1 < len(s.free) && s.free[child+1] < s.free[child] {
			child++
		}
		if s.free[child] >= done {
			break
		}
		s.free[i] = s.free[child]
		i = child
	}
	s.free[i] = done
}

// probe is the fate of a probe that is sent at the instant now. It waits in the queue like a
// request, and costs the endpoint nothing.
func (s *server) probe(now, network time.Duration) fate {
	switch {
	case s.down.at(now) != nil || s.absent:
		return fate{at: now + network, result: refused}
	case s.fail.at(now) != nil:
		return fate{at: now + network + failTime, result: failed}
	}
	return fate{at: s.through(max(now+network/2, s.free[0]), 0) + network - network/2, result: answered}
}

// count brings the area under open up to the instant now, and changes open.
func (s *server) count(now time.Duration, by int) {
	s.area += float64(s.open) * float64(now-s.changed)
	s.changed = now
	s.open += by
}
