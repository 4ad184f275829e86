package service

import (
	"github.com/poise-lb/poise/internal/event"
)

// A service says what happens to it by events: of its endpoints, of the set, of the source.
// They are published where the change is made, with mu held, so their order is that of the
// changes; the Bus calls observers later, by tasks of their own.

// publish queues an event of this service. Any goroutine may call it, also with locks held.
func (s *Service) publish(d event.Detail) { s.events.Publish(s.name, d) }

// fault is the event of an error: of a panic that was recovered, or of another one.
func fault(err error) event.Fault {
	if p, ok := err.(*panicked); ok {
		return event.Fault{In: p.in, Value: p.value, Stack: p.stack, Err: err}
	}
	return event.Fault{Err: err}
}

// noteProbe publishes the verdict of a probe if the one before was another. Called with mu
// held; err nil: it passed.
func (s *Service) noteProbe(m *Member, err error) {
	verdict := probePassed
	if err != nil {
		verdict = probeFailed
	}
	if m.lastProbe != verdict {
		m.lastProbe = verdict
		s.publish(event.ProbeChanged{Endpoint: m.endpoint.ID(), Err: err})
	}
}

// What Member.lastProbe says.
const (
	probeNone uint8 = iota // no probe has ended
	probePassed
	probeFailed
)
