package front

// Connections that change hands. net/http serves those that have agreed on HTTP/2, and
// goroutines serve what event loops have accepted and cannot serve.

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/poise-lb/poise/internal/admission"
)

// h2Ended is called by net/http's side when a connection that it was given has ended.
func (srv *Server) h2Ended(conn net.Conn) {
	if guest, ok := srv.guests.LoadAndDelete(conn); ok {
		srv.core.Admission().Leave(guest.(*admission.Guest))
	}
}

// takeOver serves a connection that was accepted by event loops, on a goroutine.
func (srv *Server) takeOver(conn net.Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.sealed {
		conn.Close()
		return
	}
	a := srv.core.Admission()
	guest, ok := a.Welcome(remoteOf(conn).Addr()) // the loop does not count it any more
	if !ok {
		conn.Close()
		return
	}
	a.Reenter()
	srv.entering.Add(1)
	srv.serving.Go(func() { srv.serveConn(conn, guest) })
}

func (srv *Server) handshake(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(srv.handshakes, srv.core.Config().Timeouts.Head)
	defer cancel()
	return t.HandshakeContext(ctx)
}
