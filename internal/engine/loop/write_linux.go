package loop

import (
	"os"
	"syscall"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// How a stream is written. A write is tried without asking whether there is room, since
// there mostly is. For example, of 1 MiB to a peer that reads slowly:
//
//	send 256 KiB            the kernel takes all
//	send 256 KiB            the kernel takes 100 KiB
//	send the other 156 KiB  EAGAIN: the stream is full, and asks for EPOLLOUT from now on
//	                        the task is parked
//	event OUT               not full; the task is woken and goes on
//
// One task at a time writes a stream; another one may read it meanwhile.

// writeMost bounds what is given to the kernel at once: copying takes time, too, in which
// no other task of the loop runs.
const writeMost = 256 << 10

// Write parks the calling task while the kernel takes no more. If it fails, the first
// written bytes of p have been sent. An empty p sends nothing and reports only what an
// Interrupt, a Close or the deadline would.
func (s *stream) Write(p []byte) (written int, err error) {
	l := s.loop
	for {
		l.Spend()
		switch {
		case s.why != nil:
			return written, s.why
		case s.writeBy != 0 && s.writeBy <= l.Instant():
			return written, engine.ErrTimeout
		case written == len(p):
			return written, nil
		}
		if s.flags&full != 0 {
			s.awaitRoom()
			continue
		}
		n, errno := send(s.fd, p[written:min(len(p), written+writeMost)])
		switch errno {
		case 0:
			if written += n; written == len(p) {
				return written, nil
			}
		case unix.EAGAIN:
			if err := s.askOut(); err != nil {
				return written, err
			}
		case unix.EINTR:
		default:
			return written, s.sendFailed("send", errno)
		}
	}
}

// sendFailed returns the error of a system call that writes. The kernel reports a reset
// once: if a write gets it, the next read finds what looks like the peer's end. The stream
// notes the reset, so that this read fails (see take).
func (s *stream) sendFailed(call string, errno syscall.Errno) error {
	if errno == unix.ECONNRESET {
		s.flags |= reset
	}
	return os.NewSyscallError(call, errno)
}

// awaitRoom parks the calling task until there may be room, the deadline has passed, or the
// stream was interrupted: the caller looks which.
func (s *stream) awaitRoom() {
	s.writer = s.loop.Current()
	s.arm(s.writeBy)
	s.loop.Park()
	s.writer = nil
}

// askOut notes that the kernel takes no more, and has it report when there is room again.
// The first time costs a system call; most streams never need it.
func (s *stream) askOut() error {
	s.flags |= full
	if s.flags&asksOut != 0 {
		return nil
	}
	err := s.loop.Change(int(s.fd), eventsInOut, s.slot)
	if err == nil {
		s.flags |= asksOut
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// LowWater has the kernel take no more while it holds n bytes that are unsent, so that what is
// written later can overtake what the caller has not written yet. It does nothing for sockets of
// a machine's own.
func (s *stream) LowWater(n int) {
	if s.kind == tcp {
		unix.SetsockoptInt(int(s.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
	}
}
