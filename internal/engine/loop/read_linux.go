package loop

import (
	"io"
	"os"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
	"golang.org/x/sys/unix"
)

// How a stream is read. epoll reports an event once (EPOLLET), so a stream remembers what
// events have said: after "readable" a task may read until the kernel has no more, and only
// then waits. For example:
//
//	event IN                readable; the task that waits in Await is woken
//	Read of 4096 gives 4096 still readable: there may be more, and no system call asks
//	Read of 4096 gives 100  the socket is empty: not readable, the next Read waits at once
//	event IN|RDHUP          readable and sticky: data and FIN came as one event, no other
//	                        will come, so a short read does not mean that the socket is empty
//
// One task at a time reads a stream; another one may write it meanwhile.

// errWait is the error of a read that finds nothing. It is temporary since crypto/tls, which
// reads by take, then keeps the part of a record that it has and can be asked again.
var errWait error = waitError{}

type waitError struct{}

func (waitError) Error() string   { return "nothing has come yet" }
func (waitError) Timeout() bool   { return false }
func (waitError) Temporary() bool { return true }

// Await parks the calling task until Read would make progress: there are bytes, the end or
// an error to read. It fails, without a system call, after an Interrupt or Close and when
// the read deadline has passed, even if bytes have come.
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
// connection that waits for long does not even hold a coroutine. The caller does not read
// the stream until then. f is called in any case: after a deadline, an Interrupt or a Close
// it runs and finds that Read fails.
func (s *stream) WhenReady(f func()) {
	s.ready = f
	if s.why != nil || s.flags&readable != 0 || s.readBy != 0 && s.readBy <= s.loop.Instant() {
		s.wakeReader()
		return
	}
	s.arm(s.readBy)
}

// Read reads what has come, and waits only if nothing has. An empty p reads nothing and
// reports only an Interrupt or Close. At the peer's FIN the error is io.EOF, again and again.
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

// take reads into p, which is not empty, and never waits: if nothing has come its error is
// errWait.
//
// A short read says that nothing is left, unless the peer's FIN came with the bytes: the
// event of that FIN has been seen and no other will come. It says nothing for unix sockets:
// they may read short while there is more.
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

// Quiet reports whether there is nothing to read, neither bytes nor an end: the connection
// can be used for another request. It goes by the events of this turn, and asks
// the kernel only if they do not say enough: after a read that took exactly what there was,
// or was in this turn itself.
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

// doubt marks the stream as readable if no events were fetched since the last read: what has
// come meanwhile is not known, so the next read asks the kernel.
func (s *stream) doubt() {
	if s.turn == s.loop.Turn() {
		s.flags |= readable
	}
}
