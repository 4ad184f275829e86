package poise_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
)

// TestAuthoritiesOfEndpointsAreFollowed: an endpoint's certificate is of a new authority,
// and so is the file of authorities a moment later. No Apply is needed. A file that is of
// no use changes nothing, and Apply of the same configuration takes new content as well.
func TestAuthoritiesOfEndpointsAreFollowed(t *testing.T) {
	var present atomic.Pointer[tls.Certificate]
	change := func() []byte {
		c := testcert.New(t, testcert.Template{Names: []string{"endpoint.example"}})
		present.Store(&c.TLS)
		return c.Cert
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	put := func(content []byte) { t.Helper(); testcert.Replace(t, path, content) }
	put(change())
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	endpoint.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	endpoint.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*present.Load()}, SessionTicketsDisabled: true}, nil
	}}
	endpoint.StartTLS()
	defer endpoint.Close()
	c := poise.Config{
		Services: map[string]poise.Service{"all": {
			Endpoints: []poise.Endpoint{{URL: endpoint.URL}}, Breaker: poise.Breaker{Off: true}, Retry: poise.Retry{Attempts: 1},
			TLS: &poise.EndpointTLS{CA: path, ServerName: "endpoint.example"},
		}},
		Routes: []poise.Route{{Service: "all"}},
		Logger: quiet,
	}
	p := start(t, c)
	front := httptest.NewServer(p)
	defer front.Close()
	status := func() int {
		res, err := front.Client().Get(front.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := status(); got != 200 {
		t.Fatalf("at first: %d", got)
	}

	ca := change()
	endpoint.CloseClientConnections()
	eventually(t, "the old authority does not do", func() bool { return status() == 502 })
	put([]byte("nothing"))
	put(ca)
	eventually(t, "the new authority is used", func() bool { return status() == 200 })

	put([]byte("nothing"))
	if err := p.Apply(c); err == nil {
		t.Error("a file without authorities was applied")
	}
	time.Sleep(500 * time.Millisecond) // the watcher has looked at the bad file, too
	endpoint.CloseClientConnections()
	eventually(t, "a bad file changes nothing", func() bool { return status() == 200 })

	ca = change()
	put(ca)
	if err := p.Apply(c); err != nil { // sees it, whether the watcher has done so or not
		t.Error(err)
	}
	endpoint.CloseClientConnections()
	eventually(t, "Apply takes the new content", func() bool { return status() == 200 })
}
