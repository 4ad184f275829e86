package downstream

import (
	"time"

	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/engine"
)

// A client that is answered while it is still sending, above all with a refusal, must get
// the answer: a connection that is closed with bytes unread is reset, and the reset takes
// away what the client has not read yet (RFC 9112 §9.6). So only the sending side is closed
// at first, and what comes is read over until the client ends its side, or for a while.

// Bounds of lingering, those of nginx.
const (
	LingerRead  = 5 * time.Second  // without a byte
	LingerTotal = 30 * time.Second // in all
)

// Linger reads over what comes on s, whose sending side is closed, within the bounds. The
// calling task waits. It does not close s.
func Linger(rt engine.Runtime, s engine.Stream) {
	for by := rt.Now() + LingerTotal; rt.Now() < by; {
		s.SetReadDeadline(min(by, rt.Now()+LingerRead))
		if s.Await() != nil || !buffer.Discard(s) {
			return
		}
	}
}
