package service

import (
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/event"
)

const (
	// backAfter is how long a source must not fail again before it counts as recovered: one
	// with several parts repeats its failure after every set.
	backAfter = time.Second
	// rejectsMax bounds the rejected entries that are kept.
	rejectsMax = 20
	// rejectMax bounds what is kept of a name or a reason, in bytes.
	rejectMax = 200
)

// source is what is known of where the sets come from.
type source struct {
	from     time.Duration // since when it fails; 0: it does not
	backAt   time.Duration // when it named a set again; 0: it did not
	err      error         // why it fails
	named    bool          // it named a set
	rejected []discovery.Reject
	rejects  int // in all
}

// A SourceStatus is what is known of a service's source at one moment.
type SourceStatus struct {
	Stale    bool          // it fails: the last set, of which there may be none, stays in use
	Age      time.Duration // for how long the last set may have been out of date; 0: it is not
	Err      error         // why; nil unless Stale
	Held     int           // members in use that the source does not name any more: see Guard
	Rejected []discovery.Reject
	Rejects  int // entries rejected in all; Rejected is bounded
}

// Take takes everything that a source publishes. Any goroutine may call it; it does not
// block. A set is taken like one of Update, but guarded: see Guard. An error leaves the
// last set in use and marks it as stale.
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

// Stale says that the source fails for now. The begin is logged, and the end, which is the
// next set; what it says in between is in the status. Any goroutine may call it.
func (s *Service) Stale(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := &s.source
	src.err, src.backAt = err, 0
	if src.from == 0 {
		src.from = s.rt.Now()
		s.publish(event.SourceFailed{Err: err, First: !src.named})
	}
}

// Renew says that from now on another source names the sets: the first of them replaces
// what the old one named, which is not held, and what it said of itself is forgotten. Any
// goroutine may call it.
func (s *Service) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = source{}
}

// noteSet notes a set's success and its rejected entries. Called with mu held.
func (s *Service) noteSet(rejected []discovery.Reject) {
	src := &s.source
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

// clip bounds a text that comes from elsewhere.
func clip(text string) string {
	if len(text) <= rejectMax {
		return text
	}
	return strings.ToValidUTF8(text[:rejectMax], "") + "…"
}

// recover notes that the source is back, once it has stayed so for a moment. Called with
// mu held.
func (s *Service) recover(now time.Duration) {
	src := &s.source
	if src.backAt == 0 || now-src.backAt < backAfter {
		return
	}
	s.publish(event.SourceRecovered{Age: src.backAt - src.from})
	src.from, src.backAt, src.err = 0, 0, nil
}

// Source is the state of the service's source. Any goroutine may call it.
func (s *Service) Source() SourceStatus {
	now := s.rt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	src := &s.source
	st := SourceStatus{Rejected: src.rejected, Rejects: src.rejects}
	if src.from > 0 && src.backAt == 0 {
		st.Stale, st.Age, st.Err = true, now-src.from, src.err
	}
	for _, m := range s.members {
		if m.heldUntil > 0 {
			st.Held++
		}
	}
	return st
}

// Known reports whether the service ever had an endpoint. It costs no lock.
func (s *Service) Known() bool { return s.known.Load() }

// take keeps the set that was named last and has it looked at.
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

// keepSet notes a set that is to be looked at.
func (s *Service) keepSet(specs []endpoint.Spec, guarded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A set that takes the place of one that was not looked at yet is as free as that one.
	free := !guarded || !s.source.named || s.named.unread && !s.named.guarded
	s.named.specs, s.named.unread, s.named.guarded = specs, true, !free
	s.source.named = s.source.named || guarded
}
