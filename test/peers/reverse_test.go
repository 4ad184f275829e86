//go:build linux

package peers

import (
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

var reverse = peer{
	name:    "httputil.ReverseProxy",
	install: func(*kit) (string, error) { return runtime.Version(), nil },
	start: func(t *testing.T, _ *kit, s setup) *rig.Process {
		return again(t, "reverseproxy", s, proxyCore)
	},
	cannot:  func(s setup) bool { return s.Log != "" },
	remarks: "`GOMAXPROCS=1`; net/http's server and transport, which keeps all connections; endpoints in turns; many routes by http.ServeMux",
}

// reverseProxy is what the standard library gives in an hour of work.
func reverseProxy() error {
	s, err := givenSetup()
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, max(1024, s.Pool)
	transport.DisableCompression = true
	if s.Inner {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	var endpoints []*url.URL
	for _, e := range s.Endpoints {
		endpoints = append(endpoints, &url.URL{Scheme: "http", Host: e})
	}
	var turn atomic.Uint64
	var handler http.Handler = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(endpoints[turn.Add(1)%uint64(len(endpoints))])
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			if host, _, err := net.SplitHostPort(r.In.RemoteAddr); err == nil {
				r.Out.Header.Set("X-Real-Ip", host)
			}
		},
	}
	if s.Routes > 0 {
		mux := http.NewServeMux()
		for i := range s.Routes {
			mux.Handle(fmt.Sprintf("/r%d/", i), handler)
		}
		handler = mux
	}
	server := &http.Server{Addr: s.Listen, Handler: handler, ErrorLog: log.Default(), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(s.Multi)
	server.Protocols.SetUnencryptedHTTP2(s.Multi)
	if s.Cert != "" {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
		return server.ListenAndServeTLS(s.Cert, s.Key)
	}
	return server.ListenAndServe()
}
