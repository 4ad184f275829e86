package front

// Accepting: every connection enters by the bounds of admission. Goroutines serve what event
// loops cannot.

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream/h1"
	"github.com/poise-lb/poise/internal/downstream/h2"
	"github.com/poise-lb/poise/internal/downstream/nethttp"
)

// NamedListener gives a listener a name, for Serve, by which routes may ask for it.
func (srv *Server) NamedListener(l net.Listener, name string) net.Listener {
	return &namedListener{l, name}
}

// A namedListener is one with a name. It is outside of all other layers.
type namedListener struct {
	net.Listener
	name string
}

// Serve accepts connections from l until l or the Server is closed.
func (srv *Server) Serve(l net.Listener) error {
	name := ""
	if n, ok := l.(*namedListener); ok {
		l, name = n.Listener, n.name
	}
	if !srv.track(l) {
		l.Close()
		return ErrClosed
	}
	defer srv.untrack(l)
	srv.protocols.Do(func() {
		srv.http2 = h2.New(srv.core.Count())
		srv.http1 = h1.Protocol.Or(srv.http2)
	})
	of := layers(l)
	at := srv.core.Admission().Listen(nameOf(l.Addr()), of.secure != nil, srv.rt.Now())
	if of.proxied != nil {
		at.Behind(of.proxied.trusted)
	}
	defer func() { at.Close(srv.rt.Now()) }()
	by := srv.core.Listener(name, at)
	if served, err := srv.serveLoops(l, by, at); served {
		return err
	}
	return srv.accept(l, by, at)
}

// nameOf is what a listener is called in metrics: its address, in the form of the configuration.
func nameOf(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// accept is Serve by goroutines; at counts the connections, by is what they are told of the listener.
func (srv *Server) accept(l net.Listener, by *core.Listener, at *admission.Listener) error {
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			if guest, ok := srv.enter(l, at, conn); ok {
				srv.entering.Add(1)
				srv.serving.Go(func() { srv.serveConn(l, by, at, conn, guest) })
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
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			at.Exhausted()
		}
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
// at its listener. If ok is false enter has closed conn: its client has too many connections, or
// l or the Server is closed.
func (srv *Server) enter(l net.Listener, at *admission.Listener, conn net.Conn) (guest *admission.Guest, ok bool) {
	for !at.Enter() {
		at.MakeRoom()
		select {
		case <-time.After(enterEvery):
		case <-srv.done:
		}
		if srv.isClosed() || closed(l) {
			conn.Close()
			return nil, false
		}
	}
	if guest, ok = at.Welcome(remoteOf(conn).Addr()); !ok {
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

// serveConn serves one connection until it ends. enter has counted it as guest, and the caller as
// entering.
func (srv *Server) serveConn(l net.Listener, by *core.Listener, at *admission.Listener, conn net.Conn, guest *admission.Guest) {
	entered := sync.OnceFunc(func() { srv.entering.Add(-1) })
	defer func() {
		entered()
		guest.Leave()
	}()
	who := core.Peer{Remote: remoteOf(conn), Listener: by, Protocol: srv.inTheClear(l)}
	if proxied := layers(l).proxied; proxied != nil {
		client, err := srv.announced(proxied, conn, who.Remote)
		ok := err == nil
		if ok {
			var now *admission.Guest
			if now, ok = guest.Move(client.Addr()); ok {
				guest = now
			}
		}
		if !ok {
			proxied.refused(srv.log, who.Remote, err)
			conn.Close()
			return
		}
		who.Remote = client
	}
	if t, ok := conn.(*tls.Conn); ok {
		if how, err := srv.handshake(at, t); err != nil {
			srv.handshakeFailed(how, conn.RemoteAddr().String(), err)
			conn.Close()
			return
		}
		srv.agreed(&who, t.ConnectionState(), l)
	}
	entered()
	srv.core.ServeStream(srv.rt, srv.rt.Stream(conn), who)
}

// agreed sets what a TLS handshake has agreed on. l is the listener, mostly a *tlsListener.
func (srv *Server) agreed(who *core.Peer, state tls.ConnectionState, l net.Listener) {
	who.TLS, who.Version, who.Protocol = true, state.Version, srv.underTLS(l, state.NegotiatedProtocol)
	if t, ok := l.(*tlsListener); ok && t.store.AsksClients() {
		who.Cert = nethttp.ClientCert(&state)
	}
}

// tellsFailed reports whether a handshake that has failed so is worth a line of the log: clients
// that are refused are, others only for debugging.
func (srv *Server) tellsFailed(how admission.Handshake) bool {
	return how == admission.RefusedHandshake || srv.log.Enabled(context.Background(), slog.LevelDebug)
}

func (srv *Server) handshakeFailed(how admission.Handshake, client string, err error) {
	if how == admission.RefusedHandshake {
		srv.log.Info("client refused by its certificate", "client", client, "error", err)
		return
	}
	srv.log.Debug("TLS handshake failed", "client", client, "error", err)
}

// handshake shakes hands with a client of the listener at.
func (srv *Server) handshake(at *admission.Listener, t *tls.Conn) (admission.Handshake, error) {
	ctx, cancel := context.WithTimeout(srv.handshakes, srv.core.Config().Timeouts.Head)
	defer cancel()
	err := t.HandshakeContext(ctx)
	how := handshakeOf(t.ConnectionState(), err)
	at.Handshake(how)
	return how, err
}

// handshakeOf is how a handshake that has ended is counted.
func handshakeOf(state tls.ConnectionState, err error) admission.Handshake {
	switch {
	case certs.ErrorOfClient(err):
		return admission.RefusedHandshake
	case err != nil:
		return admission.FailedHandshake
	case state.DidResume:
		return admission.ResumedHandshake
	}
	return admission.FullHandshake
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
	l = layers(l).plain
	s, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	c, err := s.SyscallConn()
	return err != nil || c.Control(func(uintptr) {}) != nil
}
