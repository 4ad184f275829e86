package loop

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/engine"
)

// signElsewhere is a copy of c whose certificates, when a loop asks for them, do not sign
// on that loop.
func signElsewhere(c *tls.Config) *tls.Config {
	out := c.Clone()
	out.Certificates = nil
	out.NameToCertificate = nil //lint:ignore SA1019 choose follows it, so that crypto/tls must not
	out.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		chosen, err := choose(c, hello)
		if w, ok := hello.Conn.(*wire); ok && err == nil {
			chosen = w.s.loop.withSigner(chosen)
		}
		return chosen, err
	}
	return out
}

// choose is how crypto/tls chooses among the certificates of c; it does not say so to
// anybody.
func choose(c *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil && (len(c.Certificates) == 0 || hello.ServerName != "") {
		if chosen, err := c.GetCertificate(hello); chosen != nil || err != nil {
			return chosen, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, errors.New("loop: no certificates configured")
	}
	if len(c.Certificates) == 1 {
		return &c.Certificates[0], nil
	}
	name := strings.ToLower(hello.ServerName)
	//lint:ignore SA1019 crypto/tls still follows it, and so must what stands in for it
	if chosen, ok := c.NameToCertificate[name]; ok {
		return chosen, nil
	}
	if first, _, _ := strings.Cut(name, "."); name != "" {
		//lint:ignore SA1019 as above
		if chosen, ok := c.NameToCertificate["*"+name[len(first):]]; ok {
			return chosen, nil
		}
	}
	for i := range c.Certificates {
		if hello.SupportsCertificate(&c.Certificates[i]) == nil {
			return &c.Certificates[i], nil
		}
	}
	return &c.Certificates[0], nil
}

// signAt is a copy of c, for one handshake with a server, that does not sign on l.
func signAt(c *tls.Config, l *loop) *tls.Config {
	out := c.Clone()
	out.Certificates = nil
	for i := range c.Certificates {
		out.Certificates = append(out.Certificates, *l.withSigner(&c.Certificates[i]))
	}
	if get := c.GetClientCertificate; get != nil {
		out.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			chosen, err := get(r)
			if err == nil {
				chosen = l.withSigner(chosen)
			}
			return chosen, err
		}
	}
	return out
}

// withSigner is c, or a copy if its key takes long.
func (l *loop) withSigner(c *tls.Certificate) *tls.Certificate {
	if c == nil || quick(c.PrivateKey) {
		return c
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return c
	}
	slow := *c
	slow.PrivateKey = signer{key, l}
	if d, ok := c.PrivateKey.(crypto.Decrypter); ok {
		slow.PrivateKey = decrypter{signer{key, l}, d}
	}
	return &slow
}

// quick reports whether key signs in some ten microseconds. Of a key we know nothing
// about, that may be a device, or somebody on the network.
func quick(key crypto.PrivateKey) bool {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key.Curve == elliptic.P256()
	case ed25519.PrivateKey:
		return true
	}
	return false
}

// A signer signs on a goroutine, and has the calling task of the loop wait.
type signer struct {
	crypto.Signer
	loop *loop
}

func (s signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	full := s.loop.compute(func() { signature, err = s.Signer.Sign(rand, digest, opts) })
	return signature, cmp.Or(full, err)
}

// A decrypter is for the key exchange of RSA, up to TLS 1.2.
type decrypter struct {
	signer
	key crypto.Decrypter
}

func (d decrypter) Decrypt(rand io.Reader, text []byte, opts crypto.DecrypterOpts) (plain []byte, err error) {
	full := d.loop.compute(func() { plain, err = d.key.Decrypt(rand, text, opts) })
	return plain, cmp.Or(full, err)
}

// queueMost bounds the computations that wait for a helper. More would not be done in time
// for their handshakes: a helper signs with 2,048 bits of RSA 700 times a second.
const queueMost = 1024

// errSignatures ends a handshake that would have to wait behind too many others.
var errSignatures = fmt.Errorf("loop: too many handshakes wait for a signature: %w", engine.ErrExhausted)

// compute runs f, which computes for long, on one of the engine's few helpers. It fails,
// and does not run f, when too many wait already.
func (l *loop) compute(f func()) error {
	c := &call{task: l.current}
	if !l.engine.helpers.give(l.engine, func() {
		defer l.mail.post(c)
		defer func() { c.cause = recover() }()
		f()
	}) {
		return errSignatures
	}
	l.await(c)
	return nil
}

// helpers are goroutines that compute for loops. There are only so many at once, since
// the loops want the same processors, and none when there is nothing to do.
type helpers struct {
	most int // leaves half of the processors to the loops

	mu    sync.Mutex // held for a moment only
	queue []func()
	busy  int

	refused atomic.Uint64 // computations that found the queue full
}

// give reports whether f will run.
func (h *helpers) give(e *Engine, f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) >= queueMost {
		h.refused.Add(1)
		return false
	}
	h.queue = append(h.queue, f)
	if h.busy < h.most {
		h.busy++
		e.side.Go(h.work)
	}
	return true
}

// work ends when there is nothing more to do. Between two jobs the loops have a turn.
func (h *helpers) work() {
	for f := h.next(); f != nil; f = h.next() {
		f()
		runtime.Gosched()
	}
}

func (h *helpers) next() func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		h.queue = nil
		h.busy--
		return nil
	}
	f := h.queue[0]
	h.queue[0] = nil
	h.queue = h.queue[1:]
	return f
}
