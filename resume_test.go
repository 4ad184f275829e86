package poise_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
)

// Clients resume their sessions after reloads, at another listener, on whatever loop, and after
// the certificate was replaced: the keys of tickets are those of the proxy. That they also outlive
// a rotation of the keys is tested in internal/tickets.
func TestSessionsOutliveReloads(t *testing.T) {
	cert, key := testcert.New(t, testcert.Template{}).Files(t)
	how := poise.TLS{Certificates: []poise.Certificate{{Cert: cert, Key: key}}}
	for _, engine := range poise.Engines() {
		c := toAll(named(t, "a"))
		c.Engine, c.Workers = engine, 2
		p := start(t, c)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1),
			}}
			client := &http.Client{Transport: tr}
			for reload := range 6 {
				testcert.New(t, testcert.Template{}).Write(t, cert, key)
				if err := p.Apply(c); err != nil {
					t.Fatal(err)
				}
				socket, err := net.Listen("tcp", "127.0.0.1:0") // as the binary does where TLS has changed
				if err != nil {
					t.Fatal(err)
				}
				l, err := p.TLSListener(socket, how)
				if err != nil {
					t.Fatal(err)
				}
				served := make(chan error, 1)
				go func() { served <- p.Serve(l) }()
				for visit := range 3 {
					res, err := client.Get(fmt.Sprintf("https://%s/", socket.Addr()))
					if err != nil {
						t.Fatal(err)
					}
					res.Body.Close()
					if first := reload == 0 && visit == 0; res.TLS.DidResume == first {
						t.Errorf("%s, version %x, reload %d, visit %d: resumed %v", engine, version, reload, visit, res.TLS.DidResume)
					}
				}
				l.Close()
				<-served
			}
		}
	}
}
