package event

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/health"
)

// The log is an observer: every event that an operator should read of is one line. Events
// that are logged elsewhere (what becomes of a configuration), or that another event says
// better (a probe: the ejection it leads to), are none.

// Log returns the observer that writes to that logger.
func Log(to *slog.Logger) Observer { return logger{to} }

type logger struct{ *slog.Logger }

// Observe writes the line of an event.
func (l logger) Observe(e Event) {
	if e.Service != "" {
		l.Logger = l.With("service", e.Service)
	}
	switch d := e.Detail.(type) {
	case EndpointChanged:
		l.endpoint(d)
	case SetChanged, OutChanged, PanicChanged, OverflowChanged, LastResortChanged:
		l.set(d)
	case RemovalHeld, RemovalTakenBack, RemovalConfirmed, RemovalExpired, EndpointDamped:
		l.guard(d)
	case OverrideSet, OverrideEnded:
		l.override(e.At, d)
	case SourceFailed, SourceRecovered, EntriesRejected:
		l.source(d)
	case Fault, FaultEnded, ObserverFailed:
		l.fault(d)
	case ConnectionsFull:
		l.Warn("as many client connections as there may be: new ones wait, idle ones are closed",
			"connections", d.Open, "limit", d.Limit)
	case Lost:
		l.Warn("events were not logged: too many at once", "lost", d.Events)
	}
}

// endpoint logs that an endpoint went from one state to another.
func (l logger) endpoint(d EndpointChanged) {
	level := slog.LevelInfo
	switch d.To {
	case health.Ejected:
		level = slog.LevelWarn
	case health.Draining, health.Gone:
		level = slog.LevelDebug // the change of the set is logged
	}
	attrs := []slog.Attr{
		slog.String("endpoint", d.Endpoint.String()),
		slog.String("from", d.From.String()),
		slog.String("to", d.To.String()),
		slog.String("why", d.Why()),
	}
	if d.Err != nil {
		attrs = append(attrs, slog.Any("error", d.Err))
	}
	l.LogAttrs(context.Background(), level, "endpoint "+d.To.String(), attrs...)
}

// Why puts the reason of a change into words, for people.
func (d EndpointChanged) Why() string {
	switch d.Trigger {
	case health.ProbePassed:
		return "probes passed"
	case health.ProbeFailed, health.ProbeRefused:
		return "probes failed"
	case health.AttemptSucceeded:
		return "trials succeeded"
	case health.AttemptFailed:
		if d.To == health.Healthy {
			return "a trial failed, but no other endpoint is healthy"
		}
		return "attempts failed"
	case health.TimePassed:
		if d.To == health.Healthy {
			return "the breaker is off, or does not look for outliers any more"
		}
		return "time for a trial"
	case health.CheckGone:
		return "not checked any more"
	case health.Removed:
		return "not named by the source any more"
	case health.Emptied:
		return "nothing in flight"
	case health.OperatorEjected:
		return "ejected by an operator"
	case health.OperatorReleased:
		return "the operator's ejection is over"
	case health.AskedToRest:
		return "it has asked for a pause (Retry-After)"
	case health.ComparedWorse:
		return "an outlier: it " + d.Finding.String()
	case health.OperatorAdmitted:
		return "admitted by an operator"
	}
	return d.Cause.String()
}

// set logs what became of the members as a whole.
func (l logger) set(d Detail) {
	switch d := d.(type) {
	case SetChanged:
		l.Info("endpoints changed", "added", len(d.Added), "removed", len(d.Removed), "members", d.Members)
	case OutChanged:
		l.Info("source says which endpoints take no new requests", "out", d.Out, "back", d.Back, "members", d.Members)
	case LastResortChanged:
		if d.On {
			l.Warn("no endpoint is sound: ejected ones are tried as a last resort", "ejected", d.Ejected, "members", d.Members)
		} else {
			l.Info("the last resort is over", "usable", d.Usable, "members", d.Members)
		}
	case OverflowChanged:
		if d.On {
			l.Warn("too few endpoints of the first priority are usable: others get a part of the requests",
				"percent", int(math.Round(100*d.Share)), "usable", d.Usable, "members", d.Members)
		} else {
			l.Info("the first priority carries all requests again", "usable", d.Usable, "members", d.Members)
		}
	case PanicChanged:
		if d.On {
			l.Warn("panic mode: too many endpoints are ejected, all are used", "usable", d.Usable, "members", d.Members)
		} else {
			l.Info("panic mode is over", "usable", d.Usable, "members", d.Members)
		}
	}
}

// guard logs what the guard rails did to what a source named.
func (l logger) guard(d Detail) {
	switch d := d.(type) {
	case RemovalHeld:
		l.Warn("removal held: the source leaves out so many endpoints that they stay in use while probes pass",
			"held", d.Endpoints, "members", d.Members, "for", d.For)
	case RemovalTakenBack:
		l.Info("removal taken back: the source names the endpoints again", "endpoints", d.Endpoints)
	case RemovalConfirmed:
		l.Info("removal confirmed: a probe failed", "endpoint", d.Endpoint.String(), "error", d.Err)
	case RemovalExpired:
		l.Warn("removal let through: it was held long enough", "removed", d.Removed, "members", d.Members)
	case EndpointDamped:
		l.Warn("endpoint comes and goes: back in use only after a quiet time, or if nothing else is left",
			"endpoint", d.Endpoint.String(), "quiet", d.Quiet)
	}
}

// override logs what an operator wants, or that it is over. at is the instant of the event.
func (l logger) override(at time.Duration, d Detail) {
	switch d := d.(type) {
	case OverrideSet:
		attrs := []any{"endpoint", d.Override.Endpoint.String(), "who", d.Override.Who, "why", d.Override.Why}
		if until := d.Override.Until; until > 0 {
			attrs = append(attrs, "for", (until - at).Round(time.Millisecond))
		}
		l.Warn("override: "+d.Override.String(), attrs...)
	case OverrideEnded:
		l.Info("override ended: "+d.Override.String(), "endpoint", d.Override.Endpoint.String(), "reason", d.Reason.String(), "who", d.Who)
	}
}

// source logs how the source does.
func (l logger) source(d Detail) {
	switch d := d.(type) {
	case SourceFailed:
		if d.First {
			l.Warn("source fails and has not named a set yet", "error", d.Err)
		} else {
			l.Warn("source is stale: its last set stays in use", "error", d.Err)
		}
	case SourceRecovered:
		l.Info("source is back", "age", d.Age)
	case EntriesRejected:
		if d.Total == 0 {
			l.Info("no entry of the source is rejected any more")
		} else {
			l.Warn("entries of the source rejected", "entries", d.Total, "which", rejects(d.Rejected, d.Total))
		}
	}
}

// fault logs a panic that was recovered, or its end.
func (l logger) fault(d Detail) {
	switch d := d.(type) {
	case FaultEnded:
		l.Info("the policy's Build works again")
	case ObserverFailed:
		l.Error("panic in an observer of events: "+d.Observer, "panic", fmt.Sprint(d.Value), "stack", string(d.Stack))
	case Fault:
		if d.In != "" {
			l.Error("panic in "+d.In+": the last good state stays in use", "panic", fmt.Sprint(d.Value), "stack", string(d.Stack))
		} else {
			l.Error("the last good state stays in use", "error", d.Err)
		}
	}
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
