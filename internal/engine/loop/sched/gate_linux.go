package sched

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// turnMax is how long a loop keeps a processor from goroutines.
	turnMax = time.Millisecond
	// A loop whose waits are shorter than shortMax on average is busy until they are longer
	// than longMin.
	shortMax = 500 * time.Microsecond
	longMin  = time.Millisecond
	// Goroutines that had much to do are expected to have more, for crowdedMin. If they have
	// soon after that, it is twice as long, up to crowdedMax: a yield may take long by chance.
	crowdedMin = 4 * time.Millisecond
	crowdedMax = 100 * time.Millisecond
	// muchWork is how many times as long a yield takes then as the shortest ones do.
	muchWork = 10
	// waitMax is how long a loop waits that has no timer set.
	waitMax = time.Hour
)

// The gate is how a loop waits, and shares its processor with goroutines.
//
// A goroutine that waits in the kernel (epoll_wait) keeps its processor. If all processors
// are kept like that, Go looks at the sockets of other goroutines only every 10 ms.
// runtime.Gosched does not help: it returns before Go's poller is asked. So there are two
// ways to wait:
//
//   - An idle loop waits in Go's poller, as any goroutine that reads a socket does. Its epoll
//     instance is watched by a second one (outer), and that is a file that Go's poller
//     watches. This costs three system calls for a wait instead of one, and 5 µs for each
//     socket that is added to the inner instance. The gate is open then.
//   - A busy loop naps in the kernel, and the gate is closed: the outer instance does not
//     watch the inner one. Every turnMax it yields by a detour through Go's poller: it reads
//     an eventfd that it has just written to.
//
// Which of them is right follows from measurements: a loop is busy when its waits are short,
// and it does not nap while yields take so long that goroutines must have had much to do.
type gate struct {
	epoll int // the loop's
	outer int // another one, which Go's poller watches, and which watches the loop's if open
	open  bool
	file  *os.File        // outer
	raw   syscall.RawConn // file's
	until time.Time       // file's deadline; zero: none

	yieldFile *os.File // an eventfd that Go's poller watches
	yieldRaw  syscall.RawConn
	written   bool // to yieldFile, in the present yield

	passYield func(fd uintptr) bool // what yield gives to yieldRaw; made once
	look      func(fd uintptr) bool // what wait gives to raw

	busy  bool          // waits are short
	mean  time.Duration // of them, mostly of the latest
	least time.Duration // that a yield takes, nearly

	crowdedUntil time.Duration // until then goroutines are expected to have much to do
	crowdedFor   time.Duration // how long that was

	fault func(op int) error // of tests: the error of epoll_ctl; nil: none
}

// init makes the gate of a loop; look fetches events and reports whether there are any.
func (g *gate) init(epoll int, look func() bool) (err error) {
	g.epoll, g.outer = epoll, -1
	g.look = func(uintptr) bool { return look() }
	g.passYield = func(fd uintptr) bool {
		if g.written {
			return true
		}
		g.written = true
		one := wakeUp
		_, err := unix.Write(int(fd), one[:])
		return err != nil // nil: again when Go's poller has noticed; else it never would
	}
	eventfd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	if g.yieldFile, g.yieldRaw, err = watched(eventfd, "eventfd"); err != nil {
		return err
	}
	if g.outer, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		g.file, g.raw, err = watched(g.outer, "epoll")
	}
	if err != nil {
		g.close()
	}
	return err
}

// watched has Go's poller watch fd, or closes it.
func watched(fd int, name string) (f *os.File, raw syscall.RawConn, err error) {
	if err = unix.SetNonblock(fd, true); err != nil { // else os takes it for one that blocks
		closeFD(fd)
		return nil, nil, err
	}
	f = os.NewFile(uintptr(fd), name)
	if err = f.SetReadDeadline(time.Time{}); err == nil { // which only watched files have
		raw, err = f.SyscallConn()
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, raw, nil
}

func (g *gate) close() {
	g.yieldFile.Close() // which a nil *os.File takes
	g.file.Close()
}

// set opens or closes the gate, and reports whether it is so now: whether Go's poller sees
// the loop's events.
// The kernel may refuse to open: it has a limit for what is watched (ENOSPC) and memory runs
// out (ENOMEM). Then the gate stays closed, and waiting in Go's poller would miss events.
func (g *gate) set(open bool) bool {
	if g.open == open {
		return true
	}
	if open {
		g.open = g.control(unix.EPOLL_CTL_ADD) == nil
		return g.open
	}
	g.open = false
	// The thread that runs this loop has come from Go's poller, and no other thread may be
	// waiting there. This goroutine wakes one, if a processor is free, and since it has
	// nothing to do that thread ends up waiting in Go's poller.
	go func() {}()
	g.control(unix.EPOLL_CTL_DEL) // cannot fail: it is there
	return true
}

func (g *gate) control(op int) error {
	if g.fault != nil {
		if err := g.fault(op); err != nil {
			return err
		}
	}
	return unix.EpollCtl(g.outer, op, g.epoll, &unix.EpollEvent{Events: unix.EPOLLIN})
}

// wait lets goroutines run until there are events or it is that time; the gate is open. It
// may come back early.
func (g *gate) wait(until time.Time) {
	// An alarm that is too early costs a turn, setting it costs more: so it is left where it
	// is, unless it would be too late.
	if g.until.IsZero() || until.Before(g.until) {
		g.alarm(until)
	}
	if g.raw.Read(g.look) != nil {
		g.alarm(time.Time{})
	}
}

func (g *gate) alarm(at time.Time) {
	g.until = at
	g.file.SetReadDeadline(at)
}

// yield lets goroutines run, those included whose sockets turn out to be ready.
func (g *gate) yield() {
	g.written = false
	g.yieldRaw.Read(g.passYield)
}

// yield lets goroutines run. How long that takes shows whether they have much to do.
func (l *Loop) yield() {
	g := &l.gate
	began := l.tick()
	g.yield()
	l.yielded = l.tick()
	took := l.yielded - began
	if g.least == 0 || took < g.least {
		g.least = took
	}
	if took > muchWork*g.least {
		g.expect(l.yielded)
	}
	g.least += g.least/1024 + 1 // what was the shortest may have been chance
}

// expect notes that goroutines have much to do.
func (g *gate) expect(now time.Duration) {
	if now-g.crowdedUntil < 4*g.crowdedFor {
		g.crowdedFor = min(2*g.crowdedFor, crowdedMax)
	} else {
		g.crowdedFor = crowdedMin
	}
	g.crowdedUntil = now + g.crowdedFor
}

// sleep waits for events or, if timed, until then.
func (l *Loop) sleep(at time.Duration, timed bool) {
	if latest := l.now + waitMax; !timed || at > latest {
		at = latest
	}
	g := &l.gate
	busy := g.busy && l.now >= g.crowdedUntil
	if busy {
		g.set(false)
	}
	if busy || !g.set(true) { // cannot be opened: naps are short, and then it is tried again
		if l.now-l.yielded >= turnMax {
			l.yield()
		}
		l.slept(func() { l.poller.nap(at - l.now) })
		return
	}
	l.slept(func() { g.wait(l.group.epoch.Add(at)) })
	l.yielded = l.now
}

// slept waits, and takes note of how long that was.
func (l *Loop) slept(wait func()) {
	g, began := &l.gate, l.now
	l.clock.Store(0)
	l.measures.sleep(began)
	wait()
	l.measures.wake(l.tick())
	g.mean += (l.now - began - g.mean) / 8
	switch {
	case g.mean < shortMax:
		g.busy = true
	case g.mean > longMin:
		g.busy = false
	}
}
