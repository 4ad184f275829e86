package soak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// A server runs a proxy's listeners until the proxy is closed.
type server interface {
	// end closes p and waits for what was started.
	end(ctx context.Context, p *poise.Proxy) error
}

// A front is a running proxy.
type front struct {
	*poise.Proxy
	server
	plain, secure string // addresses
}

// engines are what can be soaked, by the names the command line has for them.
func engines() []string { return append(poise.Engines(), "std") }

// start starts a proxy that is run by that engine. It is the only place that knows how.
func start(engine string, c poise.Config, t poise.TLS) (*front, error) {
	if !slices.Contains(engines(), engine) {
		return nil, fmt.Errorf("there is no engine %q: it is one of %q", engine, engines())
	}
	begin := serve
	if c.Engine = engine; engine == "std" {
		c.Engine, begin = "goroutine", mount
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p, err := poise.New(c)
	if err != nil {
		return nil, err
	}
	return &front{p, begin(p, plain, secure, t), plain.Addr().String(), secure.Addr().String()}, nil
}

// served is a proxy that reads from its listeners itself.
type served struct {
	done sync.WaitGroup
	errs [2]error
}

func serve(p *poise.Proxy, plain, secure net.Listener, t poise.TLS) server {
	s := &served{}
	s.done.Go(func() { s.errs[0] = p.Serve(plain) })
	s.done.Go(func() { s.errs[1] = p.ServeTLS(secure, t) })
	return s
}

func (s *served) end(ctx context.Context, p *poise.Proxy) error {
	err := p.Close(ctx)
	s.done.Wait()
	for _, e := range s.errs {
		if !errors.Is(e, poise.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// mounted is a proxy that net/http reads for.
type mounted struct {
	http http.Server
	done sync.WaitGroup
}

func mount(p *poise.Proxy, plain, secure net.Listener, t poise.TLS) server {
	m := &mounted{http: http.Server{Handler: p, ErrorLog: stdlog.New(io.Discard, "", 0)}}
	m.done.Go(func() { m.http.Serve(plain) })
	m.done.Go(func() { m.http.ServeTLS(secure, t.Certificates[0].Cert, t.Certificates[0].Key) })
	return m
}

func (m *mounted) end(ctx context.Context, p *poise.Proxy) error {
	err := m.http.Shutdown(ctx)
	m.done.Wait()
	return errors.Join(err, p.Close(ctx))
}

// papers are certificates made for one test.
type papers struct {
	front    poise.TLS
	ca       string      // file
	trust    *tls.Config // a client's
	endpoint *tls.Config // an endpoint's
}

func newPapers(t *testing.T) *papers {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "soak.example"},
		DNSNames:              []string{"soak.example"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for last := range 40 {
		template.IPAddresses = append(template.IPAddresses, net.IPv4(127, 0, 0, byte(last)))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, secret := rig.Pair(t, der, key)
	p := &papers{ca: cert}
	p.front.Certificates = []poise.Certificate{{Cert: cert, Key: secret}}
	p.endpoint = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	p.trust = &tls.Config{RootCAs: pool, ServerName: "soak.example"}
	return p
}
