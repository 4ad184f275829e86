package poise_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
)

// A client whose handshake is under way when the listeners close is served: it has a
// connection, and does not know that it is the last one.
func TestHandshakeDuringClose(t *testing.T) {
	cert := testcert.New(t, testcert.Template{Names: []string{"127.0.0.1"}})
	certFile, keyFile := cert.Files(t)
	secured := poise.TLS{Certificates: []poise.Certificate{{Cert: certFile, Key: keyFile}}}
	for _, engine := range poise.Engines() {
		for _, proto := range []string{"http/1.1", "h2"} {
			t.Run(engine+" "+proto, func(t *testing.T) {
				behind := startService("a")
				defer behind.Close()
				p, err := poise.New(poise.Config{
					Engine:   engine,
					Services: map[string]poise.Service{"web": {Endpoints: []poise.Endpoint{{URL: behind.URL}}}},
					Routes:   []poise.Route{{Service: "web"}},
				})
				if err != nil {
					t.Fatal(err)
				}
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				served := make(chan error, 1)
				go func() { served <- p.ServeTLS(l, secured) }()

				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				held := &heldConn{Conn: conn, release: make(chan struct{}), began: make(chan struct{})}
				answer := make(chan error, 1)
				client := &http.Client{Transport: &http.Transport{
					ForceAttemptHTTP2: proto == "h2",
					DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
						c := tls.Client(held, &tls.Config{RootCAs: cert.Pool(), ServerName: "127.0.0.1", NextProtos: []string{proto}})
						return c, c.HandshakeContext(ctx)
					},
				}}
				go func() {
					r, err := client.Get("https://127.0.0.1/")
					if err == nil {
						_, err = io.Copy(io.Discard, r.Body)
						r.Body.Close()
					}
					answer <- err
				}()
				<-held.began // the proxy has answered the first message: it is in the handshake
				closed := make(chan error, 1)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				go func() { closed <- p.Close(ctx) }()
				for { // until nothing listens any more
					other, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						break
					}
					other.Close()
				}
				time.Sleep(50 * time.Millisecond) // Close goes on: it would have broken off the handshake by now
				close(held.release)
				if err := <-answer; err != nil {
					t.Error(err)
				}
				client.CloseIdleConnections()
				if err := <-closed; err != nil {
					t.Error(err)
				}
				<-served
			})
		}
	}
}

// A heldConn reads what the server says first, and gives nothing of it to the client until
// release is closed.
type heldConn struct {
	net.Conn
	release, began chan struct{}
	read           bool
}

func (c *heldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.read {
		c.read = true
		close(c.began)
		<-c.release
	}
	return n, err
}

// What Handover returns is JSON, and what is no handover is ignored.
func TestHandover(t *testing.T) {
	c := poise.Config{
		Services: map[string]poise.Service{"web": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:1"}}}},
		Routes:   []poise.Route{{Service: "web"}},
	}
	var last []byte
	for _, from := range []string{"", "nonsense", `{"version":99}`, "last"} {
		if c.Handover = []byte(from); from == "last" {
			c.Handover = last
		}
		p, err := poise.New(c)
		if err != nil {
			t.Fatal(err)
		}
		last = p.Handover()
		var h struct {
			Version int
			Known   struct {
				Services map[string]struct{ Endpoints []struct{ Address string } }
			}
			Tickets []struct{ Key []byte }
		}
		if err := json.Unmarshal(last, &h); err != nil || h.Version != 1 || len(h.Tickets) != 1 || h.Known.Services["web"].Endpoints[0].Address != "127.0.0.1:1" {
			t.Errorf("%s: %v", last, err)
		}
		p.Close(t.Context())
	}
}
