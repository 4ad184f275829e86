package exchange

// Routes with discover: the path names the service. The exchange asks the route's Directory for
// it and counts itself as a user of the service until it ends, so that a service in use is not
// forgotten:
//
//	GET /svc/users/7, route /svc/{service}/*     segment 1 is "users"
//	    Directory.Enter("users")    the service; Uses: 1
//	    attempts, response
//	    leave                       Uses: 0; the housekeeper may call Forget later
//
// internal/core has the Directory.

import (
	"bytes"
	"math"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/reason"
)

// A Directory finds the service of a name that a request's path contains. It is safe for
// concurrent use by tasks of all workers.
type Directory interface {
	// Enter returns the service of that name and counts the caller in its Uses, which the
	// caller must Leave; or it says why there is none. now is the current instant. Enter does
	// not retain name and does not wait for the service to be ready. For a service that is
	// known already it neither locks nor allocates.
	Enter(name []byte, now time.Duration) (*Service, *Error)
}

// Errors of a Directory that has no service of a name, and of a service without endpoints.
var (
	ErrNoEndpoint      = &Error{Status: 503, Reason: reason.NoEndpoint, Side: ByEndpoint}
	ErrStopping        = &Error{Status: 503, Reason: reason.Stopping, Side: BySelf}
	ErrUnknownService  = &Error{Status: 404, Reason: reason.UnknownService, Side: ByClient}
	ErrTooManyServices = &Error{Status: 503, Reason: reason.TooManyServices, Side: BySelf}
)

// Uses counts the exchanges that use a service, so that the service can be forgotten when there
// were none for a while. The zero value counts none, and its last use was at instant 0. All
// methods may be called by any goroutine; they neither lock nor wait.
type Uses struct {
	n    atomic.Int64 // exchanges; far below zero: forgotten
	last atomic.Int64 // instant of the latest Enter, at most useGrain too early
}

const (
	// useGrain is the precision of Uses.last, so that most exchanges need not write it.
	useGrain = int64(100 * time.Millisecond)
	// forgotten is further below zero than there can be exchanges above it.
	forgotten = math.MinInt64 / 2
)

// Enter counts an exchange that begins at the instant now; false: the service was forgotten,
// and the caller must look for it anew.
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

// Leave ends the use that a successful Enter began.
func (u *Uses) Leave() { u.n.Add(-1) }

// Last is the instant of the latest Enter.
func (u *Uses) Last() time.Duration { return time.Duration(u.last.Load()) }

// Idle reports whether no exchange uses the service at this moment.
func (u *Uses) Idle() bool { return u.n.Load() == 0 }

// Forget reports whether no exchange uses the service. If so every later Enter fails.
func (u *Uses) Forget() bool { return u.n.CompareAndSwap(0, forgotten) }

// enter sets x.service: that of the route, or the one that the path names. leave must follow,
// also after an error.
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

// leave ends the use of the service that enter has found, if any.
func (x *Exchange) leave() {
	if s := x.service; s != nil && s.Uses != nil {
		s.Uses.Leave()
	}
}

// segment is the n-th segment of a path in normal form, from 0; empty if there is none. It is a
// part of path. Of /svc/users/7 segment 1 is users, and segment 3 is empty.
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

// unavailable is the error of a service that has no endpoint for the first attempt: 404 if the
// path named the service and its registry, which works, has never named an endpoint; else 503.
func (x *Exchange) unavailable() *Error {
	if x.route.Directory != nil && x.service.Settled() && !x.service.Known() && !x.service.Source().Stale {
		return ErrUnknownService
	}
	return ErrNoEndpoint
}
