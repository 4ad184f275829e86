package loop

import (
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"github.com/poise-lb/poise/internal/invariants"
	"golang.org/x/sys/unix"
)

// A stream remembers what events have said, since epoll reports them once (EPOLLET): after
// "readable" a task may read until the kernel has no more, and only then waits. For example:
//
//	event IN            -> readable; the task that waits in Await is woken
//	Read of 4096 gives 4096 -> still readable, for there may be more: no system call says so
//	Read of 4096 gives 100  -> the socket is empty: not readable, the next Read waits at once
//	event IN|RDHUP      -> readable and sticky: data and FIN came as one event, no other will
//	                       come, so a short read does not mean that the socket is empty
//
// Writes are tried without asking. A stream asks for EPOLLOUT when the kernel first refuses.

// writeMost bounds what is given to the kernel at once: copying is time too.
const writeMost = 256 << 10

// kind is what a descriptor is.
type kind uint8

const (
	tcp kind = iota
	local
)

// flags are what the kernel and its tasks have said about a stream.
type flags uint16

const (
	readable flags = 1 << iota // a read would make progress, as far as is known
	full                       // a write would not
	asksOut                    // EPOLLOUT is asked for
	sticky                     // the peer ended, or urgent data came: after a short read there may be more
	gone                       // the peer ended its side: FIN, reset or an error
	closed
	counted // in loop.clients
	reset   // a write failed since the peer reset the connection: reads get no such error any more
	broken  // the connection has failed: a reset or an error, and no mere FIN
	patient // up waits for broken, not for gone
)

// A stream is a non-blocking descriptor. It belongs to the tasks of its loop.
type stream struct {
	loop  *loop
	fd    int32
	slot  sched.Slot // among the loop's sources
	kind  kind
	flags flags
	turn  uint32 // of the loop, when a read last found that nothing is left

	why            error       // set by Interrupt and Close: nothing is read or written any more
	reader, writer *sched.Task // that wait
	readBy         time.Duration
	writeBy        time.Duration
	timer          sched.Timer        // armed for a deadline, or sooner: see arm
	up             engine.Interrupter // watches this stream; nil: none
	ready          func()             // of WhenReady
	above          pusher             // TLS over this stream; nil: it is plain

	guest *admission.Guest // of a client, where connections are counted by address
}

// A pusher has bytes to send that no task waits for.
type pusher interface{ push() }

// Event notes what happened and wakes the tasks that wait for it.
func (s *stream) Event(events uint32) {
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.flags |= sticky | gone
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			s.flags |= broken
		}
		if up := s.up; up != nil && (s.flags&patient == 0 || s.flags&broken != 0) {
			s.up = nil
			up.Interrupt(engine.ErrClientGone)
		}
	}
	if events&unix.EPOLLPRI != 0 {
		s.flags |= sticky
	}
	if events&(unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.flags |= readable
		s.wakeReader()
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.flags &^= full
		s.loop.Wake(s.writer)
		if s.writer == nil && s.above != nil {
			s.above.push()
		}
	}
}

// wakeReader wakes the task that waits to read, or starts the one that was put off.
func (s *stream) wakeReader() {
	s.loop.Wake(s.reader)
	if f := s.ready; f != nil {
		s.ready = nil
		s.loop.StartFor(s, f)
	}
}

// arm sets the timer so that a wait until at ends in time; zero: it need not.
func (s *stream) arm(at time.Duration) {
	if at != 0 {
		s.timer.Owner = s
		s.loop.SetTimerBy(&s.timer, at)
	}
}

// Expire wakes the tasks whose deadline has come and arms the timer for the others.
func (s *stream) Expire(now time.Duration) {
	if s.readBy != 0 && (s.reader != nil || s.ready != nil) {
		if s.readBy <= now {
			s.wakeReader()
		} else {
			s.arm(s.readBy)
		}
	}
	if s.writeBy != 0 && s.writer != nil {
		if s.writeBy <= now {
			s.loop.Wake(s.writer)
		} else {
			s.arm(s.writeBy)
		}
	}
}

// Await parks the calling task until Read would make progress.
func (s *stream) Await() error {
	l := s.loop
	l.Spend()
	for {
		switch {
		case s.why != nil:
			return s.why
		case s.readBy != 0 && s.readBy <= l.Instant():
			return engine.ErrTimeout
		case s.flags&readable != 0:
			return nil
		}
		if invariants.Enabled && (s.reader != nil || s.ready != nil) {
			panic("loop: two tasks read one stream")
		}
		s.reader = l.Current()
		s.arm(s.readBy)
		l.Park()
		s.reader = nil
	}
}

