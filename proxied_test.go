package poise_test

// Clients behind another proxy that speaks the PROXY protocol.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/proxyproto"
	"github.com/poise-lb/poise/internal/testcert"
)

// behind is a listener of p behind proxies, with TLS or without, and its address.
func behind(t *testing.T, p *poise.Proxy, how poise.ProxyProtocol, secure bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	around, err := p.ProxyListener(l, how)
	if err == nil && secure {
		around, err = p.TLSListener(around, selfSigned(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(around)
	return l.Addr().String()
}

// announcing is a client whose connections begin with these bytes, in pieces of so many.
func announcing(header []byte, piece int, h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, ForceAttemptHTTP2: h2}
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		for rest := header; err == nil && len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			_, err = c.Write(rest[:min(piece, len(rest))])
		}
		return c, err
	}
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func from(address string) proxyproto.Header {
	return proxyproto.Header{Source: netip.MustParseAddrPort(address), Destination: netip.MustParseAddrPort("10.0.0.1:443")}
}

// The address of the header is the client's: for X-Forwarded-For, the access log and the limit of
// connections per client; on every engine, for both versions, below TLS and without.
func TestClientsBehindAProxy(t *testing.T) {
	for _, engine := range poise.Engines() {
		c := toAll(named(t, "a"))
		c.Engine = engine
		p := start(t, c)
		trusting := poise.ProxyProtocol{Trusted: []string{"127.0.0.0/8"}}
		for _, secure := range []bool{false, true} {
			address := behind(t, p, trusting, secure)
			url := map[bool]string{false: "http://", true: "https://"}[secure] + address
			for _, one := range []struct {
				header []byte
				want   string
			}{
				{proxyproto.Append1(nil, from("203.0.113.9:5000")), "for=203.0.113.9 "},
				{proxyproto.Append2(nil, from("203.0.113.9:5000")), "for=203.0.113.9 "},
				{proxyproto.Append1(nil, from("[2001:db8::9]:5000")), "for=2001:db8::9 "},
				{proxyproto.Append2(nil, from("[2001:db8::9]:5000")), "for=2001:db8::9 "},
				{proxyproto.Append1(nil, proxyproto.Header{}), "for=127.0.0.1 "},
				{proxyproto.Append2(nil, proxyproto.Header{}), "for=127.0.0.1 "},
				{nil, ""}, {[]byte("PROXY TCP4 1.1.1.1\r\n\r\n\r\n\r\n\r\n"), ""},
			} {
				for _, h2 := range []bool{false, secure} {
					for _, piece := range []int{1, 1000} {
						res, err := announcing(one.header, piece, h2).Get(url)
						got := ""
						if err == nil {
							b, _ := io.ReadAll(res.Body)
							got = string(b)
							res.Body.Close()
						}
						if (err != nil) != (one.want == "") || !strings.Contains(got, one.want) || h2 && err == nil && res.ProtoMajor != 2 {
							t.Errorf("%s, TLS %v, %q in pieces of %d: %s, %v", engine, secure, one.header, piece, got, err)
						}
					}
				}
			}
		}
	}
}

// lines are what a logger has written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// Peers that are not trusted are refused, or served as clients; what they send is never taken for
// a header.
func TestPeersThatAreNoProxies(t *testing.T) {
	for _, engine := range poise.Engines() {
		var log lines
		c := toAll(named(t, "a"))
		c.Engine, c.Logger = engine, slog.New(slog.NewTextHandler(&log, nil))
		p := start(t, c)
		header := proxyproto.Append1(nil, from("203.0.113.9:5000"))
		refusing := "http://" + behind(t, p, poise.ProxyProtocol{Trusted: []string{"10.0.0.0/8"}}, false)
		serving := "http://" + behind(t, p, poise.ProxyProtocol{Trusted: []string{"10.0.0.0/8"}, Others: "serve"}, false)
		if _, err := announcing(header, 1000, false).Get(refusing); err == nil {
			t.Errorf("%s: a peer that is not trusted was believed", engine)
		}
		if _, err := http.Get(refusing); err == nil {
			t.Errorf("%s: a peer that is not trusted was served", engine)
		}
		eventually(t, "it is said", func() bool { return log.has("the peer is not in proxy_protocol.trusted") })
		if _, got := get(t, announcing(nil, 1, false), serving); !strings.Contains(got, "for=127.0.0.1 ") {
			t.Errorf("%s: %s", engine, got)
		}
		if status := statusOf(t, strings.TrimPrefix(serving, "http://"), header); status != 400 {
			t.Errorf("%s: a header of a peer that may not send one: %d", engine, status)
		}
	}
}

// statusOf sends a request behind a header, in one write, and returns the status of the answer. A
// client of net/http would take an answer to the header alone for one that it has not asked for.
func statusOf(t *testing.T, address string, header []byte) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%sGET / HTTP/1.1\r\nHost: a\r\n\r\n", header)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// Connections count for the client that the header names, from the header on.
func TestClientsBehindAProxyAreCounted(t *testing.T) {
	for _, engine := range poise.Engines() {
		c := toAll(named(t, "a"))
		c.Engine, c.Limits.ConnectionsPerClient = engine, 2
		p := start(t, c)
		address := behind(t, p, poise.ProxyProtocol{Trusted: []string{"127.0.0.1"}}, false)
		open := func(client string) (answered bool) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			fmt.Fprintf(conn, "%sGET / HTTP/1.1\r\nHost: a\r\n\r\n", proxyproto.Append2(nil, from(client+":1")))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			return err == nil && res.StatusCode == 200
		}
		for i, one := range []struct {
			client string
			ok     bool
		}{{"203.0.113.1", true}, {"203.0.113.1", true}, {"203.0.113.1", false}, {"203.0.113.2", true}, {"203.0.113.2", true}, {"203.0.113.2", false}, {"203.0.113.3", true}} {
			if open(one.client) != one.ok {
				t.Errorf("%s: connection %d, of %s: %v", engine, i, one.client, !one.ok)
			}
		}
		counted(t, p, fmt.Sprintf(`poise_client_connections{listener=%q,state="idle"} 5`, address), fmt.Sprintf(`poise_client_connections_refused_total{listener=%q,cause="limit"} 2`, address))
	}
}

