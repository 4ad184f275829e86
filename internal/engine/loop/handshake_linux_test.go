package loop

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
)

// TestDialTLSFails as the contract says, and leaves nothing behind.
func TestDialTLSFails(t *testing.T) {
	r := newRig(t, "ecdsa")
	other, _ := configs(t, "ecdsa")
	open := descriptors(t)
	good := func(c net.Conn) { tls.Server(c, r.server).Handshake(); io.Copy(io.Discard, c) }
	for name, test := range map[string]struct {
		serve  func(net.Conn)
		client func(*tls.Config)
		is     func(error) bool
	}{
		"unknown authority": {func(c net.Conn) { tls.Server(c, other).Handshake() }, nil, func(err error) bool {
			var e *tls.CertificateVerificationError
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &e) && errors.As(err, &unknown)
		}},
		"the system's roots": {good, func(c *tls.Config) { c.RootCAs = nil }, func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
		"another name": {good, func(c *tls.Config) { c.ServerName = "other.example" }, func(err error) bool {
			var e x509.HostnameError
			return errors.As(err, &e)
		}},
		"no name":       {good, func(c *tls.Config) { c.ServerName = "" }, func(err error) bool { return err != nil }},
		"renegotiation": {good, func(c *tls.Config) { c.Renegotiation = tls.RenegotiateFreelyAsClient }, func(err error) bool { return errors.Is(err, errRenegotiation) }},
		"silence":       {func(c net.Conn) { io.Copy(io.Discard, c) }, nil, func(err error) bool { return errors.Is(err, engine.ErrTimeout) }},
		"an end":        {func(net.Conn) {}, nil, func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }},
		"a reset":       {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, nil, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
		"no TLS": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) }, nil, func(err error) bool {
			var e tls.RecordHeaderError
			return errors.As(err, &e)
		}},
		"an alert": {func(c net.Conn) { c.Write([]byte{recordAlert, 3, 3, 0, 2, 2, 40}); io.Copy(io.Discard, c) }, nil, func(err error) bool {
			var e *net.OpError
			return errors.As(err, &e) && e.Op == "remote error"
		}},
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			test.serve(c)
		}()
		client := r.client.Clone()
		if test.client != nil {
			test.client(client)
		}
		r.play(func() {
			by := r.rt.Now() + patience
			if name == "silence" {
				by = r.rt.Now() + 20*time.Millisecond
			}
			s, err := r.rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String(), TLS: client, By: by})
			if err == nil || !test.is(err) || s != nil {
				t.Errorf("%s: %v, %T %v", name, s, err, err)
			}
			if early := by - r.rt.Now(); name == "silence" && early > 0 {
				t.Errorf("%v early", early)
			}
		})
		<-done
		l.Close()
	}
	r.nothingLeft()
	eventually(t, "the end of descriptors", func() bool { return descriptors(t) <= open })
}