// WhenReady returns at once, and starts f as a task when Await would return, so that a
// connection that waits for long does not even hold a coroutine. Until then the stream is not
// read. f is called in any case: after a deadline, an Interrupt or a Close a Read fails.
func (s *stream) WhenReady(f func()) {
	s.ready = f
	if s.why != nil || s.flags&readable != 0 || s.readBy != 0 && s.readBy <= s.loop.Instant() {
		s.wakeReader()
		return
	}
	s.arm(s.readBy)
}

// Read reads without having waited if it can. That a read came back short says that
// nothing is left, unless the peer's FIN came with the bytes: that event has been seen,
// and there is no other to come. Sockets of a machine's own may read short whenever they
// like.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, s.why
	}
	for {
		if err := s.Await(); err != nil {
			return 0, err
		}
		if n, err := s.take(p); err != errWait {
			return n, err
		}
	}
}

// take reads what has come, and never waits: if nothing has, its error is errWait.
func (s *stream) take(p []byte) (int, error) {
	for s.flags&readable != 0 {
		n, errno := receive(s.fd, p, 0)
		switch {
		case errno == 0 && n == 0 && s.flags&reset != 0:
			s.fail(os.NewSyscallError("recv", unix.ECONNRESET))
			return 0, s.why
		case errno == 0 && n == 0:
			return 0, io.EOF
		case errno == 0:
			if n < len(p) && s.flags&sticky == 0 && s.kind == tcp {
				s.flags &^= readable
				s.turn = s.loop.Turn()
			}
			return n, nil
		case errno == unix.EAGAIN:
			s.flags &^= readable
		case errno != unix.EINTR:
			s.flags |= gone | broken
			s.fail(os.NewSyscallError("recv", errno))
			return 0, s.why
		}
	}
	return 0, errWait
}

// fail keeps an error that the kernel reports only once.
func (s *stream) fail(err error) {
	if s.why == nil {
		s.why = err
	}
}

// Write parks the calling task while the kernel takes no more.
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

// sendFailed is the error of a system call that writes. The kernel reports a reset once:
// what a read finds then looks like the peer's end, and must not be taken for it.
func (s *stream) sendFailed(call string, errno syscall.Errno) error {
	if errno == unix.ECONNRESET {
		s.flags |= reset
	}
	return os.NewSyscallError(call, errno)
}

func (s *stream) awaitRoom() {
	s.writer = s.loop.Current()
	s.arm(s.writeBy)
	s.loop.Park()
	s.writer = nil
}

// askOut has the kernel say when there is room again. Most streams never need it.
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

// SetReadDeadline also bounds a wait under way.
func (s *stream) SetReadDeadline(at time.Duration) {
	s.readBy = at
	if s.reader != nil || s.ready != nil {
		s.arm(at)
	}
}

// SetWriteDeadline also bounds a wait under way.
func (s *stream) SetWriteDeadline(at time.Duration) {
	s.writeBy = at
	if s.writer != nil {
		s.arm(at)
	}
}

// Quiet goes by the events of this turn, and asks the kernel only after a read that took
// exactly what there was, or was in this turn itself.
func (s *stream) Quiet() bool {
	if s.why != nil || s.flags&gone != 0 {
		return false
	}
	s.doubt()
	if s.flags&readable == 0 {
		return true
	}
	var b [1]byte
	if _, errno := receive(s.fd, b[:], unix.MSG_PEEK); errno != unix.EAGAIN {
		return false
	}
	s.flags &^= readable
	return true
}

// doubt has the next look ask the kernel if no events were fetched since the last read:
// what has come meanwhile is not known.
func (s *stream) doubt() {
	if s.turn == s.loop.Turn() {
		s.flags |= readable
	}
}

// Interrupt keeps the first error it was given.
func (s *stream) Interrupt(err error) {
	if s.why != nil {
		return
	}
	s.why = err
	s.wakeAll()
	if up := s.up; up != nil {
		s.up = nil
		up.Interrupt(err)
	}
}

func (s *stream) wakeAll() {
	s.wakeReader()
	s.loop.Wake(s.writer)
}

// receive and send never wait, whatever the descriptor's flags say, and so need not tell
// Go's scheduler. The pointers are used during the call only.

func receive(fd int32, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags|unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func send(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}
