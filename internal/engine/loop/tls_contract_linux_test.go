package loop

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/enginetest"
	"github.com/poise-lb/poise/internal/testcert"
)

// TestContractOverTLS: the promises of the engine hold under TLS, as a client and as a
// server, in both versions.
func TestContractOverTLS(t *testing.T) {
	server, client := configs(t, "ecdsa")
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		for _, network := range []string{"tcp", "unix"} {
			for _, accepted := range []bool{false, true} {
				if version == tls.VersionTLS12 && (network == "unix" || testing.Short()) {
					continue
				}
				name := fmt.Sprintf("%s %s accepted %v", tls.VersionName(version), network, accepted)
				t.Run(name, func(t *testing.T) {
					enginetest.Run(t, func(t *testing.T) *enginetest.Driver {
						return tlsDriver(t, network, accepted, server, client, version)
					})
				})
			}
		}
	}
}

func tlsDriver(t *testing.T, network string, accepted bool, server, client *tls.Config, version uint16) *enginetest.Driver {
	e, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	e.Logger = slog.New(slog.DiscardHandler) // tasks panic on purpose
	rt := e.Runtime(1)
	client = client.Clone()
	client.MaxVersion = version
	n := &tlsNetwork{
		Sockets: enginetest.Over(t, rt, network, nil), t: t, rt: rt, network: network,
		ours: NewTLS(server), server: server, client: client,
	}
	if accepted {
		n.e = e
	}
	return &enginetest.Driver{
		Runtime: rt,
		Network: n,
		Play:    func(f func()) { play(t, e, 1, f) },
		Close:   e.Close,
		Foreign: true,
	}
}

// tlsNetwork is Sockets with TLS spoken over them.
type tlsNetwork struct {
	*enginetest.Sockets
	t              *testing.T
	e              *Engine // nil: the streams are dialed
	rt             engine.Runtime
	network        string
	ours           *TLS
	server, client *tls.Config
	serial         int
}

func (n *tlsNetwork) listen() (net.Listener, engine.Dial, error) {
	where := engine.Dial{Network: n.network, Address: "127.0.0.1:0", TLS: n.client}
	if n.network == "unix" {
		n.serial++
		where.Address = filepath.Join(n.t.TempDir(), fmt.Sprint(n.serial))
	}
	l, err := net.Listen(where.Network, where.Address)
	if err == nil {
		where.Address = l.Addr().String()
	}
	return l, where, err
}

// Pair shakes hands on both ends at once, since each waits for the other.
func (n *tlsNetwork) Pair() (s engine.Stream, peer enginetest.Peer, err error) {
	l, where, err := n.listen()
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	var below net.Conn
	var secure *tls.Conn
	theirs := make(chan error, 1)
	if n.e == nil {
		go func() {
			conn, err := l.Accept()
			if err == nil {
				below, secure = conn, tls.Server(conn, n.server)
				err = secure.Handshake()
			}
			theirs <- err
		}()
		if s, err = n.rt.Dial(&where); err != nil {
			return nil, nil, err
		}
	} else {
		go func() {
			conn, err := net.Dial(where.Network, where.Address)
			if err == nil {
				below, secure = conn, tls.Client(conn, n.client)
				err = secure.Handshake()
			}
			theirs <- err
		}()
		if s, err = n.accept(l); err != nil {
			return nil, nil, err
		}
	}
	if n.rt.Do(func() { err = <-theirs }); err != nil {
		return nil, nil, err
	}
	secure.SetDeadline(time.Now().Add(patience))
	return s, &tlsPeer{n.rt, secure, below}, nil
}

func (n *tlsNetwork) accept(l net.Listener) (engine.Stream, error) {
	var conn net.Conn
	var err error
	if n.rt.Do(func() { conn, err = l.Accept() }); err != nil {
		return nil, err
	}
	s, err := n.e.Stream(1, conn)
	if err != nil {
		return nil, err
	}
	t, err := n.ours.Secure(s, n.rt.Now()+patience)
	return t, err
}

// Listening does the handshake of every client, and waits for its end.
func (n *tlsNetwork) Listening() (engine.Dial, func(), error) {
	l, where, err := n.listen()
	if err != nil {
		return where, nil, err
	}
	var group sync.WaitGroup
	group.Go(func() { // ends when l is closed
		for {
			c, err := enginetest.Accept(l)
			if err != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				io.Copy(io.Discard, tls.Server(c, n.server))
			})
		}
	})
	return where, func() { l.Close(); n.rt.Do(group.Wait) }, nil
}

func (n *tlsNetwork) Refusing() (engine.Dial, error) {
	where, err := n.Sockets.Refusing()
	where.TLS = n.client
	return where, err
}

func (n *tlsNetwork) Silent() (*engine.Dial, func(), error) {
	where, gone, err := n.Sockets.Silent()
	if where != nil {
		where.TLS = n.client
	}
	return where, gone, err
}

// tlsPeer is a tls.Conn as a Peer: it waits where that delays no task.
type tlsPeer struct {
	rt    engine.Runtime
	conn  *tls.Conn
	below net.Conn
}

func (p *tlsPeer) Read(b []byte) (n int, err error) {
	p.rt.Do(func() { n, err = p.conn.Read(b) })
	return n, err
}

func (p *tlsPeer) Write(b []byte) (n int, err error) {
	p.rt.Do(func() { n, err = p.conn.Write(b) })
	return n, err
}

// CloseWrite sends FIN too, as a client does that ends its side for good.
func (p *tlsPeer) CloseWrite() error {
	p.conn.CloseWrite()
	return p.below.(interface{ CloseWrite() error }).CloseWrite()
}

func (p *tlsPeer) Close() error { return p.conn.Close() }

func (p *tlsPeer) Abort() {
	if c, ok := p.below.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	p.below.Close()
}

// certify makes a certificate for 127.0.0.1, localhost and the given names, and a pool of
// roots that trusts it. kind is a testcert.Kind.
func certify(t testing.TB, kind string, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	names = append(names, "localhost", "127.0.0.1", "::1")
	c := testcert.New(t, testcert.Template{Kind: testcert.Kind(kind), Names: names})
	return c.TLS, c.Pool()
}

// configs are those of a server and of a client that trusts it.
func configs(t testing.TB, kind string) (server, client *tls.Config) {
	t.Helper()
	cert, roots := certify(t, kind)
	return &tls.Config{Certificates: []tls.Certificate{cert}}, &tls.Config{RootCAs: roots, ServerName: "localhost"}
}