// TestSecureFails, and the stream is the caller's as it was.
func TestSecureFails(t *testing.T) {
	r := newRig(t, "ecdsa")
	for name, test := range map[string]struct {
		client func(net.Conn)
		is     func(error) bool
	}{
		"silence": {func(net.Conn) {}, func(err error) bool { return errors.Is(err, engine.ErrTimeout) }},
		"a drip": {func(c net.Conn) {
			for _, b := range []byte{recordHandshake, 3, 1, 0, 200, 1, 0, 0} {
				c.Write([]byte{b})
			}
		}, func(err error) bool { return errors.Is(err, engine.ErrTimeout) }},
		"an end":  {func(c net.Conn) { c.(*net.TCPConn).CloseWrite() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		"a reset": {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
		"no TLS": {func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") }, func(err error) bool {
			var e tls.RecordHeaderError
			return errors.As(err, &e)
		}},
		"an old version": {func(c net.Conn) {
			old := r.client.Clone()
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
			go tls.Client(c, old).Handshake()
		}, func(err error) bool { return strings.Contains(err.Error(), "unsupported versions") }},
		"distrust": {func(c net.Conn) {
			go tls.Client(c, &tls.Config{ServerName: "localhost", RootCAs: x509.NewCertPool()}).Handshake()
		}, func(err error) bool { return strings.Contains(err.Error(), "bad certificate") }},
	} {
		ours, theirs := r.sockets()
		test.client(theirs)
		r.play(func() {
			s, err := r.e.Stream(0, ours)
			if err != nil {
				t.Fatal(err)
			}
			by := r.rt.Now() + patience
			if name == "silence" || name == "a drip" {
				by = r.rt.Now() + 20*time.Millisecond
			}
			secured, err := r.secure.Secure(s, by)
			if err == nil || !test.is(err) || secured != nil {
				t.Errorf("%s: %v, %T %v", name, secured, err, err)
			}
			s.Close()
		})
		theirs.Close()
	}
	r.nothingLeft()
	r.play(func() {
		if s, err := r.secure.Secure(nil, 0); err == nil || s != nil {
			t.Error("TLS over nothing")
		}
	})
}

// TestAHandshakeEndsWithTheEngine: a client that connects and sends nothing does not keep it.
func TestAHandshakeEndsWithTheEngine(t *testing.T) {
	r := newRig(t, "ecdsa")
	failed := make(chan error, 2)
	l := serveOn(t, r.e, func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		_, err := r.secure.Secure(s, 0)
		failed <- err
		s.Close()
	})
	dial(t, l)
	nobody := listen(t, "tcp", "127.0.0.1:0")
	defer nobody.Close()
	r.e.Start(0, func() {
		_, err := r.rt.Dial(&engine.Dial{Network: "tcp", Address: nobody.Addr().String(), TLS: r.client})
		failed <- err
	})
	eventually(t, "both", func() bool {
		alive := 0
		r.play(func() { alive = r.e.loops[0].Stats().Tasks })
		return alive == 3
	})
	r.e.Close()
	for range 2 {
		if err := <-failed; !errors.Is(err, engine.ErrStopping) {
			t.Error(err)
		}
	}
}

// TestAgreedProtocol: what client and listener agree on by ALPN, whatever pieces the client's first
// message comes in, with new and with resumed sessions.
func TestAgreedProtocol(t *testing.T) {
	r := newRig(t, "ecdsa")
	r.server.NextProtos = []string{"h2", "http/1.1"}
	both := NewTLS(r.server)
	l := serveOn(t, r.e, func(rt engine.Runtime, plain engine.Stream, remote netip.AddrPort) {
		s, err := both.Secure(plain, rt.Now()+patience)
		if err != nil {
			t.Error(err)
			plain.Close()
			return
		}
		fmt.Fprintf(s, "%q", s.ConnectionState().NegotiatedProtocol)
		s.Close()
	})
	sessions := tls.NewLRUClientSessionCache(0)
	resumed := 0
	for round, test := range []struct {
		offers []string
		want   string
	}{
		{[]string{"h2", "http/1.1"}, `"h2"`}, {[]string{"http/1.1"}, `"http/1.1"`}, {nil, `""`},
		{[]string{"h2"}, `"h2"`}, {[]string{"http/1.1", "h2"}, `"h2"`}, {nil, `""`},
	} {
		config := r.client.Clone()
		config.NextProtos, config.ClientSessionCache = test.offers, sessions
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		secure := tls.Client(&pieces{Conn: c, piece: 1 + round*90}, config)
		got, err := io.ReadAll(secure)
		if err != nil || string(got) != test.want {
			t.Errorf("%v: the listener agrees on %s, %v", test.offers, got, err)
		}
		if secure.ConnectionState().DidResume {
			resumed++
		}
		secure.Close()
	}
	if resumed != 5 {
		t.Errorf("%d of 5 sessions were resumed", resumed)
	}
	l.Close()
	r.nothingLeft()
}

// pieces writes its first bytes one piece at a time.
type pieces struct {
	net.Conn
	piece int
	wrote bool
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.wrote {
		return p.Conn.Write(b)
	}
	p.wrote = true
	for i := 0; i < len(b); i += p.piece {
		if _, err := p.Conn.Write(b[i:min(len(b), i+p.piece)]); err != nil {
			return i, err
		}
		if i < 10*p.piece {
			time.Sleep(time.Millisecond / 4)
		}
	}
	return len(b), nil
}

// TestAddressesInAHandshake: who chooses certificates may go by the address that the
// client came to.
func TestAddressesInAHandshake(t *testing.T) {
	r := newRig(t, "ecdsa")
	seen := make(chan [2]net.Addr, 1)
	chosen := r.server.Certificates[0]
	terms := NewTLS(&tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		seen <- [2]net.Addr{hello.Conn.LocalAddr(), hello.Conn.RemoteAddr()}
		if n := r.e.loops[0].Stats().Heavy; n < 1 || n > sched.HeavyMost {
			t.Errorf("this is message %d of a handshake between two looks", n)
		}
		return &chosen, nil
	}})
	for _, at := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", t.TempDir() + "/s"}} {
		raw, err := net.Listen(at.network, at.address)
		if err != nil {
			t.Logf("%s: %v", at.address, err)
			continue
		}
		l, err := r.e.Serve(raw, nil, func(rt engine.Runtime, plain engine.Stream, remote netip.AddrPort) {
			if s, err := terms.Secure(plain, 0); err == nil {
				echo(rt, s, remote)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		below := dial(t, l)
		ask(t, tls.Client(below, r.client), "hello")
		got := <-seen
		if got[0].String() != l.Addr().String() || got[0].Network() != at.network {
			t.Errorf("%s: came to %v", at.address, got[0])
		}
		if at.network == "tcp" && got[1].String() != below.LocalAddr().String() {
			t.Errorf("%s: comes from %v, not %v", at.address, got[1], below.LocalAddr())
		}
		l.Close()
	}
}

// TestKeys: every kind of key serves, over every version, and asked for in every way.
func TestKeys(t *testing.T) {
	for _, kind := range []string{"ecdsa", "p384", "ed25519", "rsa"} {
		r := newRig(t, kind)
		named, _ := certify(t, "ecdsa", "named.example")
		several := &tls.Config{Certificates: []tls.Certificate{named, r.server.Certificates[0]}}
		several.Certificates[0].Leaf.DNSNames = []string{"named.example"}
		asked := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &r.server.Certificates[0], nil }}
		chosen := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.server, nil }}
		for way, config := range map[string]*tls.Config{"one": r.server, "several": several, "asked": asked, "another config": chosen} {
			r.secure = NewTLS(config)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				r.client.MaxVersion = version
				r.play(func() {
					s, peer := r.acceptTLS()
					defer s.Close()
					if got := s.ConnectionState().Version; got != version {
						t.Errorf("%s, %s: version %x", kind, way, got)
					}
					if !peer.ConnectionState().PeerCertificates[0].Equal(r.server.Certificates[0].Leaf) {
						t.Errorf("%s, %s: another certificate", kind, way)
					}
				})
			}
		}
	}
	r := newRig(t, "ecdsa")
	r.secure = NewTLS(&tls.Config{})
	r.play(func() {
		if s, err := r.accept(func(c net.Conn) error { return tls.Client(c, r.client).Handshake() }); err == nil {
			t.Error("served without a certificate")
			s.Close()
		}
	})
}

