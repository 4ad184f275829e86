package front

// Accepting: every connection enters by the bounds of admission. Goroutines serve what event
// loops cannot.

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/core"
)

// Serve accepts connections from l until l or the Server is closed.
func (srv *Server) Serve(l net.Listener) error {
	if !srv.track(l) {
		l.Close()
		return ErrClosed
	}
	defer srv.untrack(l)
	if served, err := srv.serveLoops(l); served {
		return err
	}
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			if guest, ok := srv.enter(l, conn); ok {
				srv.entering.Add(1)
				srv.serving.Go(func() { srv.serveConn(conn, guest) })
			}
			continue
		}
		if srv.isClosed() {
			return ErrClosed
		}
		var ne net.Error
		//lint:ignore SA1019 of accept it means exactly this: net/http asks the same
		if !errors.As(err, &ne) || !ne.Temporary() {
			return err
		}
		// Most likely there are no descriptors left: those in use must end first.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		srv.log.Warn("accept failed, trying again", "address", l.Addr().String(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-srv.done:
		}
	}
}

// enterEvery is how often an accepted connection that waits for room tries again.
const enterEvery = 10 * time.Millisecond

// enter waits until the limits allow another client connection. guest is what it counts as
// with its client's others, for Admission.Leave. If ok is false enter has closed conn: its
// client has too many connections, or l or the Server is closed.
func (srv *Server) enter(l net.Listener, conn net.Conn) (guest *admission.Guest, ok bool) {
	a := srv.core.Admission()
	for !a.Enter() {
		a.MakeRoom()
		select {
		case <-time.After(enterEvery):
		case <-srv.done:
		}
		if srv.isClosed() || closed(l) {
			conn.Close()
			return nil, false
		}
	}
	if guest, ok = a.Welcome(remoteOf(conn).Addr()); !ok {
		a.Leave(nil)
		conn.Close()
	}
	return guest, ok
}

// remoteOf is the client's address, the zero value for unix sockets. An IPv4 address in IPv6
// form becomes plain IPv4.
func remoteOf(conn net.Conn) netip.AddrPort {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// serveConn serves one connection until it ends or net/http has taken it over. enter has
// counted it as guest, and the caller as entering.
func (srv *Server) serveConn(conn net.Conn, guest *admission.Guest) {
	handed := false
	entered := sync.OnceFunc(func() { srv.entering.Add(-1) })
	defer func() {
		entered()
		if !handed {
			srv.core.Admission().Leave(guest)
		}
	}()
	who := core.Peer{Remote: remoteOf(conn)}
	if t, ok := conn.(*tls.Conn); ok {
		who.TLS = true
		if err := srv.handshake(t); err != nil {
			srv.log.Debug("TLS handshake failed", "client", conn.RemoteAddr().String(), "error", err)
			conn.Close()
			return
		}
		state := t.ConnectionState()
		if who.Version = state.Version; state.NegotiatedProtocol == "h2" {
			srv.guests.Store(conn, guest) // until h2Ended
			if handed = srv.h2.Serve(conn); !handed {
				srv.guests.Delete(conn)
			}
			return
		}
	}
	entered()
	srv.core.ServeStream(srv.rt, srv.rt.Stream(conn), who)
}

// track counts a listener as served, and reports false after Close.
func (srv *Server) track(l net.Listener) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return false
	}
	srv.serving.Add(1)
	srv.listeners[l] = struct{}{}
	return true
}

func (srv *Server) untrack(l net.Listener) {
	srv.mu.Lock()
	delete(srv.listeners, l)
	srv.mu.Unlock()
	l.Close()
	srv.serving.Done()
}

func (srv *Server) isClosed() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.closed
}

// closed reports whether l was closed. Of a listener without a descriptor that cannot be
// seen, and it is false.
func closed(l net.Listener) bool {
	if t, ok := l.(*tlsListener); ok {
		l = t.plain
	}
	s, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	c, err := s.SyscallConn()
	return err != nil || c.Control(func(uintptr) {}) != nil
}
