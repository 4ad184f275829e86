package loop

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/poise-lb/poise/internal/admission"
	"golang.org/x/sys/unix"
)

const (
	// acceptMost bounds how many connections are accepted in a row.
	acceptMost = 64
	// acceptPause is how long a loop accepts nothing when there are no descriptors left.
	// Those that wait are accepted then, so it is short; nothing is lost by it.
	acceptPause = 10 * time.Millisecond
	// sayEvery bounds how often that is said.
	sayEvery = 5 * time.Second
)

// A Listener accepts connections for an Engine.
type Listener struct {
	engine *Engine
	origin net.Listener // closed with it: that of a unix socket has to remove its name
	kind   kind
	serve  Serve
	shares []*listener
	open   sync.WaitGroup // shares that still accept
	said   atomic.Int64   // when it was last said that accepting fails
	closed sync.Once
	err    error
}

// Serve accepts the connections of l, a *net.TCPListener or *net.UnixListener, and has
// serve called for each, as a task. It does not wait. All loops accept; one that has more
// connections than its share hands new ones to the emptiest. l belongs to the Listener:
// it is closed by Close.
func (e *Engine) Serve(l net.Listener, serve Serve) (*Listener, error) {
	c, ok := l.(syscall.Conn)
	a := &Listener{engine: e, origin: l, serve: serve}
	switch l.(type) {
	case *net.TCPListener:
	case *net.UnixListener:
		a.kind = local
	default:
		ok = false
	}
	if !ok {
		return nil, fmt.Errorf("loop: %T is neither a TCP nor a unix listener", l)
	}
	for _, to := range e.loops {
		fd, err := duplicate(c)
		if err != nil {
			a.Close()
			return nil, err
		}
		if a.kind == tcp {
			prepare(fd)
		}
		x := &listener{owner: a, loop: to, fd: fd, most: 1}
		x.timer.owner = x
		a.open.Add(1)
		a.shares = append(a.shares, x)
		failed := make(chan error, 1)
		if to.mail.post(letterFunc(func(*loop) { failed <- x.begin() })) {
			err = <-failed
		} else {
			closeFD(fd)
			a.open.Done()
			a.shares = a.shares[:len(a.shares)-1]
			err = net.ErrClosed
		}
		if err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

// Addr is where it listens.
func (a *Listener) Addr() net.Addr { return a.origin.Addr() }

// Close ends accepting. When it returns no further connection is accepted; those that
// were live on.
func (a *Listener) Close() error {
	a.closed.Do(func() {
		for _, x := range a.shares {
			x.loop.mail.post(letterFunc(func(*loop) { x.end() })) // a loop that has ended has done so
		}
		a.open.Wait()
		a.err = a.origin.Close()
	})
	return a.err
}

// A listener is one loop's share of a Listener: a descriptor of its own for the same
// queue of connections.
type listener struct {
	owner *Listener
	loop  *loop
	fd    int
	place uint32
	most  int   // accept so many in a row: less after the queue was found empty
	timer timer // ends a pause
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
	var serial uint32
	x.place, serial = x.loop.slots.take(x)
	err := x.loop.poller.add(x.fd, eventsAccept, x.place, serial)
	if err != nil {
		x.loop.slots.give(x.place)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// rest ends the events until arm.
func (x *listener) rest() {
	x.loop.poller.remove(x.fd)
	x.loop.slots.give(x.place)
}

func (x *listener) end() {
	if x.over {
		return
	}
	x.over = true
	if x.timer.place == 0 {
		x.rest()
	}
	x.loop.timers.remove(&x.timer)
	x.loop.held = slices.DeleteFunc(x.loop.held, func(o *listener) bool { return o == x })
	closeFD(x.fd)
	x.owner.open.Done()
}

// event accepts. What is left in the queue is told again: events of listeners come as
// long as there is something.
func (x *listener) event(uint32) {
	for range x.most {
		if !x.loop.engine.Admission.Enter() {
			x.crowded()
			return
		}
		fd, errno := x.accept()
		if errno != 0 {
			x.loop.engine.Admission.Leave(nil)
		}
		switch errno {
		case 0:
			x.hand(fd)
		case unix.EAGAIN:
			x.most = max(1, x.most/2)
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
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

// ownAddr is the address of the socket itself; the zero value if it has none.
func (l *loop) ownAddr(fd int) netip.AddrPort {
	l.nameSize = unix.SizeofSockaddrAny
	// The kernel writes to fields of l, which is on the heap.
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&l.name)), uintptr(unsafe.Pointer(&l.nameSize)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return addrPort(&l.name)
}

// pause stops accepting for a moment: an event that cannot be answered would come again
// and again.
func (x *listener) pause(why syscall.Errno) {
	x.rest()
	x.later(why)
}

// later asks again after a pause.
func (x *listener) later(why error) {
	x.loop.timers.set(&x.timer, x.loop.now+acceptPause)
	last := x.owner.said.Load()
	if now := int64(x.loop.now); (last == 0 || now-last > int64(sayEvery)) && x.owner.said.CompareAndSwap(last, now) {
		x.loop.engine.say(slog.LevelWarn, "accept failed, trying again", "address", x.owner.Addr().String(), "error", why.Error())
	}
}

// crowded stops accepting until a client of this loop has left, or for a pause: those of
// other loops leave as well. Who waits stays in the queue.
func (x *listener) crowded() {
	l := x.loop
	x.rest()
	l.timers.set(&x.timer, l.now+acceptPause)
	l.held = append(l.held, x)
	l.engine.Admission.MakeRoom()
}

// admitHeld has those listeners accept again that wait for a client to leave.
func (l *loop) admitHeld() {
	for _, x := range l.held {
		l.timers.set(&x.timer, l.now)
	}
	l.held = l.held[:0]
}

// forget takes a client that has left, or did not come, off the counts.
func (l *loop) forget(guest *admission.Guest) {
	l.clients.Add(-1)
	l.engine.Admission.Leave(guest)
}

// expire is the end of a pause. If the kernel has no room to watch the socket (ENOSPC,
// ENOMEM), a later time may be better: a share that gave up would be missing for good, and
// Serve would not notice.
func (x *listener) expire(time.Duration) {
	x.loop.held = slices.DeleteFunc(x.loop.held, func(o *listener) bool { return o == x })
	if err := x.arm(); err != nil {
		x.later(err)
	}
}

// hand gives a connection to the loop that shall have it.
func (x *listener) hand(fd int) {
	e := x.loop.engine
	var remote netip.AddrPort
	if x.owner.kind == tcp {
		remote = addrPort(&x.addr)
	}
	guest, welcome := e.Admission.Welcome(remote.Addr())
	if !welcome {
		e.Admission.Leave(nil)
		closeFD(fd)
		return
	}
	a := x.loop.arrival()
	a.fd, a.kind, a.remote, a.serve, a.guest = fd, x.owner.kind, remote, x.owner.serve, guest
	to := e.place(x.loop)
	to.clients.Add(1)
	if to == x.loop {
		a.open(to)
	} else if !to.mail.post(a) {
		to.forget(guest)
		closeFD(fd)
	}
}

// An arrival is a connection on its way to the loop that serves it, where it is counted
// already.
type arrival struct {
	fd     int
	kind   kind
	remote netip.AddrPort
	serve  Serve
	guest  *admission.Guest // nil: not counted by address
	stream *stream
	run    func() // made once
}

// arrivalsMax bounds the arrivals that are kept to be used again: as many as are accepted in
// a row.
const arrivalsMax = acceptMost

// arrival is one to be filled in: connections come by the thousand.
func (l *loop) arrival() *arrival {
	if n := len(l.arrivals); n > 0 {
		a := l.arrivals[n-1]
		l.arrivals = l.arrivals[:n-1]
		return a
	}
	return newArrival()
}

func newArrival() *arrival {
	a := &arrival{}
	a.run = a.arrive
	return a
}

func (a *arrival) open(l *loop) {
	s, err := l.register(a.fd, a.kind, eventsIn)
	if err != nil {
		closeFD(a.fd)
		l.forget(a.guest)
		a.guest = nil
		return
	}
	s.flags |= counted
	s.guest, a.guest = a.guest, nil
	a.stream = s
	l.start(a.run, nil, s)
}

func (a *arrival) arrive() {
	s, serve, remote := a.stream, a.serve, a.remote
	a.stream, a.serve, a.remote = nil, nil, netip.AddrPort{}
	if l := s.loop; len(l.arrivals) < arrivalsMax {
		l.arrivals = append(l.arrivals, a)
	}
	serve(s.loop, s, remote)
}

// addrPort reads an address as the kernel wrote it.
func addrPort(a *unix.RawSockaddrAny) netip.AddrPort {
	// The family says which of the kernel's structures it is; both fit into the largest.
	switch a.Addr.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), hostOrder(&p.Port))
	case unix.AF_INET6:
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(a))
		ip := netip.AddrFrom16(p.Addr).Unmap()
		if p.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(fmt.Sprint(p.Scope_id))
		}
		return netip.AddrPortFrom(ip, hostOrder(&p.Port))
	}
	return netip.AddrPort{}
}

// hostOrder reads a port, which is in the order of the network.
func hostOrder(port *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(port))
	return uint16(b[0])<<8 | uint16(b[1])
}
