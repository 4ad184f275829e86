package service

// A service publishes events of its endpoints, its set and its source. It publishes where it
// makes the change, with mu held, so the order of events is that of the changes. The Bus calls
// observers later, in tasks of their own, so a slow observer delays no endpoint.

import (
	"github.com/poise-lb/poise/internal/event"
)

// publish queues an event of this service. Any goroutine may call it, also with locks held.
func (s *Service) publish(d event.Detail) { s.events.Publish(s.name, d) }

// fault makes the event of err, with value and stack if err is a recovered panic.
func fault(err error) event.Fault {
	if p, ok := err.(*panicked); ok {
		return event.Fault{In: p.in, Value: p.value, Stack: p.stack, Err: err}
	}
	return event.Fault{Err: err}
}

// noteProbe publishes the verdict of a probe if it differs from the one before. err nil: it passed.
// Called with mu held.
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

// Values of Member.lastProbe.
const (
	probeNone uint8 = iota // no probe has ended
	probePassed
	probeFailed
)
