package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// How sockets are made: by connecting, or out of a descriptor that was accepted. A TCP
// connection takes these steps, the middle ones only if connect does not end at once:
//
//	socket, options, connect    EINPROGRESS
//	register for IN and OUT     the stream is full: nothing can be written
//	the task is parked
//	event OUT, or ERR           the task is woken
//	SO_ERROR                    says which: connected, or why not
//	getsockname                 the socket must not be connected to itself
//
// Whatever fails on the way, the descriptor is closed before dial returns.

// Keep-alive probes, as package net sets them: a peer that vanished without a word is
// noticed after some minutes, even where there is no deadline.
const (
	keepAliveSeconds = 15
	keepAliveProbes  = 9
)

// register makes fd, which does not block, a stream with the events that are asked for. If it
// fails, fd stays the caller's. When the engine is being closed the stream is interrupted
// already.
func (l *loop) register(fd int, k kind, events uint32) (*stream, error) {
	s := &stream{loop: l, fd: int32(fd), kind: k}
	if events&unix.EPOLLOUT != 0 {
		s.flags = asksOut
	}
	var err error
	if s.slot, err = l.Register(fd, events, s); err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	if l.Stopping() {
		s.why = engine.ErrStopping
	}
	return s, nil
}

// dial connects, without TLS. The calling task waits until the connection is established,
// until d.By, or for as long as the kernel tries.
func (l *loop) dial(d *engine.Dial) (*stream, error) {
	l.Spend()
	switch {
	case l.Stopping():
		return nil, engine.ErrStopping
	case d.By != 0 && d.By <= l.Instant():
		return nil, engine.ErrTimeout
	case d.Network == "unix":
		return l.dialUnix(d)
	case d.Network != "tcp":
		return nil, net.UnknownNetworkError(d.Network)
	}
	to, family, err := l.sockaddr(d.Address)
	if err != nil {
		return nil, err
	}
	// A kernel that picks the port it connects to as its own connects a socket with
	// itself. That is rare, and means that nothing listens there.
	for range 3 {
		s, err := l.dialTCP(to, family, d.By)
		if err != nil || !meetsItself(l.ownAddr(int(s.fd)), to) {
			return s, err
		}
		s.Close()
	}
	return nil, unix.ECONNREFUSED
}

// dialTCP connects to an address of a family; by is the deadline, zero: none.
func (l *loop) dialTCP(to unix.Sockaddr, family int, by time.Duration) (*stream, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	prepare(fd)
	err = unix.Connect(fd, to)
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		closeFD(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	s, regErr := l.register(fd, tcp, eventsInOut)
	if regErr != nil {
		closeFD(fd)
		return nil, regErr
	}
	if err == nil {
		return s, nil
	}
	if err := s.connected(by); err != nil {
		s.Abort()
		return nil, err
	}
	return s, nil
}

// connected waits for the end of connecting, which is an event like room to write.
func (s *stream) connected(by time.Duration) error {
	for s.flags |= full; s.flags&full != 0; {
		switch {
		case s.why != nil:
			return s.why
		case by != 0 && by <= s.loop.Instant():
			return engine.ErrTimeout
		}
		s.writeBy = by
		s.awaitRoom()
	}
	s.writeBy = 0
	if errno, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
		return os.NewSyscallError("getsockopt", err)
	} else if errno != 0 {
		return os.NewSyscallError("connect", syscall.Errno(errno))
	}
	return s.why
}

// The pauses between attempts to connect to a unix socket whose queue is full: it says
// EAGAIN, and no event says when to try again.
const (
	pauseMin = time.Millisecond
	pauseMax = 20 * time.Millisecond
)

// dialUnix connects to the unix socket of that name. connect ends at once, but for a queue
// that is full: then it is tried again until d.By.
func (l *loop) dialUnix(d *engine.Dial) (*stream, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: d.Address})
		if err == nil {
			break
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			closeFD(fd)
			return nil, os.NewSyscallError("connect", err)
		}
		until := l.Instant() + pause
		if d.By != 0 {
			until = min(until, d.By)
		}
		if err = l.Sleep(until); err == nil && d.By != 0 && d.By <= l.Instant() {
			err = engine.ErrTimeout
		}
		if err != nil {
			closeFD(fd)
			return nil, err
		}
	}
	s, err := l.register(fd, local, eventsIn)
	if err != nil {
		closeFD(fd)
	}
	return s, err
}

// dialError returns err with the address and what callers ask about: whether this machine is
// exhausted, nothing listens there, or the time is over.
func dialError(d *engine.Dial, err error) error {
	if engine.DialExhausted(d.Network, d.Address, err) {
		return fmt.Errorf("dial %s %s: %w: %w", d.Network, d.Address, engine.ErrExhausted, err)
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("dial %s %s: %w: %w", d.Network, d.Address, engine.ErrRefused, err)
	}
	if errors.Is(err, unix.ETIMEDOUT) {
		return fmt.Errorf("dial %s %s: %w: %w", d.Network, d.Address, engine.ErrTimeout, err)
	}
	return fmt.Errorf("dial %s %s: %w", d.Network, d.Address, err)
}

// sockaddr is address for the kernel. The name of a zone is looked up elsewhere.
func (l *loop) sockaddr(address string) (unix.Sockaddr, int, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, 0, err
	}
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, unix.AF_INET, nil
	}
	to := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		if n, err := strconv.Atoi(zone); err == nil {
			to.ZoneId = uint32(n)
		} else {
			var i *net.Interface
			if l.Do(func() { i, err = net.InterfaceByName(zone) }); err != nil {
				return nil, 0, err
			}
			to.ZoneId = uint32(i.Index)
		}
	}
	return to, unix.AF_INET6, nil
}

// meetsItself reports whether a socket that is connected to an address has that address
// too. The address that stands for none leads to this machine.
func meetsItself(own netip.AddrPort, to unix.Sockaddr) bool {
	var ip netip.Addr
	var port int
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		ip, port = netip.AddrFrom4(to.Addr), to.Port
	case *unix.SockaddrInet6:
		ip, port = netip.AddrFrom16(to.Addr), to.Port
	}
	return port == int(own.Port()) && (ip == own.Addr().WithZone("") || ip.IsUnspecified())
}

// prepare sets the options of a TCP socket; those it accepts inherit them. One that
// cannot be set is no reason not to connect.
func prepare(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSeconds)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveSeconds)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes)
}

// duplicate returns a descriptor of its own for what c stands for. The original is closed
// by its owner: the number behind it is known to the scheduler's own epoll.
func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}
