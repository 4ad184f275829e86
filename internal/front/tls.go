package front

// TLS listeners: certificates by name, which are read again when their files change.

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/certs"
)

// TLSListener terminates TLS on a plain listener, for Serve.
func (srv *Server) TLSListener(l net.Listener, t config.TLS) (net.Listener, error) {
	store, err := certs.Open(t)
	if err != nil {
		return nil, err
	}
	for _, w := range store.Warnings(time.Now()) {
		srv.log.Warn(w)
	}
	c := &tls.Config{NextProtos: alpn(l)}
	srv.tickets.Use(c)
	store.Secure(c)
	ctx, cancel := context.WithCancel(context.Background())
	secure := &tlsListener{Listener: tls.NewListener(l, c), plain: l, config: c, store: store, cancel: cancel}
	secure.watch.Go(func() { store.Watch(ctx, func(err error) { srv.reloaded(l, err) }) })
	return secure, nil
}

// tlsListener owns the goroutine that watches its certificates.
type tlsListener struct {
	net.Listener
	plain  net.Listener // what is below: maybe a *proxyListener
	config *tls.Config
	store  *certs.Store
	cancel context.CancelFunc
	watch  sync.WaitGroup
}

func (l *tlsListener) Close() error {
	err := l.Listener.Close() // first: a disk that hangs keeps the watch, but no connection is accepted
	l.cancel()
	l.watch.Wait()
	return err
}

func (srv *Server) reloaded(l net.Listener, err error) {
	if err != nil {
		srv.log.Error("certificates not reloaded, those in use stay", "address", l.Addr().String(), "error", err)
		return
	}
	srv.log.Info("certificates reloaded", "address", l.Addr().String())
}
