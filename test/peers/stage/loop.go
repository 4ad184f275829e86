//go:build linux

package stage

import (
	"errors"
	"iter"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errOver ends a task whose turn is over.
var errOver = errors.New("the turn is over")

// A loop waits for descriptors and runs the tasks that wait for them. One goroutine has it.
type loop struct {
	epoll  int
	tasks  []*task // by descriptor
	fresh  []*task // have not run yet
	events [512]unix.EpollEvent
}

// A task is a coroutine with at most one descriptor. It runs on the loop, up to its next
// wait or its end.
type task struct {
	loop   *loop
	fd     int // -1: none
	wants  uint32
	likely bool // a read will find something: the last one filled its buffer
	over   bool // what it does from now on fails
	ended  bool
	next   func() (struct{}, bool)
	yield  func(struct{}) bool
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &loop{epoll: fd}, nil
}

// start has f run as a task, from the next turn of the loop on.
func (l *loop) start(f func(*task)) *task {
	t := &task{loop: l, fd: -1}
	t.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f(t)
		t.drop()
		t.ended = true
	})
	l.fresh = append(l.fresh, t)
	return t
}

// stop ends a task wherever it waits; it runs no further than to its next error.
func (l *loop) stop(t *task) {
	t.over = true
	for !t.ended {
		t.next()
	}
}

// run turns the loop until tick returns no more than now, which is asked before every
// wait: it says when the next wait has to end.
func (l *loop) run(tick func(now time.Time) time.Time) error {
	for {
		for len(l.fresh) > 0 {
			t := l.fresh[len(l.fresh)-1]
			l.fresh = l.fresh[:len(l.fresh)-1]
			t.next()
		}
		now := time.Now()
		until := tick(now)
		if !until.After(now) {
			return nil
		}
		if len(l.fresh) > 0 {
			continue
		}
		if err := l.wait(until.Sub(now)); err != nil {
			return err
		}
	}
}

// wait resumes the tasks whose descriptors are ready, or returns after timeout. The
// kernel is asked with nanoseconds: milliseconds are more than some requests take.
func (l *loop) wait(timeout time.Duration) error {
	limit := unix.NsecToTimespec(int64(timeout))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])),
		uintptr(len(l.events)), uintptr(unsafe.Pointer(&limit)), 0, 0) // both live until it returns
	if errno == unix.EINTR {
		return nil
	}
	if errno != 0 {
		return errno
	}
	for _, e := range l.events[:n] {
		// A task of this batch may have been ended, and its descriptor taken by another, by
		// one before it: that one then waits once more, for nothing is lost with
		// level-triggered events.
		if t := l.tasks[e.Fd]; t != nil && !t.ended {
			t.next()
		}
	}
	return nil
}

// take gives the task a descriptor, which must not block.
func (t *task) take(fd int, wants uint32) error {
	if err := unix.EpollCtl(t.loop.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: wants, Fd: int32(fd)}); err != nil {
		unix.Close(fd)
		return err
	}
	for len(t.loop.tasks) <= fd {
		t.loop.tasks = append(t.loop.tasks, nil)
	}
	t.loop.tasks[fd] = t
	t.fd, t.wants, t.likely = fd, wants, false
	return nil
}

// drop closes the descriptor, if there is one.
func (t *task) drop() {
	if t.fd >= 0 {
		t.loop.tasks[t.fd] = nil
		unix.Close(t.fd)
		t.fd = -1
	}
}

// await returns when the descriptor is ready, or when the task was resumed.
func (t *task) await(wants uint32) error {
	if t.over {
		return errOver
	}
	if t.wants != wants && t.fd >= 0 {
		if err := unix.EpollCtl(t.loop.epoll, unix.EPOLL_CTL_MOD, t.fd, &unix.EpollEvent{Events: wants, Fd: int32(t.fd)}); err != nil {
			return err
		}
		t.wants = wants
	}
	t.yield(struct{}{})
	if t.over {
		return errOver
	}
	return nil
}
