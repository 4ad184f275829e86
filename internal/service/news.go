package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// newsKind says what a piece of news is about.
type newsKind uint8

const (
	stateChanged newsKind = iota // of one endpoint
	panicMode                    // began or ended
	lastResort                   // likewise
	setChanged
	saidOut // by the source, of members that it names
	removalHeld
	removalTakenBack
	removalConfirmed
	removalExpired
	damped
	sourceStale
	sourceBack
	entriesRejected
	faulty    // code that the service was given, or its own, panicked
	faultOver // the policy's Build works again
)

// news is something to be logged, by the keeper: exchanges never wait for a log. Which of
// the fields mean something depends on the kind.
type news struct {
	kind           newsKind
	endpoint       *endpoint.Endpoint
	change         health.Change
	event          health.Event
	err            error
	view           *view
	added, removed int
	members, count int
	wait           time.Duration
	first          bool
	rejected       []discovery.Reject
}

// report queues n for the log. Called with mu held.
func (s *Service) report(n news) {
	if len(s.news) == newsMax {
		s.lost++
		return
	}
	s.news = append(s.news, n)
	s.wake.Set()
}

// tell writes the news to the log. Called without locks.
func (s *Service) tell() {
	s.mu.Lock()
	all, lost := s.news, s.lost
	s.news, s.lost = nil, 0
	s.mu.Unlock()
	for _, n := range all {
		switch n.kind {
		case stateChanged:
			s.tellChange(n)
		case panicMode, lastResort, setChanged, saidOut:
			s.tellSet(n)
		case sourceStale, sourceBack, entriesRejected:
			s.tellSource(n)
		case faulty, faultOver:
			s.tellFault(n)
		default:
			s.tellGuard(n)
		}
	}
	if lost > 0 {
		s.log.Warn("state changes were not logged: too many at once", "lost", lost)
	}
}

// tellSet logs what became of the members as a whole.
func (s *Service) tellSet(n news) {
	switch {
	case n.kind == setChanged:
		s.log.Info("endpoints changed", "added", n.added, "removed", n.removed, "members", n.members)
	case n.kind == saidOut:
		s.log.Info("source says which endpoints take no new requests", "out", n.removed, "back", n.added, "members", n.members)
	case n.kind == lastResort && n.view.resorting():
		s.log.Warn("no endpoint is sound: ejected ones are tried as a last resort",
			"ejected", len(n.view.ejected), "members", len(n.view.members))
	case n.kind == lastResort:
		s.log.Info("the last resort is over", "usable", len(n.view.usable), "members", len(n.view.members))
	case n.view.panic:
		s.log.Warn("panic mode: too many endpoints are ejected, all are used",
			"usable", len(n.view.usable), "members", len(n.view.members))
	default:
		s.log.Info("panic mode is over", "usable", len(n.view.usable), "members", len(n.view.members))
	}
}

// tellGuard logs what the guard rails did to what a source named.
func (s *Service) tellGuard(n news) {
	switch n.kind {
	case removalHeld:
		s.log.Warn("removal held: the source leaves out so many endpoints that they stay in use while probes pass",
			"held", n.count, "members", n.members, "for", n.wait)
	case removalTakenBack:
		s.log.Info("removal taken back: the source names the endpoints again", "endpoints", n.count)
	case removalConfirmed:
		s.log.Info("removal confirmed: a probe failed", "endpoint", n.endpoint.ID().String(), "error", n.err)
	case removalExpired:
		s.log.Warn("removal let through: it was held long enough", "removed", n.count, "members", n.members)
	case damped:
		s.log.Warn("endpoint comes and goes: back in use only after a quiet time, or if nothing else is left",
			"endpoint", n.endpoint.ID().String(), "quiet", n.wait)
	}
}

// tellSource logs how the source does.
func (s *Service) tellSource(n news) {
	switch {
	case n.kind == sourceStale && n.first:
		s.log.Warn("source fails and has not named a set yet", "error", n.err)
	case n.kind == sourceStale:
		s.log.Warn("source is stale: its last set stays in use", "error", n.err)
	case n.kind == sourceBack:
		s.log.Info("source is back", "age", n.wait)
	case n.count == 0:
		s.log.Info("no entry of the source is rejected any more")
	default:
		s.log.Warn("entries of the source rejected", "entries", n.count, "which", rejects(n.rejected, n.count))
	}
}

// tellFault logs a panic that was recovered, or its end.
func (s *Service) tellFault(n news) {
	if n.kind == faultOver {
		s.log.Info("the policy's Build works again")
		return
	}
	if p := (*panicked)(nil); errors.As(n.err, &p) {
		s.log.Error("panic in "+p.in+": the last good state stays in use", "panic", fmt.Sprint(p.value), "stack", string(p.stack))
		return
	}
	s.log.Error("the last good state stays in use", "error", n.err)
}

// rejects lists rejected entries with their reasons.
func rejects(list []discovery.Reject, all int) string {
	var b strings.Builder
	for i, r := range list {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", r.ID, r.Reason)
	}
	if more := all - len(list); more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// tellChange logs that an endpoint went from one state to another.
func (s *Service) tellChange(n news) {
	level := slog.LevelInfo
	switch n.change.To {
	case health.Ejected:
		level = slog.LevelWarn
	case health.Draining, health.Gone:
		level = slog.LevelDebug // told as a change of the set
	}
	attrs := []slog.Attr{
		slog.String("endpoint", n.endpoint.ID().String()),
		slog.String("from", n.change.From.String()),
		slog.String("to", n.change.To.String()),
		slog.String("why", why(n)),
	}
	if n.err != nil {
		attrs = append(attrs, slog.Any("error", n.err))
	}
	s.log.LogAttrs(context.Background(), level, "endpoint "+n.change.To.String(), attrs...)
}

// why puts the reason of a change into words.
func why(n news) string {
	switch n.event {
	case health.ProbePassed:
		return "probes passed"
	case health.ProbeFailed, health.ProbeRefused:
		return "probes failed"
	case health.AttemptSucceeded:
		return "trials succeeded"
	case health.AttemptFailed:
		if n.change.To == health.Healthy {
			return "a trial failed, but no other endpoint is healthy"
		}
		return "attempts failed"
	case health.TimePassed:
		if n.change.To == health.Healthy {
			return "the breaker is off"
		}
		return "time for a trial"
	case health.CheckGone:
		return "not checked any more"
	case health.Removed:
		return "not named by the source any more"
	case health.Emptied:
		return "nothing in flight"
	}
	return n.change.Cause.String()
}
