package service

// What a source says, in sets and errors. An error never changes the set in use; it makes the
// service stale until the next set:
//
//	 0 s    Take(set)     in force
//	60 s    Take(err)     stale: SourceFailed is published, the set stays in use
//	65 s    Take(err)     nothing new: only the status has the latest error
//	90 s    Take(set)     in force; not stale any more
//	91 s                  SourceRecovered, if it has not failed again within a second

import (
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/event"
)

const (
	// backAfter is how long after a set a source must not fail before it counts as recovered:
	// one with several parts repeats its failure after every set.
	backAfter = time.Second
	// rejectsMax bounds the rejected entries that are kept.
	rejectsMax = 20
	// rejectMax bounds what is kept of a name or a reason, in bytes.
	rejectMax = 200
)

// SourceCounts are what sources of a service have said since it began.
type SourceCounts struct {
	Applied uint64 // sets
	Held    uint64 // sets that left out so many endpoints that these were held: see Guard
	Failed  uint64 // errors
}

// source is the state of the source. It is guarded by Service.mu.
type source struct {
	from     time.Duration      // instant since which it fails; 0: it does not
	backAt   time.Duration      // instant at which it named a set again; 0: it has not
	err      error              // its latest failure; nil: it does not fail
	named    bool               // it has named a set
	rejected []discovery.Reject // of the latest set, at most rejectsMax
	rejects  int                // number of all of them
}

// A SourceStatus is the state of a service's source at one moment.
type SourceStatus struct {
	Stale    bool          // it fails: the last set, of which there may be none, stays in use
	Age      time.Duration // for how long the last set may have been out of date; 0: it is not
	Err      error         // why; nil unless Stale
	Held     int           // members in use that the source does not name any more: see Guard
	Rejected []discovery.Reject
	Rejects  int // entries rejected in all; Rejected is bounded
	Counts   SourceCounts
	Parts    []PartStatus // of a source that is made of several; nil: it is one
}

// Take takes what a source publishes: a set, which is taken like one of Update but guarded (see
// Guard), or an error, which leaves the last set in use and marks it as stale. Any goroutine may
// call it. It waits for a build under way, and may build a view itself, as Update does.
func (s *Service) Take(u discovery.Update) {
	if u.Err != nil {
		s.Stale(u.Err)
		return
	}
	s.mu.Lock()
	s.noteSet(u.Rejected)
	s.mu.Unlock()
	s.take(u.Endpoints, true)
}

// Stale records that the source fails with err, until its next set. The first failure and the
// recovery are published; the latest err is in the status. Any goroutine may call it.
func (s *Service) Stale(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := &s.source
	src.err, src.backAt = err, 0
	s.heard.Failed++
	if src.from == 0 {
		src.from = s.rt.Now()
		s.publish(event.SourceFailed{Err: err, First: !src.named})
	}
}

// Renew says that another source names the sets from now on. Its first set is not guarded, and the
// status of the old source is forgotten. Any goroutine may call it.
func (s *Service) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = source{}
	s.parts.names = nil
}

// noteSet records that the source has named a set, and the entries of it that were rejected. Called
// with mu held.
func (s *Service) noteSet(rejected []discovery.Reject) {
	src := &s.source
	s.heard.Applied++
	if src.from > 0 && src.backAt == 0 {
		src.backAt = s.rt.Now()
		s.wake.Set()
	}
	kept := make([]discovery.Reject, 0, min(len(rejected), rejectsMax))
	for _, r := range rejected[:cap(kept)] {
		kept = append(kept, discovery.Reject{ID: clip(r.ID), Reason: clip(r.Reason)})
	}
	if len(rejected) == src.rejects && slices.Equal(kept, src.rejected) {
		return
	}
	src.rejected, src.rejects = kept, len(rejected)
	s.publish(event.EntriesRejected{Rejected: src.rejected, Total: src.rejects})
}

// clip cuts a text from a source to rejectMax bytes.
func clip(text string) string {
	if len(text) <= rejectMax {
		return text
	}
	return strings.ToValidUTF8(text[:rejectMax], "") + "…"
}

// recover ends the failure of the source once it has not failed for backAfter since its set. Called
// with mu held.
func (s *Service) recover(now time.Duration) {
	src := &s.source
	if src.backAt == 0 || now-src.backAt < backAfter {
		return
	}
	s.publish(event.SourceRecovered{Age: src.backAt - src.from})
	src.from, src.backAt, src.err = 0, 0, nil
}

// Source is the state of the service's source now. Any goroutine may call it.
func (s *Service) Source() SourceStatus {
	st := s.Heard()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.heldUntil > 0 {
			st.Held++
		}
	}
	return st
}

// Heard is Source without Held, for which all members are looked at.
func (s *Service) Heard() SourceStatus {
	now := s.rt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	src := &s.source
	st := SourceStatus{Rejected: src.rejected, Rejects: src.rejects, Counts: s.heard, Parts: s.parts.status(now)}
	if src.from > 0 && src.backAt == 0 {
		st.Stale, st.Age, st.Err = true, now-src.from, src.err
	}
	return st
}

// Known reports whether the service ever had an endpoint. It costs no lock.
func (s *Service) Known() bool { return s.known.Load() }

// take stores a set and puts it in force, at once if a view may be built now, or else by the
// keeper.
func (s *Service) take(specs []endpoint.Spec, guarded bool) {
	s.keepSet(specs, guarded)
	defer s.wake.Set()
	s.work.Lock()
	defer s.work.Unlock()
	if now := s.rt.Now(); !s.stopped.Load() && (!s.builds.begun || now >= s.builds.next) {
		s.reconcile(now)
		s.build(now)
		s.rest(now)
	}
}

// keepSet stores a set for reconcile, in place of one that it has not seen yet.
func (s *Service) keepSet(specs []endpoint.Spec, guarded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A set that replaces an unguarded one that reconcile has not seen is not guarded either.
	free := !guarded || !s.source.named || s.named.unread && !s.named.guarded
	s.named.specs, s.named.unread, s.named.guarded = specs, true, !free
	s.source.named = s.source.named || guarded
}
