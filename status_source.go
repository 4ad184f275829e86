package poise

// What a Proxy knows of where the endpoints of a service come from.

import (
	"time"

	"github.com/poise-lb/poise/internal/service"
)

// SourceStatus is how the source of a service's endpoints does. A static list never fails.
type SourceStatus struct {
	// Kind is the key of the configuration that names the source; "list" for a list in the
	// configuration, "custom" for one that is Go.
	Kind string `json:"kind"`
	// Stale: the source cannot be asked, and the last set, of which there may be none, stays
	// in use; Age is for how long already, in ns, and Error is why.
	Stale bool          `json:"stale"`
	Age   time.Duration `json:"age"`
	Error string        `json:"error,omitempty"`
	// Held counts the endpoints that stay in use for a while although the last set does not
	// name them: it left out too many at once.
	Held int `json:"held"`
	// Rejected are the entries that are no usable endpoints, the first twenty of Rejects.
	Rejected []Rejected `json:"rejected,omitempty"`
	Rejects  int        `json:"rejects"`
}

// Rejected is an entry of a source that is not a usable endpoint.
type Rejected struct {
	ID     string `json:"id"` // what the source calls it
	Reason string `json:"reason"`
}

func sourceStatus(from service.SourceStatus) SourceStatus {
	s := SourceStatus{Stale: from.Stale, Age: from.Age, Held: from.Held, Rejects: from.Rejects}
	if from.Err != nil {
		s.Error = from.Err.Error()
	}
	for _, r := range from.Rejected {
		s.Rejected = append(s.Rejected, Rejected{ID: r.ID, Reason: r.Reason})
	}
	return s
}
