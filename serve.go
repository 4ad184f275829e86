package poise

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/core"
)

// Serve accepts connections from l until l or the Proxy is closed; after Close it returns
// ErrClosed. It reads and writes HTTP/1.1 by its own codec. A TCP or unix listener of
// package net, also below TLSListener, is served by event loops where Config.Engine allows
// it; of such a one that is closed connections may be accepted for another tenth of a
// second. Any other is served by goroutines: its connections that are *tls.Conn are shaken
// hands with, and go to net/http if they agree on HTTP/2.
func (p *Proxy) Serve(l net.Listener) error {
	if !p.track(l) {
		l.Close()
		return ErrClosed
	}
	defer p.untrack(l)
	if served, err := p.serveLoops(l); served {
		return err
	}
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			if guest, ok := p.enter(l, conn); ok {
				p.serving.Go(func() { p.serveConn(conn, guest) })
			}
			continue
		}
		if p.isClosed() {
			return ErrClosed
		}
		var ne net.Error
		//lint:ignore SA1019 of accept it means exactly this: net/http asks the same
		if !errors.As(err, &ne) || !ne.Temporary() {
			return err
		}
		// Most likely there are no descriptors left: those in use must end first.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		p.log.Warn("accept failed, trying again", "address", l.Addr().String(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-p.done:
		}
	}
}

// ServeTLS is Serve(TLSListener(l, t)).
func (p *Proxy) ServeTLS(l net.Listener, t TLS) error {
	secure, err := p.TLSListener(l, t)
	if err != nil {
		l.Close()
		return err
	}
	return p.Serve(secure)
}

// TLSListener terminates TLS on a plain listener, for Serve. The certificates are loaded
// when it returns. Their files are read again when they change; what cannot be read then
// is logged, and the certificates in use stay. Closing it closes l.
func (p *Proxy) TLSListener(l net.Listener, t TLS) (net.Listener, error) {
	store, err := certs.Load(t.Certificates)
	if err != nil {
		return nil, err
	}
	for _, w := range store.Warnings(time.Now()) {
		p.log.Warn(w)
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: store.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}
	if t.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	ctx, cancel := context.WithCancel(context.Background())
	secure := &tlsListener{Listener: tls.NewListener(l, c), plain: l, config: c, cancel: cancel}
	secure.watch.Go(func() { store.Watch(ctx, func(err error) { p.reloaded(l, err) }) })
	return secure, nil
}

// tlsListener owns the goroutine that watches its certificates.
type tlsListener struct {
	net.Listener
	plain  net.Listener // what is below
	config *tls.Config
	cancel context.CancelFunc
	watch  sync.WaitGroup
}

func (l *tlsListener) Close() error {
	err := l.Listener.Close() // first: a disk that hangs keeps the watch, but no connection is accepted
	l.cancel()
	l.watch.Wait()
	return err
}

func (p *Proxy) reloaded(l net.Listener, err error) {
	if err != nil {
		p.log.Error("certificates not reloaded, those in use stay", "address", l.Addr().String(), "error", err)
		return
	}
	p.log.Info("certificates reloaded", "address", l.Addr().String())
}

// enterEvery is how often it is looked whether there is room for a connection that waits.
const enterEvery = 10 * time.Millisecond

// enter waits until there may be another client connection. If ok is false the connection
// was closed: its client has too many, or l or the Proxy is closed.
func (p *Proxy) enter(l net.Listener, conn net.Conn) (guest *admission.Guest, ok bool) {
	a := p.core.Admission()
	for !a.Enter() {
		a.MakeRoom()
		select {
		case <-time.After(enterEvery):
		case <-p.done:
		}
		if p.isClosed() || closed(l) {
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

func remoteOf(conn net.Conn) netip.AddrPort {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// serveConn serves one connection until it ends. It has entered, as guest.
func (p *Proxy) serveConn(conn net.Conn, guest *admission.Guest) {
	handed := false
	defer func() {
		if !handed {
			p.core.Admission().Leave(guest)
		}
	}()
	who := core.Peer{Remote: remoteOf(conn)}
	if t, ok := conn.(*tls.Conn); ok {
		who.TLS = true
		if err := p.shakeHands(t); err != nil {
			p.log.Debug("TLS handshake failed", "client", conn.RemoteAddr().String(), "error", err)
			conn.Close()
			return
		}
		if t.ConnectionState().NegotiatedProtocol == "h2" {
			p.guests.Store(conn, guest) // until leftH2
			if handed = p.h2.Serve(conn); !handed {
				p.guests.Delete(conn)
			}
			return
		}
	}
	p.core.ServeStream(p.rt, p.rt.Stream(conn), who)
}

// leftH2 is called when a connection has ended that was handed to net/http.
func (p *Proxy) leftH2(conn net.Conn) {
	if guest, ok := p.guests.LoadAndDelete(conn); ok {
		p.core.Admission().Leave(guest.(*admission.Guest))
	}
}

// takeOver serves a connection that was accepted by event loops, on a goroutine.
func (p *Proxy) takeOver(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return
	}
	a := p.core.Admission()
	guest, ok := a.Welcome(remoteOf(conn).Addr()) // the loop has taken it off its counts
	if !ok {
		conn.Close()
		return
	}
	a.Reenter()
	p.serving.Go(func() { p.serveConn(conn, guest) })
}

func (p *Proxy) shakeHands(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(p.shaking, p.core.Config().Timeouts.Head)
	defer cancel()
	return t.HandshakeContext(ctx)
}

func (p *Proxy) track(l net.Listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.serving.Add(1)
	p.listeners[l] = struct{}{}
	return true
}

func (p *Proxy) untrack(l net.Listener) {
	p.mu.Lock()
	delete(p.listeners, l)
	p.mu.Unlock()
	l.Close()
	p.serving.Done()
}

func (p *Proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// closed reports whether l was closed, as far as that can be seen.
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
