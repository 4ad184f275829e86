package event

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// An Entry is an event in words: what the log says of it, for those that show events in another
// way. Events that the log does not mention have none, but for configurations.
type Entry struct {
	Seq      uint64
	At       time.Duration // instant
	Service  string
	Endpoint string // "" unless the event is about one
	Kind     string // what it is about: endpoint, set, source, config, fault, limit
	Level    slog.Level
	Text     string
	Details  []Detailed // what else there is to say, in the order of the log
}

// A Detailed is one detail of an Entry.
type Detailed struct{ Name, Value string }

// Describe returns the Entry of an event; ok is false if there is none.
func Describe(e Event) (out Entry, ok bool) {
	out = Entry{Seq: e.Seq, At: e.At, Service: e.Service, Kind: kindOf(e.Detail)}
	h := &scribe{entry: &out}
	switch d := e.Detail.(type) {
	case ConfigApplied:
		h.say(slog.LevelInfo, "configuration applied", "generation", d.Generation, "services", d.Services, "routes", d.Routes)
	case ConfigRefused:
		h.say(slog.LevelError, "configuration refused: the one before stays", "error", d.Err)
	case ProbeChanged:
		if d.Err == nil {
			return out, false // the change of state is logged instead
		}
		h.say(slog.LevelInfo, "probe failed", "endpoint", d.Endpoint.String(), "error", d.Err)
	default:
		Log(slog.New(h)).Observe(Event{Seq: e.Seq, At: e.At, Detail: e.Detail}) // the service has a field of its own
	}
	return out, out.Text != ""
}

// kindOf is the word for what an event is about.
func kindOf(d Detail) string {
	switch d.(type) {
	case EndpointChanged, ProbeChanged, EndpointDamped, RemovalConfirmed:
		return "endpoint"
	case ConfigApplied, ConfigRefused:
		return "config"
	case SourceFailed, SourceRecovered, EntriesRejected:
		return "source"
	case Fault, FaultEnded, ObserverFailed:
		return "fault"
	case ConnectionsFull, Lost:
		return "limit"
	}
	return "set"
}

// A scribe is a slog.Handler that keeps one record as an Entry.
type scribe struct{ entry *Entry }

func (s *scribe) say(level slog.Level, text string, details ...any) {
	slog.New(s).Log(context.Background(), level, text, details...)
}

// Enabled implements slog.Handler. What is logged for debugging only is no Entry.
func (s *scribe) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (s *scribe) Handle(_ context.Context, r slog.Record) error {
	s.entry.Level, s.entry.Text = r.Level, r.Message
	r.Attrs(func(a slog.Attr) bool {
		value := fmt.Sprint(a.Value.Resolve().Any())
		switch a.Key {
		case "endpoint":
			s.entry.Endpoint = value
		case "stack": // of a panic: it is in the log
		default:
			s.entry.Details = append(s.entry.Details, Detailed{a.Key, value})
		}
		return true
	})
	return nil
}

// WithAttrs and WithGroup implement slog.Handler; the log uses neither without a service.
func (s *scribe) WithAttrs([]slog.Attr) slog.Handler { return s }
func (s *scribe) WithGroup(string) slog.Handler      { return s }
