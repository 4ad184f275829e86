package poise

import (
	"time"
)

// An Event is something that happened to an endpoint, a service or the configuration. Events say
// what the proxy's own log says, and configurations.
type Event struct {
	ID       uint64            `json:"id"` // grows; numbers are left out
	At       time.Time         `json:"at"`
	Level    string            `json:"level"` // info, warn or error
	Kind     string            `json:"kind"`  // endpoint, set, source, config, fault or limit
	Service  string            `json:"service,omitempty"`
	Endpoint string            `json:"endpoint,omitempty"`
	Text     string            `json:"text"`
	Details  map[string]string `json:"details,omitempty"`
}

// Events returns the latest events, at most 1,024, that have an ID above after, in order; 0: all
// that are kept. more is closed when there is another. To follow events:
//
//	for last := uint64(0); ; {
//		events, more := proxy.Events(last)
//		for _, e := range events {
//			fmt.Println(e.At, e.Service, e.Endpoint, e.Text)
//			last = e.ID
//		}
//		select {
//		case <-more:
//		case <-ctx.Done():
//			return
//		}
//	}
//
// Any goroutine may call it.
func (p *Proxy) Events(after uint64) (events []Event, more <-chan struct{}) {
	entries, more := p.server.Events(after)
	epoch := p.server.Epoch()
	for _, e := range entries {
		one := Event{
			ID: e.Seq, At: epoch.Add(e.At), Level: levels[int(e.Level)/4], Kind: e.Kind,
			Service: e.Service, Endpoint: e.Endpoint, Text: e.Text,
		}
		if len(e.Details) > 0 {
			one.Details = make(map[string]string, len(e.Details))
		}
		for _, d := range e.Details {
			one.Details[d.Name] = d.Value
		}
		events = append(events, one)
	}
	return events, more
}

// levels are the words of slog's levels, by quarters: info is 0, warn 4, error 8.
var levels = [...]string{"info", "warn", "error"}
