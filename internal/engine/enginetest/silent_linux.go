package enginetest

import (
	"fmt"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// full is an address whose queue of connections is full: TCP drops what comes next, and a
// unix socket says EAGAIN.
func (n *Sockets) full() (*engine.Dial, func(), error) {
	where := &engine.Dial{Network: "tcp"}
	var addr unix.Sockaddr
	family := unix.AF_INET
	switch n.network {
	case "tcp":
		addr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	case "tcp6":
		family, addr = unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	case "unix":
		l, free, err := n.listen() // only for a name that is free
		if err != nil {
			return nil, nil, err
		}
		l.Close()
		*where = free
		family, addr = unix.AF_UNIX, &unix.SockaddrUnix{Name: free.Address}
	}
	l, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	open := []int{l}
	gone := func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}
	if err := unix.Bind(l, addr); err != nil {
		return nil, gone, err
	}
	if err := unix.Listen(l, 0); err != nil {
		return nil, gone, err
	}
	if addr, err = unix.Getsockname(l); err != nil {
		return nil, gone, err
	}
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		where.Address = fmt.Sprintf("127.0.0.1:%d", a.Port)
	case *unix.SockaddrInet6:
		where.Address = fmt.Sprintf("[::1]:%d", a.Port)
	}
	for range 4 {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, gone, err
		}
		open = append(open, fd)
		unix.Connect(fd, addr) // some succeed, the rest fills the queue or waits
	}
	return where, gone, nil
}
