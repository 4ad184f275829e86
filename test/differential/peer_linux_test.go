package differential

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// end is how a connection has ended, seen from our side.
type end byte

const (
	open  end = iota
	fin       // the proxy's FIN
	reset     // the proxy's reset
	ours      // we have reset it
)

var endNames = [...]string{"open", "FIN", "reset", "reset by us"}

// A peer is our side of a connection with a proxy. No goroutine waits for it: pump does what can
// be done.
type peer struct {
	fd    int
	in    []byte // all that came
	end   end
	holds bool // it does not read
	held  bool // it did not for some time

	out    []byte // not taken by the kernel yet
	finish bool   // FIN follows out
	done   bool   // FIN has been sent, or nothing can be any more
}

// pump moves what can be moved, and reports whether anything did.
func (p *peer) pump(room []byte) (moved bool) {
	for len(p.out) > 0 && !p.done {
		n, err := unix.Write(p.fd, p.out)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			p.out, p.done = nil, true // why is what reading tells
			break
		}
		p.out, moved = p.out[n:], true
	}
	if p.finish && len(p.out) == 0 && !p.done {
		unix.Shutdown(p.fd, unix.SHUT_WR)
		p.done, moved = true, true
	}
	for p.end == open && !p.holds {
		n, err := unix.Read(p.fd, room)
		switch {
		case err == unix.EAGAIN:
			return moved
		case err != nil:
			p.end = reset
		case n == 0:
			p.end = fin
		default:
			p.in = append(p.in, room[:n]...)
		}
		moved = true
	}
	return moved
}

// reset ends the connection at once.
func (p *peer) reset() {
	if p.fd < 0 {
		return
	}
	unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(p.fd)
	p.fd, p.out, p.done = -1, nil, true
	if p.end == open {
		p.end = ours
	}
}

// receiveMost keeps the kernel from taking everything for a peer that does not read.
const receiveMost = 128 << 10

// connect opens a client's connection. Only the kernel has to do something for that.
func connect(address *net.TCPAddr) (*peer, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p, err := ready(fd)
	if err == nil {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveMost))
	}
	if err == nil {
		err = os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrInet4{Port: address.Port, Addr: [4]byte{127, 0, 0, 1}}))
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

// ready makes a peer of a socket. What is sent in two steps comes in two segments.
func ready(fd int) (*peer, error) {
	err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return &peer{fd: fd}, os.NewSyscallError("setsockopt", err)
}

// A listener is the endpoint's.
type listener struct {
	fd   int
	port int
}

func listen() (l listener, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return l, os.NewSyscallError("socket", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveMost); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 128)
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return l, os.NewSyscallError("listen", err)
	}
	return listener{fd, bound.(*unix.SockaddrInet4).Port}, nil
}

// accept returns nil if there is no connection.
func (l listener) accept() *peer {
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return nil
	}
	p, err := ready(fd)
	if err != nil {
		unix.Close(fd)
		return nil
	}
	return p
}
