package soak

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
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
	names := []string{"soak.example"}
	for last := range 40 {
		names = append(names, net.IPv4(127, 0, 0, byte(last)).String())
	}
	c := testcert.New(t, testcert.Template{Names: names})
	cert, secret := c.Files(t)
	p := &papers{ca: cert}
	p.front.Certificates = []poise.Certificate{{Cert: cert, Key: secret}}
	p.endpoint = &tls.Config{Certificates: []tls.Certificate{c.TLS}}
	p.trust = &tls.Config{RootCAs: c.Pool(), ServerName: "soak.example"}
	return p
}
