// Package downstream is what all protocols of clients share: how long their connections wait
// for what, and how a connection ends without losing the answer. The protocols are folders
// below it: h1 is HTTP/1.1 on every engine, nethttp is what net/http has read for us.
package downstream

import (
	"time"

	"github.com/poise-lb/poise/internal/limits"
)

// Settings bound what a client's connection waits for and reads. They are not modified after they have
// been given to a connection.
type Settings struct {
	Head   time.Duration // first to last byte of a head
	Idle   time.Duration // between requests
	Stall  time.Duration // without progress while content moves
	Limits limits.Head
	// FINLeaves says that a client that ends its sending side has left, even behind a
	// complete request.
	FINLeaves bool

	Streams  int           // HTTP/2: requests at once on a connection; 0: mux.StreamsDefault
	Requests int           // that a connection carries in its life; 0: no limit
	MaxAge   time.Duration // of a connection, give or take a tenth; 0: no limit

	// Clock tells the wall time, for the field Date; nil: time.Now.
	Clock func() time.Time
}

// An Age is that of a connection that was opened while Settings.MaxAge or Requests bounded it. It is
// not modified.
type Age struct {
	Born   time.Duration // instant
	Jitter int           // per mille of MaxAge, from -100 to 100: those opened together do not end together
}

// Ends is the instant at which a connection of that age is to take no further request; 0: never. a
// may be nil.
func (a *Age) Ends(s *Settings) time.Duration {
	if a == nil || s.MaxAge <= 0 {
		return 0
	}
	return a.Born + s.MaxAge + s.MaxAge/1000*time.Duration(a.Jitter)
}
