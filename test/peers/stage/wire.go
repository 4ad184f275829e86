//go:build linux

package stage

import (
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A task is a net.Conn, for crypto/tls: its Read and Write wait on the loop.

// Read reads what there is, and waits first unless there is likely something: a read that
// must fail costs as much as one that does not.
func (t *task) Read(p []byte) (int, error) {
	for {
		if t.over {
			return 0, errOver
		}
		if !t.likely {
			if err := t.await(unix.EPOLLIN); err != nil {
				return 0, err
			}
		}
		n, err := unix.Read(t.fd, p)
		t.likely = err == nil && n == len(p)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write writes all of p.
func (t *task) Write(p []byte) (int, error) {
	for sent := 0; ; {
		if t.over {
			return sent, errOver
		}
		n, err := unix.Write(t.fd, p[sent:])
		if n > 0 {
			sent += n
		}
		if sent == len(p) {
			return sent, nil
		}
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return sent, err
		}
		if err := t.await(unix.EPOLLOUT); err != nil {
			return sent, err
		}
	}
}

// Close does nothing: drop closes.
func (t *task) Close() error                     { return nil }
func (t *task) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (t *task) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (t *task) SetDeadline(time.Time) error      { return nil }
func (t *task) SetReadDeadline(time.Time) error  { return nil }
func (t *task) SetWriteDeadline(time.Time) error { return nil }

// socket makes a TCP socket that does not block.
func socket() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// dial connects the task to an address of the loopback.
func (t *task) dial(to netip.AddrPort) error {
	fd, err := socket()
	if err != nil {
		return err
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return err
	}
	if taken := t.take(fd, unix.EPOLLOUT); taken != nil || err == nil {
		return taken
	}
	if err := t.await(unix.EPOLLOUT); err != nil {
		return err
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// listen opens a listener. The address 0.0.0.0 stands for the whole loopback, 127.0.0.0/8,
// and takes what comes by that device only.
func listen(at netip.AddrPort) (fd int, port uint16, err error) {
	if fd, err = socket(); err != nil {
		return -1, 0, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if at.Addr().IsUnspecified() {
		if err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo"); err != nil {
			return -1, 0, err
		}
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return -1, 0, err
	}
	if err = unix.Listen(fd, 4096); err != nil {
		return -1, 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, 0, err
	}
	return fd, uint16(name.(*unix.SockaddrInet4).Port), nil
}
