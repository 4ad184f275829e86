package core

// What a Proxy knows of endpoints, for the process that takes its place. Services are known by
// their names; one that the new configuration does not have is forgotten. A service that a
// request names (discover) may come later than the others, so what is known waits for it.

import (
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/service"
)

// handedKept is how long what was handed over waits for its service to be started.
const handedKept = time.Minute

// Saved is what is known of the endpoints of all services, in a form for JSON.
type Saved struct {
	// Passed is how long ago it was saved, in the receiver's eyes. Not part of the JSON: two
	// processes have two clocks.
	Passed   time.Duration            `json:"-"`
	Services map[string]service.Saved `json:"services,omitempty"`
}

// Save returns what is known of endpoints now. Any goroutine may call it.
func (p *Proxy) Save() Saved {
	out := Saved{Services: make(map[string]service.Saved)}
	for _, s := range p.Services() {
		out.Services[s.Name()] = s.Save()
	}
	return out
}

// handed is what is left of Options.Saved. Any goroutine may use it.
type handed struct {
	mu    sync.Mutex
	left  map[string]service.Saved
	saved time.Duration // instant of Save on this Proxy's clock; may be negative
	until time.Duration // instant from which nothing is left
}

// open takes what was handed over at the instant now; nil: nothing.
func (h *handed) open(from *Saved, now time.Duration) {
	if from == nil {
		return
	}
	h.left = make(map[string]service.Saved, len(from.Services))
	for name, one := range from.Services {
		h.left[name] = one
	}
	h.saved, h.until = now-from.Passed, now+handedKept
}

// restore gives a new service what is left for it, once.
func (h *handed) restore(s *service.Service, now time.Duration) {
	h.mu.Lock()
	one, ok := h.left[s.Name()]
	delete(h.left, s.Name())
	if now > h.until {
		ok, h.left = false, nil
	}
	h.mu.Unlock()
	if ok {
		s.Restore(one, now-h.saved)
	}
}
