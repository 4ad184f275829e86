package wire

import (
	"time"

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

// drainReads is how much of what has arrived Drain takes at once, in reads: a client that
// sends fast must not keep the others of its event loop waiting.
const drainReads = 16

// Drain reads over what has arrived on s, or waits for the next bytes. It reports whether
// there is more to come: false after the end of the stream, or any error.
func Drain(s engine.Stream) bool {
	home := readBuffers.Get().(*[]byte)
	defer recycle(home)
	for range drainReads {
		if _, err := s.Read(*home); err != nil {
			return false
		}
		if s.Quiet() {
			break
		}
	}
	return true
}

// Linger reads over what comes on s, whose sending side is closed, within the bounds. The
// calling task waits. It does not close s.
func Linger(rt engine.Runtime, s engine.Stream) {
	for by := rt.Now() + LingerTotal; rt.Now() < by; {
		s.SetReadDeadline(min(by, rt.Now()+LingerRead))
		if s.Await() != nil || !Drain(s) {
			return
		}
	}
}
