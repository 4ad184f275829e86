package loop

import (
	"os"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// How streams end, and what happens when a client leaves that a task watches.

// CloseWrite sends FIN; the read side stays open.
func (s *stream) CloseWrite() error {
	if s.flags&closed != 0 {
		return engine.ErrClosed
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(int(s.fd), unix.SHUT_WR))
}

// Close wakes what waits for the stream with engine.ErrClosed. The descriptor is closed before
// the next turn: events of this one may still name it. To close again does nothing.
func (s *stream) Close() error {
	if s.flags&closed == 0 {
		s.leave()
		s.loop.CloseLater(int(s.fd))
	}
	return nil
}

// leave ends the stream, and leaves the descriptor to the caller.
func (s *stream) leave() {
	s.flags |= closed
	s.fail(engine.ErrClosed)
	l := s.loop
	l.StopTimer(&s.timer)
	l.Forget(s.slot)
	if s.flags&counted != 0 {
		l.forget(s.guest)
		l.admitCrowded()
	}
	s.up = nil
	s.wakeAll()
}

// Stop implements sched.Source.
func (s *stream) Stop() { s.Interrupt(engine.ErrStopping) }

// End implements sched.Source: the loop has stopped, and no task has closed the stream.
func (s *stream) End() { s.Close() }

// handOver makes another stream of the connection of s, and closes s, which its owner may
// go on to use and to close.
func (s *stream) handOver() *stream {
	next := &stream{loop: s.loop, fd: s.fd, slot: s.slot, kind: s.kind, flags: s.flags, guest: s.guest}
	s.loop.Replace(s.slot, next)
	s.loop.StopTimer(&s.timer)
	s.flags = s.flags&^counted | closed
	s.fail(engine.ErrClosed)
	s.up = nil
	s.wakeAll()
	return next
}

// Abort resets a TCP connection; sockets of a machine's own cannot be.
func (s *stream) Abort() {
	if s.flags&closed == 0 && s.kind == tcp {
		unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	s.Close()
}

// watch has up interrupted, at once if one of the flags left says so already.
func (s *stream) watch(up engine.Interrupter, left flags) {
	switch {
	case s.flags&left != 0: // also where a read got the error first
		up.Interrupt(engine.ErrClientGone)
	case s.why != nil:
		up.Interrupt(s.why)
	default:
		s.up = up
	}
}
