package mux

// A stream as an engine.Stream: after an extended CONNECT (RFC 8441) both sides send bytes in DATA
// frames until one ends its side. END_STREAM is what FIN is elsewhere, RST_STREAM a reset.

import (
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
)

// A Tunnel is the engine.Stream of a stream whose heads have been exchanged. The stream is still to
// be closed by its owner, when the Tunnel is not used any more.
type Tunnel struct {
	s       *Stream
	readBy  time.Duration // guarded by the connection's lock, as writeBy
	writeBy time.Duration
}

var _ engine.Stream = (*Tunnel)(nil)

// Tunnel returns the stream as a tunnel.
func (s *Stream) Tunnel() *Tunnel { return &Tunnel{s: s} }

// Await returns when a byte, the end or an error can be read.
func (t *Tunnel) Await() error {
	t.s.c.lock.Lock()
	defer t.s.c.lock.Unlock()
	return t.await()
}

// await is Await with the lock held. A deadline that is set meanwhile counts: it wakes the reader.
func (t *Tunnel) await() error {
	s := t.s
	for {
		s.letGo()
		switch {
		case s.err != nil:
			return s.err
		case t.readBy != 0 && t.readBy <= s.rt.Now():
			return engine.ErrTimeout
		case s.held > 0 || s.readEnd:
			return nil
		}
		if err := s.wait(s.readable, t.readBy); err != nil && err != engine.ErrTimeout {
			return err
		}
	}
}

// Read reads what has come, and waits only if nothing has.
func (t *Tunnel) Read(p []byte) (int, error) {
	s := t.s
	s.c.lock.Lock()
	defer s.c.lock.Unlock()
	if len(p) == 0 {
		return 0, s.err
	}
	if err := t.await(); err != nil {
		return 0, err
	}
	if s.held == 0 {
		return 0, io.EOF
	}
	first := &s.pieces[0]
	n := copy(p, (*first.b)[first.r:first.w])
	s.given = n
	s.letGo()
	return n, nil
}

// Write sends p, waiting for the windows and the connection's turn.
func (t *Tunnel) Write(p []byte) (int, error) {
	t.s.c.lock.Lock()
	by := t.writeBy
	t.s.c.lock.Unlock()
	if err := t.s.Write(p, by); err != nil {
		return 0, err // how much was sent is of no use: the tunnel ends
	}
	return len(p), t.s.Flush()
}

// SetReadDeadline bounds the read under way and later ones; zero: nothing does.
func (t *Tunnel) SetReadDeadline(at time.Duration) {
	t.s.c.lock.Lock()
	t.readBy = at
	t.s.readable.Set()
	t.s.c.lock.Unlock()
}

// SetWriteDeadline bounds later writes, for each wait without progress.
func (t *Tunnel) SetWriteDeadline(at time.Duration) {
	t.s.c.lock.Lock()
	t.writeBy = at
	t.s.c.lock.Unlock()
}

// Quiet reports whether all that the peer has sent, its end included, was read.
func (t *Tunnel) Quiet() bool {
	t.s.c.lock.Lock()
	defer t.s.c.lock.Unlock()
	return t.s.err == nil && t.s.held == t.s.given && !t.s.readEnd
}

// Interrupt has waits fail with err, for good.
func (t *Tunnel) Interrupt(err error) { t.s.Interrupt(err) }

// CloseWrite ends our side.
func (t *Tunnel) CloseWrite() error { return t.s.End(nil) }

// Close ends both sides.
func (t *Tunnel) Close() error {
	err := t.s.End(nil)
	t.s.Interrupt(engine.ErrClosed)
	return err
}

// Abort ends the stream so that the peer sees it cut short.
func (t *Tunnel) Abort() { t.s.Reset(http2.Cancel) }
