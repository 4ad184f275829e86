package loop

import (
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

// A stream is what the kernel and tasks have said about one socket: events set flags and
// wake tasks, tasks look at the flags and park. Here is that state, and what changes it from
// outside of a read or write: events, deadlines, interruptions. read_linux.go and
// write_linux.go have the two directions, leave_linux.go the end.
//
// A wait is a loop: it looks at the flags, notes the calling task in reader or writer, and
// parks. Whatever may end the wait wakes that task, which looks again:
//
//	an event of the socket          Event
//	a deadline                      Expire, by timer
//	another task, or a watch        Interrupt, with the error that the wait returns
//	the end of the engine           Stop, which is an Interrupt with engine.ErrStopping

// kind is what a descriptor is.
type kind uint8

const (
	tcp   kind = iota
	local      // a unix socket
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

// A stream is a non-blocking descriptor. It belongs to the tasks of its loop, which alone may
// call its methods. Instants are those of the loop's clock; a deadline of zero is none.
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

	guest *admission.Guest // what a client's connection counts as; nil: not counted
}

// A pusher has bytes to send that no task waits for. push is called when there is room. It is
// all that a stream knows of TLS.
type pusher interface{ push() }

// Event implements sched.Source: it notes what happened and wakes the tasks that wait for
// it. Errors are not read here: the next read or write gets them from the kernel.
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

// arm sets the timer so that a wait until at ends in time; zero: it need not. A timer that is
// set for sooner is left, and Expire moves it on: most deadlines never come.
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

// SetReadDeadline bounds reads from now on, and one that waits already; zero: no bound.
func (s *stream) SetReadDeadline(at time.Duration) {
	s.readBy = at
	if s.reader != nil || s.ready != nil {
		s.arm(at)
	}
}

// SetWriteDeadline bounds writes from now on, and one that waits already; zero: no bound.
func (s *stream) SetWriteDeadline(at time.Duration) {
	s.writeBy = at
	if s.writer != nil {
		s.arm(at)
	}
}

// fail keeps an error that the kernel reports only once. An earlier one stays.
func (s *stream) fail(err error) {
	if s.why == nil {
		s.why = err
	}
}

// Interrupt makes what waits for the stream, and all reads and writes to come, fail with
// err; only the first call does something. It also interrupts the stream that watches this
// one. The socket stays open until Close.
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

// wakeAll wakes the tasks of both directions.
func (s *stream) wakeAll() {
	s.wakeReader()
	s.loop.Wake(s.writer)
}
