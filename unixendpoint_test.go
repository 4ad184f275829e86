package poise_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
)

// An endpoint at a unix socket may speak HTTP/2 in the clear, as gRPC servers do, and TLS with what
// that has: names, a certificate of the proxy, HTTP/2.
func TestUnixEndpointsSpeakWhatOthersDo(t *testing.T) {
	root := testcert.New(t, testcert.Template{Names: []string{"root"}})
	ca, _ := root.Files(t)
	cert, key := testcert.New(t, testcert.Template{Names: []string{"spiffe://example.org/poise"}, By: root}).Files(t)
	path := func(name string, secure *tls.Config) string {
		socket := filepath.Join(t.TempDir(), name)
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{TLSConfig: secure, Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := ""
			if r.TLS != nil {
				name = fmt.Sprint(r.TLS.ServerName, " ", len(r.TLS.PeerCertificates))
			}
			fmt.Fprintf(w, "%s %s", r.Proto, name)
		})}
		if secure == nil {
			go server.Serve(l)
		} else {
			go server.ServeTLS(l, "", "")
		}
		t.Cleanup(func() { server.Close() })
		return socket
	}
	own := func(names ...string) *tls.Config {
		c := testcert.New(t, testcert.Template{Names: names, By: root})
		return &tls.Config{Certificates: []tls.Certificate{c.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.Pool()}
	}
	plain, local, named := path("a", nil), path("b", own("localhost")), path("c", own("spiffe://example.org/app"))
	secure := poise.EndpointTLS{CA: ca, Cert: cert, Key: key}
	byID := secure
	byID.SPIFFE = []string{"spiffe://example.org/app"}
	for _, engine := range poise.Engines() {
		for _, one := range []struct {
			url, protocol string
			tls           *poise.EndpointTLS
			want          string
		}{
			{"unix:" + plain, "", nil, "HTTP/1.1 "},
			{"unix:" + plain, "http2", nil, "HTTP/2.0 "},
			{"h2c://unix:" + plain, "", nil, "HTTP/2.0 "},
			{"https://unix:" + local, "", &secure, "HTTP/1.1 localhost 1"},
			{"https://unix:" + named, "auto", &byID, "HTTP/2.0 localhost 1"},
			{"https://unix:" + named, "", &secure, ""}, // it is not localhost
		} {
			c := toAll(one.url)
			c.Engine = engine
			s := c.Services["all"]
			s.Protocol, s.TLS, s.Retry.SameAfter = one.protocol, one.tls, -1
			c.Services["all"] = s
			status, got := get(t, http.DefaultClient, "http://"+serve(t, start(t, c)))
			if (status == 200) != (one.want != "") || status == 200 && got != one.want {
				t.Errorf("%s: %s %s: %d %q, want %q", engine, one.url, one.protocol, status, got, one.want)
			}
		}
	}
}
