package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
)

func newLoop(t *testing.T) *sched.Loop {
	t.Helper()
	g, l := sched.NewGroup(time.Now().Add(-time.Second), 0), new(sched.Loop)
	if err := g.Add(l); err != nil {
		t.Fatal(err)
	}
	g.Run()
	t.Cleanup(g.Close)
	return l
}

// A loopConn is a net.Conn that is served by a loop.
type loopConn struct {
	net.Conn
	loop *sched.Loop
}

func (c loopConn) Loop() *sched.Loop { return c.loop }

// TestOnlySlowKeysOfLoopsAreReplaced: a quick key, and a key of a connection that no loop
// serves, is the very one that was configured.
func TestOnlySlowKeysOfLoopsAreReplaced(t *testing.T) {
	l := newLoop(t)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	long, _ := rsa.GenerateKey(rand.Reader, 2048)
	for _, c := range []struct {
		name           string
		key            crypto.PrivateKey
		slow, decrypts bool
	}{
		{"P-256", p256, false, false},
		{"Ed25519", ed, false, false},
		{"P-384", p384, true, false},
		{"RSA", long, true, true},
		{"no key at all", "text", false, false},
	} {
		config := &tls.Config{Certificates: []tls.Certificate{{PrivateKey: c.key}}}
		server := ForServer(config)
		there, err := server.GetCertificate(&tls.ClientHelloInfo{Conn: loopConn{loop: l}})
		if err != nil {
			t.Fatal(err)
		}
		if same := there == &config.Certificates[0]; same == c.slow {
			t.Errorf("%s: on a loop the certificate is itself: %v", c.name, same)
		}
		if _, can := there.PrivateKey.(decrypter); can != c.decrypts {
			t.Errorf("%s: decrypts on a goroutine: %v", c.name, can)
		}
		here, err := server.GetCertificate(&tls.ClientHelloInfo{Conn: &net.TCPConn{}})
		if err != nil || here != &config.Certificates[0] {
			t.Errorf("%s: a connection of another engine gets a copy (%v)", c.name, err)
		}
		dialed := ForClient(config, l).Certificates[0].PrivateKey
		if _, plain := dialed.(signer); (plain || c.decrypts) != c.slow {
			t.Errorf("%s: for a dial the key is a %T", c.name, dialed)
		}
	}
}

// A heldKey signs when open is closed.
type heldKey struct {
	crypto.Signer
	open chan struct{}
}

func (k heldKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	<-k.open
	return []byte("signed"), nil
}

// TestTooManyAreRefused: of many signatures at once those that find no room fail at once,
// as ones for which this process has no room, and all others are computed.
func TestTooManyAreRefused(t *testing.T) {
	l := newLoop(t)
	const many = 4096 // more than may wait
	open := make(chan struct{})
	key := signer{heldKey{open: open}, l}
	var signed, refused int // of tasks of one loop
	var all sync.WaitGroup
	all.Add(many)
	l.Post(sched.MessageFunc(func() {
		for range many {
			l.Start(func() {
				defer all.Done()
				signature, err := key.Sign(nil, nil, nil)
				switch {
				case err == nil && string(signature) == "signed":
					signed++
				case errors.Is(err, engine.ErrExhausted) && signature == nil:
					refused++
				default:
					t.Errorf("%q, %v", signature, err)
				}
				if refused == 1 && signed == 0 && err != nil {
					close(open)
				}
			})
		}
	}))
	all.Wait()
	if signed == 0 || refused == 0 || signed+refused != many {
		t.Errorf("%d signed, %d refused, of %d", signed, refused, many)
	}
}
