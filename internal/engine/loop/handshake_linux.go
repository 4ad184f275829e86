package loop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sign"
)

// A handshake is done by the task that serves the connection, inside of crypto/tls, and
// waits there like any read or write. Its heavy steps take turns with those of others.

// A TLS is how the connections of one listener are secured. One of them serves any number
// of loops.
type TLS struct{ config *tls.Config }

// NewTLS returns what secures connections as c says. c is used and must not be changed any more,
// but by SetSessionTicketKeys of Config. Keys that take long, which are all but those on P-256 and
// Ed25519, sign on goroutines, those of what c.GetConfigForClient returns too.
func NewTLS(c *tls.Config) *TLS { return &TLS{config: sign.ForServer(c)} }

// Config is what connections are secured by, for their keys of session tickets.
func (x *TLS) Config() *tls.Config { return x.config }

// Secure performs the handshake with a client. It is called by the task that serves s, a
// stream of this package that was not read. by is the deadline; zero: none. The Stream that is
// returned owns s. After an error s is to be closed by the caller.
func (x *TLS) Secure(s engine.Stream, by time.Duration) (Secured, error) {
	plain, ok := s.(*stream)
	if !ok {
		return nil, fmt.Errorf("loop: TLS over a %T", s)
	}
	t, err := shakeHands(plain, by, func(conn *transport) *tls.Conn { return tls.Server(conn, x.config) })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// A handshake is one under way.
type handshake struct{ t *secure }

// shakeHands performs a handshake over s, whose deadlines are none then. While it is under way
// no other task uses the connection, so tasks may wait inside of crypto/tls. The context has
// no Done: to cancel is to interrupt s.
func shakeHands(s *stream, by time.Duration, start func(*transport) *tls.Conn) (*secure, error) {
	t := &secure{s: s}
	h := &handshake{t}
	t.shake = h
	t.conn = start((*transport)(t))
	s.above = t
	s.SetReadDeadline(by)
	s.SetWriteDeadline(by)
	err := t.conn.HandshakeContext(context.Background())
	t.shake = nil
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

var errRenegotiation = errors.New("loop: TLS renegotiation is not supported")

// secureTo performs the handshake with a server over s, and closes s if that fails. by is
// the deadline; zero: none.
func secureTo(s *stream, c *tls.Config, by time.Duration) (engine.Stream, error) {
	c, err := forDial(s.loop, c)
	if err == nil {
		var t *secure
		if t, err = shakeHands(s, by, func(conn *transport) *tls.Conn { return tls.Client(conn, c) }); err == nil {
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