// TestChoosesAsCryptoTLS: which certificate a client is shown does not depend on what it is
// served by.
func TestChoosesAsCryptoTLS(t *testing.T) {
	r := newRig(t, "ecdsa")
	var some [4]tls.Certificate
	for i, names := range [][]string{{"a.example"}, {"*.b.example"}, {"c.example", "single"}, {"d.example"}} {
		some[i], _ = certify(t, []string{"ecdsa", "rsa"}[i%2], names...)
		some[i].Leaf.DNSNames = names // without localhost
	}
	named := map[string]*tls.Certificate{"a.example": &some[3], "*.b.example": &some[0], "*": &some[2]}
	asked := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "unknown.example" {
			return nil, nil
		}
		return &some[1], nil
	}
	for i, config := range []*tls.Config{
		{Certificates: some[:]},
		{Certificates: some[2:3], NameToCertificate: named},
		{Certificates: some[:], NameToCertificate: named},
		{Certificates: some[:], GetCertificate: asked},
		{GetCertificate: asked},
	} {
		r.secure = NewTLS(config)
		for _, name := range []string{"", "a.example", "A.example", "x.b.example", "c.example", "single", "unknown.example"} {
			client := &tls.Config{ServerName: name, InsecureSkipVerify: true}
			ours, theirs := r.sockets()
			go func() { tls.Server(ours, config).Handshake() }()
			plain := tls.Client(theirs, client)
			plainErr := plain.Handshake()
			var peer *tls.Conn
			var err error
			r.play(func() {
				var s Secured
				s, err = r.accept(func(c net.Conn) error { peer = tls.Client(c, client); return peer.Handshake() })
				if err == nil {
					s.Close()
				}
			})
			ours.Close()
			if (err == nil) != (plainErr == nil) {
				t.Errorf("config %d, %q: %v, but crypto/tls: %v", i, name, err, plainErr)
			} else if err == nil && !peer.ConnectionState().PeerCertificates[0].Equal(plain.ConnectionState().PeerCertificates[0]) {
				t.Errorf("config %d, %q: the certificate of %v", i, name, peer.ConnectionState().PeerCertificates[0].DNSNames)
			}
		}
	}
}

// TestTheDeadlineOfAHandshakeEndsWithIt: it is none of the requests that follow.
func TestTheDeadlineOfAHandshakeEndsWithIt(t *testing.T) {
	r := newRig(t, "ecdsa")
	r.play(func() {
		s, peer := r.acceptTLS()
		defer s.Close()
		for _, by := range []time.Duration{s.(*secure).s.readBy, s.(*secure).s.writeBy} {
			if by != 0 {
				t.Errorf("by %v", by)
			}
		}
		j := r.rt.Fork(func() { r.rt.Sleep(r.rt.Now() + time.Millisecond); peer.Write([]byte("x")) })
		if n, err := s.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		j.Wait()
	})
}

