package service

// Outliers among the members: about once a second, while there are requests, the keeper compares the
// healthy members with each other (health.Compare) and ejects those that are clearly worse, the worst
// first. What an endpoint has done is the difference of counters that it has anyway, so requests pay
// nothing. With MaxEjected 10 %:
//
//	 0.0 s   turn, by an attempt that begins: wakes the keeper, which notes the counters of all
//	 1.0 s   turn: a has failed 12 of 40, the others 1 of 350; one second may be a burst
//	 2.0 s   turn: 25 of 82 and 2 of 700: a is ejected for OpenFor, its trials follow
//	12.0 s   half-open. It fails a trial: ejected for 2 × OpenFor
//	32.0 s   half-open. Its trials succeed: healthy, and compared by what comes from now on
//	42.0 s   ten seconds like the others: one of the two ejections is forgotten
//
// Two bounds hold whatever the figures say. No more than MaxEjected percent of the members are out at
// a time, counting what probes and the breaker have ejected, but one may always be; and at least
// half of the members stay healthy (mayRest).

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/health"
)

// Outliers say which members are outliers, and how many of them may be ejected. The zero value: none.
type Outliers struct {
	MaxEjected int // percent of the members, at least one; 0: outliers are not looked for
	health.Limits
}

// comparing is the part of a Service that looks for outliers.
type comparing struct {
	on  atomic.Bool // outliers are looked for
	due atomic.Bool // the keeper is to compare
}

// A track is what a healthy member has done lately. The zero value is one that begins. It is guarded
// by Service.mu.
type track struct {
	samples [trackLength]sample // the counters at each comparison; a ring
	n       int                 // comparisons so far
	slow    int                 // those in a row that found it slow
	since   time.Duration       // instant from which on it was like the others
	stays   bool                // it is an outlier, and not ejected: as many are out as may be
}

// trackLength is enough for health.Span: comparisons are a second apart at least.
const trackLength = int(health.Span/turnEvery) + 1

// A sample has the counters of an endpoint at an instant.
type sample struct {
	at                 time.Duration
	requests, failures uint64
}

// add notes the counters of an instant.
func (t *track) add(one sample) {
	t.samples[t.n%trackLength] = one
	t.n++
}

// sums are what has happened within the last Span, by samples that are less than that old.
func (t *track) sums(now time.Duration) (p health.Peer) {
	for i := max(t.n-trackLength, 0); i+1 < t.n; i++ {
		from, to := &t.samples[i%trackLength], &t.samples[(i+1)%trackLength]
		if now-from.at > health.Span+turnEvery {
			continue
		}
		requests, failures := int64(to.requests-from.requests), int64(to.failures-from.failures)
		p.Requests += requests
		p.Failures += failures
		if failures > p.BurstFailures || p.BurstRequests == 0 {
			p.BurstRequests, p.BurstFailures = requests, failures
		}
	}
	return p
}

// compareSoon has the keeper compare, if outliers are looked for. Any task may call it.
func (s *Service) compareSoon() {
	if s.comparing.on.Load() {
		s.comparing.due.Store(true)
		s.wake.Set()
	}
}

// compare compares the healthy members and ejects outliers, if that is due. Called with work held.
func (s *Service) compare(now time.Duration) {
	if !s.comparing.due.Swap(false) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conf.set.Outliers.MaxEjected <= 0 {
		return
	}
	members, peers := s.peers(now)
	verdicts := health.Compare(peers, s.conf.set.Outliers.Limits)
	var outliers []int
	for i, m := range members {
		if m.judge(&verdicts[i], now) {
			outliers = append(outliers, i)
		}
		if m.track.since == 0 {
			m.track.since = now
		}
		if m.machine.Struck() && now-m.track.since >= health.Span {
			m.track.since = now
			s.apply(m, health.Input{Event: health.ComparedAlike, Now: now}, nil)
		}
	}
	slices.SortStableFunc(outliers, func(a, b int) int {
		if verdicts[a].Excess() > verdicts[b].Excess() {
			return -1
		}
		return 1
	})
	left := s.ejectable()
	for _, i := range outliers {
		m := members[i]
		m.finding = verdicts[i].Finding
		if left > 0 {
			s.apply(m, health.Input{Event: health.ComparedWorse, Now: now, Spare: s.mayRest()}, nil)
		}
		if m.track.stays = !m.machine.Outlying(); !m.track.stays {
			left--
		}
	}
}

// peers lists the members that are compared, and what each has done. Those that are not healthy, or
// away, begin anew afterwards. Called with mu held.
func (s *Service) peers(now time.Duration) (members []*Member, peers []health.Peer) {
	for _, m := range s.members {
		if !m.counted {
			m.track = nil
			continue
		}
		if m.track == nil {
			m.track = new(track)
		}
		requests, failures := m.endpoint.Ended()
		m.track.add(sample{now, requests, failures})
		m.track.stays = false
		p := m.track.sums(now)
		p.Latency = m.endpoint.Typical().Duration()
		members, peers = append(members, m), append(peers, p)
	}
	return members, peers
}

// judge notes what a comparison says of m, and reports whether m is to be ejected. Called with mu
// held.
func (m *Member) judge(v *health.Verdict, now time.Duration) bool {
	t := m.track
	if !v.Alike {
		t.since = now
	}
	if !v.Slow {
		t.slow = 0
		return v.Failing
	}
	t.slow++
	return v.Failing || t.slow >= health.SlowInARow
}

// ejectable is how many members more may be ejected as outliers now. Called with mu held.
func (s *Service) ejectable() int {
	all, out := 0, 0
	for _, m := range s.members {
		if m.away() {
			continue
		}
		all++
		if state := m.machine.State(); state == health.Ejected || state == health.HalfOpen {
			out++
		}
	}
	return max(0, max(1, all*s.conf.set.Outliers.MaxEjected/100)-out)
}
