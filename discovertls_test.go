package poise_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/testcert"
)

// {service} in the names that endpoints are verified by is the name of the service: an instance
// must prove the name that it is registered under, and no certificate of another service will do.
func TestDiscoveredServicesProveTheirNames(t *testing.T) {
	root := testcert.New(t, testcert.Template{Names: []string{"root"}})
	ca, _ := root.Files(t)
	cert, key := testcert.New(t, testcert.Template{Names: []string{"spiffe://example.org/poise"}, By: root}).Files(t)
	folder := t.TempDir()
	register := func(service string, names ...string) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.TLS.ServerName) }))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{testcert.New(t, testcert.Template{Names: names, By: root}).TLS}}
		server.StartTLS()
		t.Cleanup(server.Close)
		if err := os.WriteFile(filepath.Join(folder, service+".json"), fmt.Appendf(nil, "[%q]", server.URL), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	register("orders", "spiffe://example.org/orders")
	register("stock", "spiffe://example.org/orders") // it is not what it was registered as
	register("cart", "cart.internal")
	for _, engine := range poise.Engines() {
		c := poise.Config{
			Engine: engine, Logger: quiet,
			Discover: map[string]config.Discover{"mesh": {
				Source: config.Source{File: &config.FileSource{Path: filepath.Join(folder, "{service}.json")}},
				Retry:  poise.Retry{SameAfter: -1},
				TLS: &poise.EndpointTLS{CA: ca, Cert: cert, Key: key, ServerName: "{service}.internal",
					SAN: []string{"{service}.internal"}, SPIFFE: []string{"spiffe://example.org/{service}"}},
			}},
			Routes: []poise.Route{{Match: poise.Match{Path: "/{service}/**"}, Discover: "mesh"}},
		}
		p := start(t, c)
		front := "http://" + serve(t, p)
		for range 2 { // again after the configuration was applied anew
			for path, want := range map[string]string{"/orders/1": "orders.internal", "/cart/1": "cart.internal", "/stock/1": ""} {
				res, err := http.Get(front + path)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				switch {
				case want == "" && res.StatusCode != 502:
					t.Errorf("%s: %s: %s, want 502", engine, path, res.Status)
				case want != "" && (res.StatusCode != 200 || string(text) != want):
					t.Errorf("%s: %s: %s %s, want %s", engine, path, res.Status, text, want)
				}
			}
			if err := p.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
	}
}