// TestKeyExchangeByRSA is from before everybody else did otherwise; who asks for it gets
// it.
func TestKeyExchangeByRSA(t *testing.T) {
	r := newRig(t, "rsa")
	r.server.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	r.server.MaxVersion = tls.VersionTLS12
	r.client.CipherSuites = r.server.CipherSuites
	r.secure = NewTLS(r.server)
	r.play(func() {
		s, peer := r.acceptTLS()
		defer s.Close()
		if suite := peer.ConnectionState().CipherSuite; suite != tls.TLS_RSA_WITH_AES_128_GCM_SHA256 {
			t.Errorf("suite %x", suite)
		}
	})
}

// A slowKey signs when it is allowed to.
type slowKey struct {
	crypto.Signer
	go_       chan struct{}
	now, most atomic.Int32
	panics    bool
}

func (k *slowKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.panics {
		panic("the key is gone")
	}
	n := k.now.Add(1)
	defer k.now.Add(-1)
	for most := k.most.Load(); n > most && !k.most.CompareAndSwap(most, n); most = k.most.Load() {
	}
	<-k.go_
	return k.Signer.Sign(rand, digest, opts)
}

// TestSlowKeysDelayNobody: a key that takes long, of a server or of ours as a client, has
// its handshakes wait, and no other connection; few of them are asked at once.
func TestSlowKeysDelayNobody(t *testing.T) {
	r := newRig(t, "ecdsa")
	key := &slowKey{Signer: r.server.Certificates[0].PrivateKey.(crypto.Signer), go_: make(chan struct{})}
	slow := r.server.Certificates[0]
	slow.PrivateKey = key
	r.server.Certificates[0] = slow
	r.secure = NewTLS(r.server)
	const clients = 12
	l := serveOn(t, r.e, func(rt engine.Runtime, plain engine.Stream, remote netip.AddrPort) {
		s, err := r.secure.Secure(plain, 0)
		if err != nil {
			if !errors.Is(err, engine.ErrStopping) { // the clients may be done first
				t.Error(err)
			}
			plain.Close()
			return
		}
		echo(rt, s, remote)
	})
	done := make(chan error, clients)
	for range clients {
		below := dial(t, l)
		go func() { done <- tls.Client(below, r.client).Handshake() }()
	}
	_, bound := r.e.group.Computing()
	most := int32(bound)
	eventually(t, "signatures", func() bool { return key.now.Load() == most })
	r.play(func() { // the loop still runs tasks
		for range 5 {
			r.rt.Sleep(r.rt.Now() + time.Millisecond)
		}
	})
	for range clients {
		key.go_ <- struct{}{}
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := key.most.Load(); n != most {
		t.Errorf("%d signatures at once, not %d", n, most)
	}
	eventually(t, "the end of goroutines that sign", func() bool {
		now, _ := r.e.group.Computing()
		return now == 0
	})
}

// TestOurOwnSlowKey, which an endpoint asks for.
func TestOurOwnSlowKey(t *testing.T) {
	r := newRig(t, "ecdsa")
	cert, _ := certify(t, "rsa")
	key := &slowKey{Signer: cert.PrivateKey.(crypto.Signer), go_: make(chan struct{})}
	cert.PrivateKey = key
	r.server.ClientAuth = tls.RequireAnyClientCert
	l := listen(t, "tcp", "127.0.0.1:0")
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, tls.Server(c, r.server))
		}
	}()
	one, asked := r.client.Clone(), r.client.Clone()
	one.Certificates = []tls.Certificate{cert}
	asked.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	for _, config := range []*tls.Config{one, asked} {
		r.play(func() {
			j := r.rt.Fork(func() {
				s, err := r.rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String(), TLS: config, By: r.rt.Now() + patience})
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
			r.until("the signature", func() bool { return key.now.Load() == 1 })
			key.go_ <- struct{}{}
			j.Wait()
		})
	}
}

// TestAKeyThatPanics hurts the connection that asked for it.
func TestAKeyThatPanics(t *testing.T) {
	r := newRig(t, "ecdsa")
	r.server.Certificates[0].PrivateKey = &slowKey{Signer: r.server.Certificates[0].PrivateKey.(crypto.Signer), panics: true}
	r.secure = NewTLS(r.server)
	l := serveOn(t, r.e, func(rt engine.Runtime, plain engine.Stream, remote netip.AddrPort) {
		r.secure.Secure(plain, 0)
		t.Error("Secure returned")
	})
	for range 3 {
		if err := tls.Client(dial(t, l), r.client).Handshake(); err == nil {
			t.Error("shaken hands without a key")
		}
	}
	l.Close()
	r.nothingLeft()
}
