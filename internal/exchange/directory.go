package exchange

import (
	"bytes"
	"math"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/reason"
)

// A Directory leads from a name in a request's path to the service of that name. It is
// safe for concurrent use.
type Directory interface {
	// Enter returns the service, whose Uses counts the caller from now on, or why there is
	// none. The name is not kept. For a service that is known already it neither locks nor
	// allocates.
	Enter(name []byte, now time.Duration) (*Service, *Error)
}

// Why a Directory has no service of a name, or one without endpoints.
var (
	ErrNoEndpoint      = &Error{Status: 503, Reason: reason.NoEndpoint, Side: ByEndpoint}
	ErrStopping        = &Error{Status: 503, Reason: reason.Stopping, Side: BySelf}
	ErrUnknownService  = &Error{Status: 404, Reason: reason.UnknownService, Side: ByClient}
	ErrTooManyServices = &Error{Status: 503, Reason: reason.TooManyServices, Side: BySelf}
)

// Uses counts the exchanges of a service that is forgotten when it has none for a while.
// The zero value is unused since the beginning of time.
type Uses struct {
	n    atomic.Int64 // far below zero: forgotten
	last atomic.Int64 // instant of the latest Enter, give or take useGrain
}

const (
	// useGrain is how exactly the last use is noted: it spares most exchanges the write.
	useGrain = int64(100 * time.Millisecond)
	// forgotten is below zero by more than there can be exchanges.
	forgotten = math.MinInt64 / 2
)

// Enter counts an exchange, unless the service was forgotten: then it returns false.
func (u *Uses) Enter(now time.Duration) bool {
	if u.n.Add(1) <= 0 {
		u.n.Add(-1)
		return false
	}
	if int64(now)-u.last.Load() > useGrain {
		u.last.Store(int64(now))
	}
	return true
}

// Leave ends what Enter began.
func (u *Uses) Leave() { u.n.Add(-1) }

// Last is the instant of the latest Enter.
func (u *Uses) Last() time.Duration { return time.Duration(u.last.Load()) }

// Idle reports whether nobody uses the service at this moment.
func (u *Uses) Idle() bool { return u.n.Load() == 0 }

// Forget reports whether nobody uses the service, and lets nobody Enter any more if so.
func (u *Uses) Forget() bool { return u.n.CompareAndSwap(0, forgotten) }

// enter finds the service of the exchange.
func (x *Exchange) enter() *Error {
	r := x.route
	if r.Directory == nil {
		x.service = r.Service
		return nil
	}
	s, err := r.Directory.Enter(segment(x.forward.norm, r.Segment), x.began)
	if err != nil {
		return err
	}
	x.service = s
	return nil
}

// leave lets go of the service that enter found.
func (x *Exchange) leave() {
	if s := x.service; s != nil && s.Uses != nil {
		s.Uses.Leave()
	}
}

// segment is the n-th segment of a path in normal form, from 0; empty if there is none.
func segment(path []byte, n int) []byte {
	for ; ; n-- {
		path = bytes.TrimPrefix(path, slash)
		i := bytes.IndexByte(path, '/')
		switch {
		case n > 0 && i < 0:
			return nil
		case n > 0:
			path = path[i:]
		case i < 0:
			return path
		default:
			return path[:i]
		}
	}
}

var slash = []byte("/")

// unavailable says why the service has no endpoint for the first attempt: one that a
// registry does not know is no service. While its source fails, that is not known.
func (x *Exchange) unavailable() *Error {
	if x.route.Directory != nil && x.service.Settled() && !x.service.Known() && !x.service.Source().Stale {
		return ErrUnknownService
	}
	return ErrNoEndpoint
}
