package loop

import (
	"fmt"
	"net"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"github.com/poise-lb/poise/internal/engine/loop/sign"
	"golang.org/x/sys/unix"
)

// How crypto/tls is kept from waiting: it reads and writes by a net.Conn that does neither.
// After the handshake a read returns what has come, or errWait, and a write appends to a
// buffer:
//
//	secure.Read                         transport
//	  no byte decrypted, not readable:
//	  the task waits at the stream
//	  conn.Read (crypto/tls)    ------> Read: 700 bytes, part of a record
//	                            ------> Read: errWait
//	  errWait: waits at the stream
//	  conn.Read (crypto/tls)    ------> Read: the other 400 bytes of the record
//	  returns what was decrypted
//
// During the handshake no other task uses the connection, and the transport waits: see
// handshake_linux.go.

// A transport is a secure as the net.Conn below crypto/tls: it reads what has come, keeps what is
// to be sent, and never waits.
type transport secure

var _ sign.Conn = (*transport)(nil)

// Read returns what has come. During a handshake it waits, else its error may be errWait.
func (c *transport) Read(p []byte) (n int, err error) {
	t := (*secure)(c)
	if t.shake != nil {
		n, err = t.shake.read(p)
	} else {
		n, err = t.s.take(p)
	}
	t.follow(p[:n])
	return n, err
}

// Write takes all of p into the buffer and does not wait. secure.push gives the buffer to the
// kernel, and bounds it: see unsentMost.
func (c *transport) Write(p []byte) (int, error) {
	if c.s.flags&closed != 0 {
		return 0, engine.ErrClosed
	}
	if c.out == nil {
		c.out = c.s.loop.buffers.take()
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

// Loop implements sign.Conn: the handshake runs there.
func (c *transport) Loop() *sched.Loop { return &c.s.loop.Loop }

// follow counts records, and where in one the bytes that came end. A record starts with
// its type, a version, and its length (RFC 8446 §5.1).
func (t *secure) follow(p []byte) {
	for len(p) > 0 {
		if t.left > 0 {
			n := min(int(t.left), len(p))
			p = p[n:]
			if t.left -= uint16(n); t.left == 0 {
				t.records++
			}
			continue
		}
		n := copy(t.head[t.have:], p)
		p = p[n:]
		if t.have += uint8(n); int(t.have) == len(t.head) {
			t.left, t.have = uint16(t.head[3])<<8|uint16(t.head[4]), 0
			if t.left == 0 {
				t.records++
			}
		}
	}
}

// within reports whether part of a record has come.
func (t *secure) within() bool { return t.have > 0 || t.left > 0 }

// The addresses are for functions of a tls.Config, as GetConfigForClient.

func (c *transport) LocalAddr() net.Addr  { return address(unix.Getsockname(int(c.s.fd))) }
func (c *transport) RemoteAddr() net.Addr { return address(unix.Getpeername(int(c.s.fd))) }

func address(a unix.Sockaddr, err error) net.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		at := &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
		if a.ZoneId != 0 {
			at.Zone = fmt.Sprint(a.ZoneId)
		}
		return at
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: a.Name, Net: "unix"}
	}
	return &net.TCPAddr{}
}

// The deadlines of crypto/tls are not ours: it sets them around an alert, which does not
// wait. Nor does it close: the task that serves the connection does.

func (c *transport) SetDeadline(time.Time) error      { return nil }
func (c *transport) SetReadDeadline(time.Time) error  { return nil }
func (c *transport) SetWriteDeadline(time.Time) error { return nil }
func (c *transport) Close() error                     { return nil }
