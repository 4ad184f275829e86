// Package discovery says where a service's endpoint list comes from. A Source is one
// blocking method that reports complete sets; everything that is common to all sources
// (polling, jitter, back-off) lives here, everything particular in a folder of its own.
package discovery

import (
	"context"

	"github.com/poise-lb/poise/endpoint"
)

// A Source watches the endpoints of one service.
type Source interface {
	// Run calls publish with the complete set as soon as it is known and after every
	// change, from one goroutine at a time, until ctx is done; then it returns. It
	// retries by itself: publish(Update{Err: err}) says that the last set may be stale.
	// publish waits for nothing but computing: at most until a service has made a picker of
	// the set. Run returns an error only if it can never succeed.
	Run(ctx context.Context, publish func(Update)) error
}

// An Update is the complete set of a service's endpoints at one moment, or the reason
// why it is not known.
type Update struct {
	Endpoints []endpoint.Spec // complete; empty means that the service has none
	Err       error           // non-nil: Endpoints is ignored, the previous set stays in use
	Rejected  []Reject        // entries that are not in Endpoints because something is wrong with them
}

// Static is a Source whose set never changes.
type Static []endpoint.Spec

// Run publishes the set once and waits for ctx.
func (s Static) Run(ctx context.Context, publish func(Update)) error {
	publish(Update{Endpoints: s})
	<-ctx.Done()
	return nil
}
