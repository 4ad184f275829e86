package loop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// The types of records (RFC 8446 §5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// A rawPeer is the other end of a TLS 1.3 connection, which makes records by itself after
// the handshake: crypto/tls would not send some of them.
type rawPeer struct {
	net.Conn
	in, out *trafficKeys
}

// trafficKeys protect one direction (RFC 8446 §7.3) with AES-128-GCM.
type trafficKeys struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	serial uint64
}

func newTrafficKeys(t testing.TB, secret []byte) *trafficKeys {
	t.Helper()
	block, err := aes.NewCipher(expandLabel(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &trafficKeys{secret: secret, aead: aead, iv: expandLabel(t, secret, "iv", 12)}
}

// expandLabel is HKDF-Expand-Label without context (RFC 8446 §7.1).
func expandLabel(t testing.TB, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := string([]byte{0, byte(n), byte(len(label))}) + label + "\x00"
	key, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (k *trafficKeys) nonce() []byte {
	nonce := bytes.Clone(k.iv)
	for i := range 8 {
		nonce[11-i] ^= byte(k.serial >> (8 * i))
	}
	k.serial++
	return nonce
}

// seal is one record.
func (k *trafficKeys) seal(kind byte, data string) []byte {
	inner := append([]byte(data), kind)
	n := len(inner) + k.aead.Overhead()
	head := []byte{recordData, 3, 3, byte(n >> 8), byte(n)}
	return k.aead.Seal(head, k.nonce(), inner, head)
}

// update is the keys after a KeyUpdate (RFC 8446 §4.6.3).
func (k *trafficKeys) update(t testing.TB) *trafficKeys {
	return newTrafficKeys(t, expandLabel(t, k.secret, "traffic upd", 32))
}

func (p *rawPeer) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := p.Write(b); err != nil {
		t.Error(err)
	}
}

// receive is the next record.
func (p *rawPeer) receive() (kind byte, data string, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(p, head); err != nil {
		return 0, "", err
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(p, body); err != nil {
		return 0, "", err
	}
	inner, err := p.in.aead.Open(nil, p.in.nonce(), body, head)
	if err != nil {
		return 0, "", err
	}
	inner = bytes.TrimRight(inner, "\x00")
	return inner[len(inner)-1], string(inner[:len(inner)-1]), nil
}

const (
	keyUpdate        = "\x18\x00\x00\x01\x00"
	keyUpdateRequest = "\x18\x00\x00\x01\x01" // and be so kind to update yours
	closeNotify      = "\x01\x00"
)

// newRawPeer takes over from crypto/tls after a handshake, whose key log it is given.
func newRawPeer(t testing.TB, conn net.Conn, log string, server bool) *rawPeer {
	t.Helper()
	secret := func(who string) *trafficKeys {
		_, rest, ok := strings.Cut(log, who+"_TRAFFIC_SECRET_0 ")
		words := strings.Fields(rest)
		if !ok || len(words) < 2 {
			t.Fatalf("no secrets in %q", log)
		}
		b, err := hex.DecodeString(words[1])
		if err != nil {
			t.Fatal(err)
		}
		return newTrafficKeys(t, b)
	}
	p := &rawPeer{conn, secret("SERVER"), secret("CLIENT")}
	if server {
		p.in, p.out = p.out, p.in
	}
	return p
}

// A rig is an engine of one loop with what TLS needs.
type rig struct {
	testing.TB
	e              *Engine
	rt             engine.Runtime
	server, client *tls.Config
	secure         *TLS
}

func newRig(t testing.TB, kind string) *rig {
	t.Helper()
	r := &rig{TB: t, e: startEngine(t, 1)}
	r.rt = r.e.Runtime(0)
	r.server, r.client = configs(t, kind)
	r.secure = NewTLS(r.server)
	return r
}

// play runs f as a task.
func (r *rig) play(f func()) {
	r.Helper()
	if t, ok := r.TB.(*testing.T); ok {
		play(t, r.e, 0, f)
		return
	}
	done := make(chan struct{})
	if err := r.e.Start(0, func() { defer close(done); f() }); err != nil {
		r.Fatal(err)
	}
	<-done
}

// sockets is a connection: what is to be a stream, and its peer. It is called by no task.
func (r *rig) sockets() (ours, theirs net.Conn) {
	r.Helper()
	l := listen(r, "tcp", "127.0.0.1:0")
	defer l.Close()
	theirs = dial(r, l)
	ours, err := l.Accept()
	if err != nil {
		r.Fatal(err)
	}
	return ours, theirs
}

// accept makes a connection, as a server, of which client is the other end. It is called
// by a task.
func (r *rig) accept(client func(net.Conn) error) (Secured, error) {
	r.Helper()
	var ours, theirs net.Conn
	r.rt.Do(func() { ours, theirs = r.sockets() })
	s, err := r.e.Stream(0, ours)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- client(theirs) }()
	t, err := r.secure.Secure(s, r.rt.Now()+patience)
	if err != nil {
		s.Close()
	}
	var clientErr error
	r.rt.Do(func() { clientErr = <-done })
	if err == nil && clientErr != nil {
		t.Abort()
		return nil, clientErr
	}
	return t, err
}

// acceptRaw is accept with a peer that makes its records by itself.
func (r *rig) acceptRaw() (s Secured, p *rawPeer) {
	r.Helper()
	s, err := r.accept(func(c net.Conn) error {
		var log bytes.Buffer
		client := r.client.Clone()
		client.KeyLogWriter = &log
		client.MinVersion = tls.VersionTLS13
		conn := tls.Client(c, client)
		if err := conn.Handshake(); err != nil {
			return err
		}
		if suite := conn.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
			return fmt.Errorf("the cipher suite is %s", tls.CipherSuiteName(suite))
		}
		p = newRawPeer(r, c, log.String(), false)
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	return s, p
}

// acceptTLS is accept with a peer by crypto/tls.
func (r *rig) acceptTLS() (s Secured, peer *tls.Conn) {
	r.Helper()
	s, err := r.accept(func(c net.Conn) error {
		peer = tls.Client(c, r.client)
		return peer.Handshake()
	})
	if err != nil {
		r.Fatal(err)
	}
	return s, peer
}

// until waits for ok as a task.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := r.rt.Now() + patience; !ok(); r.rt.Sleep(r.rt.Now() + time.Millisecond/2) {
		if r.rt.Now() > end {
			r.Errorf("%s: not seen", what)
			return
		}
	}
}
