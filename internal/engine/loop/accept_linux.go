package loop

import (
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

// Accepting, on one loop. A share accepts what there is, at most acceptMost at once; it
// pauses when descriptors or the limit of connections run out, and goes on when a client
// leaves or after acceptPause.

const (
	// acceptMost bounds how many connections are accepted in a row.
	acceptMost = 64
	// acceptPause is how long a loop accepts nothing when there are no descriptors left.
	// Those that wait are accepted then, so it is short; nothing is lost by it.
	acceptPause = 10 * time.Millisecond
	// warnEvery bounds how often that is logged.
	warnEvery = 5 * time.Second
)

// A listener is one loop's share of a Listener: a descriptor of its own for the same
// queue of connections.
type listener struct {
	owner *Listener
	loop  *loop
	fd    int
	slot  sched.Slot
	most  int         // accept so many in a row: less after the queue was found empty
	timer sched.Timer // ends a pause
	over  bool
	addr  unix.RawSockaddrAny
	size  uint32
}

// begin asks for connections for the first time. If that fails, the share has ended.
func (x *listener) begin() error {
	err := x.arm()
	if err != nil {
		x.over = true
		closeFD(x.fd)
		x.owner.open.Done()
	}
	return err
}

// arm asks for connections, at the start and after a pause. EPOLLEXCLUSIVE wakes one loop
// for each, rather than all; it cannot be combined with a later change.
func (x *listener) arm() error {
	var err error
	x.slot, err = x.loop.Register(x.fd, eventsAccept, x)
	return os.NewSyscallError("epoll_ctl", err)
}

// disarm ends the events until arm.
func (x *listener) disarm() {
	x.loop.Ignore(x.fd)
	x.loop.Forget(x.slot)
}

// Stop implements sched.Source.
func (x *listener) Stop() { x.end() }

// End implements sched.Source. Stop has come before.
func (x *listener) End() {}

// end closes the share. It is idempotent.
func (x *listener) end() {
	if x.over {
		return
	}
	x.over = true
	if !x.timer.Set() {
		x.disarm()
	}
	x.loop.StopTimer(&x.timer)
	x.loop.crowded = slices.DeleteFunc(x.loop.crowded, func(o *listener) bool { return o == x })
	closeFD(x.fd)
	x.owner.open.Done()
}

// Event accepts. What is left in the queue is reported again: events of listeners come as
// long as there is something.
func (x *listener) Event(uint32) {
	admit := x.owner.admit
	for range x.most {
		if !admit.Enter() {
			x.full()
			return
		}
		fd, errno := x.accept()
		if errno != 0 {
			admit.Cancel()
		}
		switch errno {
		case 0:
			x.arrived(fd)
		case unix.EAGAIN:
			x.most = max(1, x.most/2)
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			admit.Exhausted()
			x.pause(errno)
			return
		case unix.EINVAL, unix.EBADF, unix.ENOTSOCK: // shut down below us
			x.end()
			return
		default: // a connection that ended before it was accepted: there may be others
		}
	}
	x.most = min(2*x.most, acceptMost)
}

func (x *listener) accept() (int, syscall.Errno) {
	x.size = unix.SizeofSockaddrAny
	// The kernel writes to fields of x, which is on the heap.
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(x.fd), uintptr(unsafe.Pointer(&x.addr)), uintptr(unsafe.Pointer(&x.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(fd), errno
}

// pause stops accepting for a moment: an event that cannot be answered would come again
// and again.
func (x *listener) pause(why syscall.Errno) {
	x.disarm()
	x.later(why)
}

// later asks again after a pause.
func (x *listener) later(why error) {
	x.loop.SetTimer(&x.timer, x.loop.Instant()+acceptPause)
	last := x.owner.warned.Load()
	if now := int64(x.loop.Instant()); (last == 0 || now-last > int64(warnEvery)) && x.owner.warned.CompareAndSwap(last, now) {
		x.loop.Log(slog.LevelWarn, "accept failed, trying again", "address", x.owner.Addr().String(), "error", why.Error())
	}
}

// full stops accepting until a client of this loop has left, or for a pause: those of other
// loops leave as well. Connections that wait stay in the kernel's queue.
func (x *listener) full() {
	l := x.loop
	x.disarm()
	l.SetTimer(&x.timer, l.Instant()+acceptPause)
	l.crowded = append(l.crowded, x)
	x.owner.admit.MakeRoom()
}

// admitCrowded has those listeners accept again that wait for a client to leave.
func (l *loop) admitCrowded() {
	for _, x := range l.crowded {
		l.SetTimer(&x.timer, l.Instant())
	}
	l.crowded = l.crowded[:0]
}

// Expire is the end of a pause. If the kernel has no room to watch the socket (ENOSPC,
// ENOMEM), a later time may be better: a share that gave up would be missing for good, and
// Serve would not notice.
func (x *listener) Expire(time.Duration) {
	x.loop.crowded = slices.DeleteFunc(x.loop.crowded, func(o *listener) bool { return o == x })
	if err := x.arm(); err != nil {
		x.later(err)
	}
}
