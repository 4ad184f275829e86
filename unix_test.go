package poise_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/proxyproto"
)

// Requests pass from a unix listener, with TLS, mutual TLS and the PROXY protocol over it, to unix
// endpoints that a file names and probes watch.
func TestUnixSocketsOnBothSides(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "endpoints.json")
	var urls []string
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s for=%s %s", name, r.Header.Get("X-Forwarded-For"), r.URL.Path)
		})}
		go server.Serve(l)
		defer server.Close()
		urls = append(urls, fmt.Sprintf(`{"url": "unix:%s"}`, path))
	}
	if err := os.WriteFile(list, []byte(`{"endpoints": [`+strings.Join(urls, ", ")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, engine := range poise.Engines() {
		c := poise.Config{
			Engine: engine, Logger: quiet, Routes: []poise.Route{{Service: "all"}},
			Services: map[string]poise.Service{"all": {
				Source: &poise.Source{File: &poise.FileSource{Path: list}}, Policy: poise.Policy{Type: "round_robin"},
				Health: &poise.Health{Check: "GET /health", Interval: 50 * time.Millisecond},
			}},
		}
		p := start(t, c)
		if err := p.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, secure := range []bool{false, true} {
			path := filepath.Join(dir, fmt.Sprint(engine, i))
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			around, err := p.ProxyListener(l, poise.ProxyProtocol{Trusted: []string{"192.0.2.1"}})
			if err == nil && secure {
				around, err = p.TLSListener(around, selfSigned(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			go p.Serve(around)
			tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
				if err == nil {
					_, err = conn.Write(proxyproto.Append2(nil, from("203.0.113.9:5000")))
				}
				return conn, err
			}
			url := map[bool]string{false: "http://a.test/x", true: "https://a.test/x"}[secure]
			seen := map[string]bool{}
			for range 4 {
				_, got := get(t, &http.Client{Transport: tr}, url)
				seen[got] = true
			}
			if len(seen) != 2 || !seen["a for=203.0.113.9 /x"] || !seen["b for=203.0.113.9 /x"] {
				t.Errorf("%s, TLS %v: %v", engine, secure, seen)
			}
		}
	}
}
