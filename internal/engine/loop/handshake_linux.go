package loop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sign"
)

// A handshake is done by the task that serves the connection, inside of crypto/tls, and
// waits there like any read or write. Its heavy steps take turns with those of others. A
// client's first message may say that the connection is for another engine: then the bytes
// that were read go there with it.

// A TLS is how the connections of one listener are secured. One of them serves any number
// of loops, and other engines by its Config.
type TLS struct {
	config    *tls.Config
	elsewhere func(*tls.ClientHelloInfo) bool
}

// NewTLS returns what secures connections as c says. elsewhere says of a client's first
// message that its connection is not for a loop, as when it offers HTTP/2; nil: all are.
// It is called on the loop and must not wait.
//
// c is used and must not be changed any more, but by SetSessionTicketKeys of Config. Keys
// that take long, which are all but those on P-256 and Ed25519, sign on goroutines. If
// c.GetConfigForClient returns a config, that is used as it is.
func NewTLS(c *tls.Config, elsewhere func(*tls.ClientHelloInfo) bool) *TLS {
	t := &TLS{config: sign.ForServer(c), elsewhere: elsewhere}
	t.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if conn, ok := hello.Conn.(*transport); ok {
			if err := conn.shake.heardHello(hello); err != nil {
				return nil, err
			}
		}
		if c.GetConfigForClient == nil {
			return nil, nil
		}
		return c.GetConfigForClient(hello)
	}
	return t
}

// Config is for connections that are served by another engine: they share the keys of
// session tickets with those on loops.
func (x *TLS) Config() *tls.Config { return x.config }

// Secure performs the handshake with a client. It is called by the task that serves s, a
// stream of this package that was not read. by is the deadline; zero: none.
//
// Either the connection is a Stream under TLS from then on, which owns s; or it is for
// elsewhere, s is closed, and the net.Conn begins with the client's first message as if
// it had not been read; or there is an error, and s is to be closed by the caller.
func (x *TLS) Secure(s engine.Stream, by time.Duration) (Secured, net.Conn, error) {
	plain, ok := s.(*stream)
	if !ok {
		return nil, nil, fmt.Errorf("loop: TLS over a %T", s)
	}
	h := &handshake{server: x, record: x.elsewhere != nil}
	t, err := shakeHands(plain, h, by, func(conn *transport) *tls.Conn { return tls.Server(conn, x.config) })
	switch {
	case err == nil:
		return t, nil, nil
	case errors.Is(err, errElsewhere):
		conn, err := plain.detach()
		if err != nil {
			return nil, nil, err
		}
		return nil, &replayed{Conn: conn, heard: h.heard}, nil
	}
	return nil, nil, err
}

// errElsewhere ends a handshake that goes on elsewhere.
var errElsewhere = errors.New("loop: the connection is for another engine")

// A handshake is one under way.
type handshake struct {
	t      *secure
	server *TLS   // nil: the peer is the server
	record bool   // the bytes that come
	heard  []byte // those that have
}

// shakeHands performs a handshake over s, whose deadlines are none then. While it is under way
// no other task uses the connection, so tasks may wait inside of crypto/tls. The context has
// no Done: to cancel is to interrupt s.
func shakeHands(s *stream, h *handshake, by time.Duration, start func(*transport) *tls.Conn) (*secure, error) {
	t := &secure{s: s, shake: h}
	h.t = t
	t.conn = start((*transport)(t))
	s.above = t
	s.SetReadDeadline(by)
	s.SetWriteDeadline(by)
	err := t.conn.HandshakeContext(context.Background())
	t.shake = nil
	if errors.Is(err, errElsewhere) {
		t.drop() // the alert that crypto/tls would send
	}
	if err == nil {
		err = h.flush()
	}
	if err != nil {
		t.push()
		t.drop()
		s.above = nil
		return nil, err
	}
	s.SetReadDeadline(0)
	s.SetWriteDeadline(0)
	t.maybe = true // what came behind the handshake
	return t, nil
}

// read sends what was written and reads. Then it is the peer's message that is worked on.
func (h *handshake) read(p []byte) (int, error) {
	if err := h.flush(); err != nil {
		return 0, err
	}
	n, err := h.t.s.Read(p)
	if h.record && n > 0 {
		if h.heard == nil {
			h.heard = h.t.s.loop.buffers.take()
		}
		h.heard = append(h.heard, p[:n]...)
	}
	if n > 0 {
		h.t.s.loop.Heavy()
	}
	return n, err
}

// flush waits until the kernel has taken what was written.
func (h *handshake) flush() error {
	if h.t.out == nil {
		return nil
	}
	_, err := h.t.write(nil)
	return err
}

// heardHello is called with a client's first message.
func (h *handshake) heardHello(hello *tls.ClientHelloInfo) error {
	if h.server.elsewhere != nil && h.server.elsewhere(hello) {
		return errElsewhere
	}
	h.t.s.loop.buffers.give(h.heard)
	h.record, h.heard = false, nil
	return nil
}

var errRenegotiation = errors.New("loop: TLS renegotiation is not supported")

// secureTo performs the handshake with a server over s, and closes s if that fails. by is
// the deadline; zero: none.
func secureTo(s *stream, c *tls.Config, by time.Duration) (engine.Stream, error) {
	c, err := forDial(s.loop, c)
	if err == nil {
		var t *secure
		if t, err = shakeHands(s, &handshake{}, by, func(conn *transport) *tls.Conn { return tls.Client(conn, c) }); err == nil {
			return t, nil
		}
	}
	s.Close()
	return nil, err
}

// rooted is set when crypto/x509 has read the system's roots of trust, which it does once in
// a process.
var rooted atomic.Bool

// forDial prepares for what a handshake with a server would wait or compute for: the
// roots of trust, which are files, and the signature of our own certificate.
func forDial(l *loop, c *tls.Config) (*tls.Config, error) {
	if c.Renegotiation != tls.RenegotiateNever {
		return nil, errRenegotiation // it would wait in the middle of a Read
	}
	if c.RootCAs == nil && !c.InsecureSkipVerify && !rooted.Load() {
		l.Do(func() { x509.SystemCertPool() })
		rooted.Store(true)
	}
	if len(c.Certificates) == 0 && c.GetClientCertificate == nil {
		return c, nil
	}
	return sign.ForClient(c, &l.Loop), nil
}

// A replayed is a connection from which the first bytes have been read already.
type replayed struct {
	net.Conn
	heard []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.heard) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.heard)
	if r.heard = r.heard[n:]; len(r.heard) == 0 {
		r.heard = nil
	}
	return n, nil
}

// SyscallConn is that of the connection.
func (r *replayed) SyscallConn() (syscall.RawConn, error) {
	return r.Conn.(syscall.Conn).SyscallConn()
}

// CloseWrite sends FIN.
func (r *replayed) CloseWrite() error {
	return r.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
