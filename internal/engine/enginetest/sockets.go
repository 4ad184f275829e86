package enginetest

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// Sockets is a Network of real connections.
type Sockets struct {
	t       *testing.T
	rt      engine.Runtime
	network string // tcp, tcp6 or unix
	adopt   func(net.Conn) engine.Stream
	serial  int
}

var _ Network = (*Sockets)(nil)

// Over returns a Network over sockets of a kind: tcp, tcp6 (that is TCP too, on ::1) or
// unix. With adopt nil the Streams of pairs are dialed, else they are accepted and made
// by it.
func Over(t *testing.T, rt engine.Runtime, network string, adopt func(net.Conn) engine.Stream) *Sockets {
	return &Sockets{t: t, rt: rt, network: network, adopt: adopt}
}

// HasIPv6 reports whether the machine can be listened to at ::1.
func HasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func (n *Sockets) listen() (net.Listener, engine.Dial, error) {
	at := engine.Dial{Network: "tcp", Address: "127.0.0.1:0"}
	switch n.network {
	case "tcp6":
		at.Address = "[::1]:0"
	case "unix":
		n.serial++
		at = engine.Dial{Network: "unix", Address: filepath.Join(n.t.TempDir(), fmt.Sprint(n.serial))}
	}
	l, err := net.Listen(at.Network, at.Address)
	if err == nil {
		at.Address = l.Addr().String()
	}
	return l, at, err
}

// Pair connects to a listener of its own.
func (n *Sockets) Pair() (s engine.Stream, p Peer, err error) {
	l, where, err := n.listen()
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	var conn net.Conn
	if n.adopt == nil {
		if s, err = n.rt.Dial(&where); err != nil {
			return nil, nil, err
		}
		n.rt.Do(func() { conn, err = l.Accept() })
	} else {
		var theirs net.Conn
		n.rt.Do(func() {
			if conn, err = net.Dial(where.Network, where.Address); err == nil {
				theirs, err = l.Accept()
			}
		})
		if err == nil {
			s = n.adopt(theirs)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return s, &socket{n.rt, conn}, nil
}

// Accept is l.Accept, again after failures that are not l's: Shortage makes a call fail that
// waits for no connection yet. It fails when l is closed.
func Accept(l net.Listener) (net.Conn, error) {
	for {
		c, err := l.Accept()
		if err == nil || !engine.Exhausted(err) {
			return c, err
		}
		time.Sleep(time.Millisecond)
	}
}

// Listening takes connections and keeps them until gone.
func (n *Sockets) Listening() (engine.Dial, func(), error) {
	l, where, err := n.listen()
	if err != nil {
		return where, nil, err
	}
	done := make(chan struct{})
	go func() { // ends when l is closed
		defer close(done)
		for {
			c, err := Accept(l)
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	return where, func() { l.Close(); n.rt.Do(func() { <-done }) }, nil
}

// Refusing is an address that was listened to a moment ago.
func (n *Sockets) Refusing() (engine.Dial, error) {
	l, where, err := n.listen()
	if err != nil {
		return where, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // a socket file without a listener
	}
	return where, l.Close()
}

// Silent is a listener with a full queue.
func (n *Sockets) Silent() (*engine.Dial, func(), error) { return n.full() }

// Resets reports whether connections of this kind can be reset: only those of TCP can.
func (n *Sockets) Resets() bool { return n.network != "unix" }

// socket is a net.Conn as a Peer: it waits where that delays no task.
type socket struct {
	rt   engine.Runtime
	conn net.Conn
}

func (s *socket) Read(p []byte) (n int, err error) {
	s.rt.Do(func() { n, err = s.conn.Read(p) })
	return n, err
}

func (s *socket) Write(p []byte) (n int, err error) {
	s.rt.Do(func() { n, err = s.conn.Write(p) })
	return n, err
}

func (s *socket) CloseWrite() error {
	return s.conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (s *socket) Close() error { return s.conn.Close() }

func (s *socket) Abort() {
	if c, ok := s.conn.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	s.conn.Close()
}
