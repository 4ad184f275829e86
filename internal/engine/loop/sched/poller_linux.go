package sched

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The poller fetches events from an epoll instance. Descriptors are registered with a
// Source, and every event carries the slot of its source: see slots_linux.go.

const (
	opAdd    = unix.EPOLL_CTL_ADD
	opChange = unix.EPOLL_CTL_MOD

	eventsWake = unix.EPOLLIN | unix.EPOLLET
)

// batch is how many events are fetched at once.
const batch = 512

// A poller is an epoll instance and the events fetched last.
type poller struct {
	epoll  int
	wakeFD int // an eventfd whose event ends a wait
	events [batch]unix.EpollEvent
	n      int
	fault  func(op, fd int) error // of tests: the error of epoll_ctl; nil: none
}

func (p *poller) open() (err error) {
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if p.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		closeFD(p.epoll)
	}
	return err
}

func (p *poller) close() {
	closeFD(p.epoll)
	closeFD(p.wakeFD)
}

// control adds fd or changes what it is watched for.
func (p *poller) control(op, fd int, events uint32, slot Slot) error {
	if p.fault != nil {
		if err := p.fault(op, fd); err != nil {
			return err
		}
	}
	return unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(slot.place), Pad: int32(slot.serial)})
}

// poll fetches events that are there, and reports whether there are any. It cannot wait, so
// Go's scheduler need not know.
func (p *poller) poll() bool {
	// The kernel writes to the array, which is part of a loop and does not move.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])), batch, 0, 0, 0)
	p.n = int(n)
	if e != 0 {
		p.n = 0
	}
	return p.n > 0
}

// napMax is how long a nap lasts at most. A shorter limit would come before the kernel's
// next tick, and have it set the clock's alarm for every nap.
const napMax = 10 * time.Millisecond

// nap waits for events, for that long at most, and keeps the processor.
func (p *poller) nap(most time.Duration) {
	ms := (min(most, napMax) + time.Millisecond - 1) / time.Millisecond // rather too long than in vain
	n, err := unix.EpollWait(p.epoll, p.events[:], int(ms))
	p.n = n
	if err != nil { // EINTR
		p.n = 0
	}
}

// happened is the number of events fetched.
func (p *poller) happened() int { return p.n }

// Register has the events of fd, which are those of epoll_ctl, reported to from.
func (l *Loop) Register(fd int, events uint32, from Source) (Slot, error) {
	slot := l.slots.take(from)
	err := l.poller.control(opAdd, fd, events, slot)
	if err != nil {
		l.slots.give(slot)
	}
	return slot, err
}

// Change replaces the events that are reported of fd.
func (l *Loop) Change(fd int, events uint32, slot Slot) error {
	return l.poller.control(opChange, fd, events, slot)
}

// Forget frees the slot of a source. The descriptor is to be closed, or ignored.
func (l *Loop) Forget(slot Slot) { l.slots.give(slot) }

// Replace has the events of slot reported to another source.
func (l *Loop) Replace(slot Slot, from Source) { l.slots.at(slot.place).source = from }

// Ignore ends the events of fd, which stays open.
func (l *Loop) Ignore(fd int) { unix.EpollCtl(l.poller.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// SetFault has f say which calls of epoll_ctl fail, for tests of what a kernel that lacks
// memory does. f is called with EPOLL_CTL_ADD or EPOLL_CTL_MOD; nil: none fails.
func (l *Loop) SetFault(f func(op, fd int) error) { l.poller.fault = f }

// closeFD closes fd. On Linux the descriptor is gone whatever close says.
func closeFD(fd int) { unix.Close(fd) }