// A peer that sends no header, or half of one, is closed after timeouts.head; and Close does not
// wait for one.
func TestHeadersThatDoNotCome(t *testing.T) {
	for _, engine := range poise.Engines() {
		c := toAll(named(t, "a"))
		c.Engine, c.Timeouts.Head = engine, 100*time.Millisecond
		p := start(t, c)
		address := behind(t, p, poise.ProxyProtocol{Trusted: []string{"127.0.0.1"}}, true)
		for _, text := range []string{"", "PROXY TCP4 1.1", "\r\n\r\n\x00\r\nQUIT\n\x21"} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, text)
			conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: after %q: %d bytes, %v", engine, text, n, err)
			}
			conn.Close()
		}
		c.Timeouts.Head = time.Hour
		if err := p.Apply(c); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		counted(t, p, fmt.Sprintf(`poise_client_connections{listener=%q,state="idle"} 1`, address))
		shut(t, p)
	}
}

// An announcedEndpoint is one whose connections begin with a header of the PROXY protocol.
type announcedEndpoint struct {
	net.Listener
	mu     sync.Mutex
	probes int // headers without an address
	bad    []error
}

func (a *announcedEndpoint) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		h, err := proxyproto.Read(c)
		c.SetReadDeadline(time.Time{})
		a.mu.Lock()
		if err != nil && err != io.EOF { // which is a probe that the end of the proxy broke off
			a.bad = append(a.bad, err)
		} else if err == nil && !h.Source.IsValid() {
			a.probes++
		}
		a.mu.Unlock()
		if err == nil {
			return &announcedConn{c, h}, nil
		}
		c.Close()
	}
}

type announcedConn struct {
	net.Conn
	h proxyproto.Header
}

func (c *announcedConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.h.Source) }

// Endpoints learn who the client is, from each of its connections, and never by the connection of
// another client.
func TestEndpointsLearnWhoTheClientIs(t *testing.T) {
	for _, engine := range poise.Engines() {
		for version, secure := range map[string]bool{"v1": false, "v2": true} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			a := &announcedEndpoint{Listener: l}
			var in net.Listener = a
			url := "http://" + l.Addr().String()
			if secure {
				in, url = tls.NewListener(a, &tls.Config{Certificates: []tls.Certificate{testcert.New(t, testcert.Template{}).TLS}}), "https://"+l.Addr().String()
			}
			var opened, closed atomic.Int64
			server := &http.Server{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/health" {
						fmt.Fprint(w, r.RemoteAddr)
					}
				}),
				ConnState: func(_ net.Conn, s http.ConnState) {
					switch s {
					case http.StateNew:
						opened.Add(1)
					case http.StateClosed:
						closed.Add(1)
					}
				},
			}
			go server.Serve(in)
			c := toAll(url)
			c.Engine = engine
			s := c.Services["all"]
			s.ProxyProtocol, s.TLS = version, &poise.EndpointTLS{Insecure: true}
			c.Services["all"] = s
			p := start(t, c)
			address := serve(t, p)
			visit := func(conn net.Conn) {
				t.Helper()
				fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(res.Body)
				if string(b) != conn.LocalAddr().String() {
					t.Errorf("%s, %s: the endpoint was told %s, the client is %s", engine, version, b, conn.LocalAddr())
				}
			}
			var clients []net.Conn
			for range 3 {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				clients = append(clients, conn)
			}
			for range 3 {
				for _, conn := range clients {
					visit(conn)
				}
			}
			if n := opened.Load(); n != 3 {
				t.Errorf("%s, %s: %d connections for 3 clients with 3 requests each", engine, version, n)
			}
			for _, conn := range clients { // their connections to the endpoint end with them
				conn.Close()
			}
			eventually(t, "the connections of clients that have left end", func() bool { return closed.Load() == 3 })

			address = secured(t, p, poise.TLS{})
			for range 2 {
				got, _, err := forge(certified(nil, true, nil), "https://"+address+"/")
				if err != nil || !strings.HasPrefix(got, "127.0.0.1:") {
					t.Errorf("%s, %s, HTTP/2: %s, %v", engine, version, got, err)
				}
			}
			s.Health = &poise.Health{Check: "GET /health", Interval: 20 * time.Millisecond}
			c.Services = map[string]poise.Service{"all": s}
			if err := p.Apply(c); err != nil {
				t.Fatal(err)
			}
			eventually(t, "probes come", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.probes > 0 })
			shut(t, p)
			server.Close()
			if a.bad != nil {
				t.Errorf("%s, %s: %v", engine, version, a.bad)
			}
		}
	}
}
