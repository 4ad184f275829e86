package virtual

import (
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// ErrReset is what a Stream says after its peer aborted, or closed with bytes unread.
// It wraps syscall.ECONNRESET, as the error of a socket would.
var ErrReset = fmt.Errorf("virtual: %w", syscall.ECONNRESET)

// A Stream is one end of an in-memory connection; it behaves like a TCP socket of
// Linux: bytes the peer sent before closing are read first, the first Write to a peer
// that closed succeeds and the next one fails, and an Abort loses what was not read.
type Stream struct {
	w             *World
	local, remote netip.AddrPort
	name          string
	peer          *Stream
	in            inbox
	coming        []arrival // on its way to in, in order

	readBy, writeBy    time.Duration
	readable, writable cond
	broken             error // of Interrupt
	closed             bool
	finSent            bool
	refused            bool // the peer answered with a reset: writing is over
	watched            []engine.Interrupter
	patient            bool // those watch for a reset, not for a FIN
}

// Local and Remote are the addresses of the two ends; the zero AddrPort for addresses
// that are none.
func (s *Stream) Local() netip.AddrPort { return s.local }

// Remote is the peer's Local.
func (s *Stream) Remote() netip.AddrPort { return s.remote }

// readError is why reading is over before looking at what arrived.
func (s *Stream) readError() error {
	switch {
	case s.closed:
		return engine.ErrClosed
	case s.broken != nil:
		return s.broken
	case s.readBy != 0 && s.readBy <= s.w.Now():
		// As net.Conn has it, an expired deadline fails a Read that need not wait.
		return engine.ErrTimeout
	}
	return nil
}

// Await returns nil also when the progress to be made is an end or a reset.
func (s *Stream) Await() error {
	for {
		if err := s.readError(); err != nil {
			return err
		}
		if len(s.in.unread) > 0 || s.in.ended() {
			return nil
		}
		s.w.wait(&s.readable, s.readBy, s.name+" read")
	}
}

// Read reads what arrived; see engine.Stream.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, s.readError()
	}
	if err := s.Await(); err != nil {
		return 0, err
	}
	switch {
	case len(s.in.unread) > 0:
		n := copy(p, s.in.unread)
		if s.in.unread = s.in.unread[n:]; len(s.in.unread) == 0 {
			s.in.unread = s.in.buffer[:0]
		}
		s.w.wake(&s.peer.writable)
		return n, nil
	case s.in.fin:
		return 0, io.EOF
	default:
		return 0, ErrReset
	}
}

// Write blocks while the peer does not read what was written before.
func (s *Stream) Write(p []byte) (int, error) {
	s.w.running()
	longest := max(s.w.SegmentMax, len(p)/piecesMax)
	for written := 0; ; {
		if written == len(p) && written > 0 {
			s.w.maybePreempt()
			return written, nil
		}
		if err := s.writeError(); err != nil || len(p) == 0 {
			return written, err
		}
		if s.peer.closed {
			s.refused = true // a socket learns of the reset after this Write
			written = len(p)
			continue
		}
		free := s.w.bufferBytes() - len(s.peer.in.unread) - s.peer.in.transit
		if n := min(free, len(p)-written); n > 0 {
			s.peer.carry(p[written:written+n], longest)
			written += n
			continue
		}
		s.w.wait(&s.writable, s.writeBy, s.name+" write")
	}
}

func (s *Stream) writeError() error {
	switch {
	case s.closed || s.finSent:
		return engine.ErrClosed
	case s.broken != nil:
		return s.broken
	case s.refused || s.in.cut || s.in.reset:
		return ErrReset
	case s.writeBy != 0 && s.writeBy <= s.w.Now():
		return engine.ErrTimeout
	}
	return nil
}

// SetReadDeadline also bounds a Read that is waiting now.
func (s *Stream) SetReadDeadline(at time.Duration) {
	s.readBy = at
	s.w.wake(&s.readable)
}

// SetWriteDeadline also bounds a Write that is waiting now.
func (s *Stream) SetWriteDeadline(at time.Duration) {
	s.writeBy = at
	s.w.wake(&s.writable)
}

// Quiet is false for good once the peer ended its side, or after Interrupt: a connection
// whose client left just after its response must not be used for the next one's.
func (s *Stream) Quiet() bool {
	return len(s.in.unread) == 0 && !s.in.ended() && !s.closed && s.broken == nil
}

// Interrupt keeps the first error it was given, and passes it on to what watches the
// stream.
func (s *Stream) Interrupt(err error) {
	if s.broken == nil {
		s.broken = err
		s.tell(err)
	}
	s.w.wake(&s.readable)
	s.w.wake(&s.writable)
}

// CloseWrite sends FIN behind what was written.
func (s *Stream) CloseWrite() error {
	if s.closed || s.finSent {
		return nil
	}
	s.finSent = true
	s.peer.send(func(in *inbox) { in.fin = true })
	return nil
}

// Close sends FIN, or a reset behind what was written if there are bytes it did not
// read: their sender has to learn that they will not be.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	if len(s.in.unread) > 0 {
		s.peer.send(func(in *inbox) { in.cut = true })
	} else {
		s.CloseWrite()
	}
	s.leave()
	return nil
}

// Abort resets the connection; what the peer has not read is lost to it.
func (s *Stream) Abort() {
	if s.closed {
		return
	}
	s.leave()
	p := s.peer
	p.in.lost, p.in.transit = true, 0
	s.w.soon(func() {
		p.in.reset, p.in.unread = true, nil
		p.noticed()
	})
}

// leave is what Close and Abort do at this end.
func (s *Stream) leave() {
	s.closed = true
	s.in.unread = nil
	s.watched = nil
	delete(s.w.streams, s)
	s.w.wake(&s.readable)
	s.w.wake(&s.writable)
	s.w.wake(&s.peer.writable)
}
