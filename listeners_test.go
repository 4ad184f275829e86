package poise_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/metric"
)

// Connections and handshakes are counted at the listener that they came by, on every engine and
// for both versions of HTTP; each connection once, though another engine may take it over.
func TestListenersCount(t *testing.T) {
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			c := toAll(named(t, "a"))
			c.Engine, c.Limits.ConnectionsPerClient = engine, 3
			p := start(t, c)
			plain := serve(t, p)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go p.ServeTLS(l, selfSigned(t))
			socket := filepath.Join(t.TempDir(), "s")
			u, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			go p.Serve(u)

			cache := tls.NewLRUClientSessionCache(2)
			for _, h2 := range []bool{false, false, true} { // full, resumed, resumed
				tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: cache}, ForceAttemptHTTP2: h2}
				if !h2 {
					tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
				}
				get(t, &http.Client{Transport: tr}, "https://"+l.Addr().String())
				tr.CloseIdleConnections()
			}
			secure := l.Addr().String()
			none := []string{fmt.Sprintf(`poise_client_connections{listener=%q,state="active"} 0`, secure), fmt.Sprintf(`poise_client_connections{listener=%q,state="idle"} 0`, secure)}
			counted(t, p, none...) // so that the limit is not in the way
			if _, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
				t.Error("an old version was taken")
			}
			counted(t, p, append(none, fmt.Sprintf(`poise_tls_handshakes_total{listener=%q,result="failed"} 1`, secure))...)
			for range 4 {
				conn, err := net.Dial("tcp", plain)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			want := strings.NewReplacer("PLAIN", plain, "SECURE", secure, "UNIX", "unix:"+socket).Replace(`poise_client_connections{listener="PLAIN",state="active"} 0
poise_client_connections{listener="PLAIN",state="idle"} 3
poise_client_connections{listener="SECURE",state="active"} 0
poise_client_connections{listener="SECURE",state="idle"} 0
poise_client_connections{listener="UNIX",state="active"} 0
poise_client_connections{listener="UNIX",state="idle"} 1
poise_client_connections_accepted_total{listener="PLAIN"} 4
poise_client_connections_accepted_total{listener="SECURE"} 4
poise_client_connections_accepted_total{listener="UNIX"} 1
poise_client_connections_refused_total{listener="PLAIN",cause="limit"} 1
poise_client_connections_refused_total{listener="SECURE",cause="limit"} 0
poise_tls_handshakes_total{listener="SECURE",result="full"} 1
poise_tls_handshakes_total{listener="SECURE",result="resumed"} 2
poise_tls_handshakes_total{listener="SECURE",result="failed"} 1`)
			// A connection is counted when it is accepted, and has its loop a moment later.
			served, text := -1, ""
			for end := time.Now().Add(30 * time.Second); served != 4*b2i(engine == "loop") && time.Now().Before(end); {
				text, served = counted(t, p, strings.Split(want, "\n")...), 0
				for _, m := range regexp.MustCompile(`poise_worker_connections{worker="\d+"} (\d+)`).FindAllStringSubmatch(text, -1) {
					n, _ := strconv.Atoi(m[1])
					served += n
				}
			}
			if served != 4*b2i(engine == "loop") {
				t.Errorf("the loops have %d connections", served)
			}
			if n := strings.Count(text, "poise_tls_handshakes_total{"); n != 4 {
				t.Errorf("%d series of handshakes, though one listener has TLS:\n%s", n, text)
			}
		})
	}
}

// A connection is active while requests are under way on it, however long: an answer that is waited
// for, a stream of events that nothing comes by, several requests of HTTP/2, half a head of HTTP/1.1.
func TestActiveConnections(t *testing.T) {
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			release := make(chan struct{})
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/events" {
					w.WriteHeader(200)
					http.NewResponseController(w).Flush()
				}
				if r.URL.Path != "/" {
					<-release
				}
			}))
			t.Cleanup(slow.Close)
			var once sync.Once
			end := func() { once.Do(func() { close(release) }) }
			t.Cleanup(end)
			c := toAll(slow.URL)
			c.Engine = engine
			p := start(t, c)
			plain := serve(t, p)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go p.ServeTLS(p.NamedListener(l, "named"), selfSigned(t))
			secure := l.Addr().String()
			are := func(listener string, active, idle int) {
				t.Helper()
				counted(t, p, fmt.Sprintf(`poise_client_connections{listener=%q,state="active"} %d`, listener, active),
					fmt.Sprintf(`poise_client_connections{listener=%q,state="idle"} %d`, listener, idle))
			}
			open := func(text string) net.Conn {
				t.Helper()
				conn, err := net.Dial("tcp", plain)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				io.WriteString(conn, text)
				return conn
			}

			open("")
			poll := open("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
			open("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
			half := open("GET / HTTP/1.1\r\n")
			are(plain, 3, 1)
			io.WriteString(half, "Host: a\r\n\r\n")
			are(plain, 2, 2)

			h2 := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
			t.Cleanup(h2.CloseIdleConnections)
			if status, _ := get(t, h2, "https://"+secure); status != 200 {
				t.Fatal(status)
			}
			are(secure, 0, 1)
			for range 3 {
				go h2.Get("https://" + secure + "/poll")
			}
			counted(t, p, `poise_requests_in_flight{route="/**",service="all"} 5`)
			are(secure, 1, 0)

			end()
			are(plain, 0, 4)
			are(secure, 0, 1)
			poll.Close()
			are(plain, 0, 3)
		})
	}
}

// counted waits until the metrics of process and services have these lines: counting is a moment behind
// what a client sees.
func counted(t *testing.T, p *poise.Proxy, lines ...string) string {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		text := scrape(t, p, false, metric.Options{Scopes: metric.Process | metric.Service | metric.Route})
		missing := ""
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				missing = line
			}
		}
		if missing == "" {
			return text
		}
		if time.Now().After(limit) {
			t.Fatalf("there is no line %s in\n%s", missing, text)
		}
	}
}

// Each part of a source that is made of several has series of its own, by its kind.
func TestSourcesCount(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "none.json")
	p := start(t, poise.Config{
		Services: map[string]poise.Service{
			"one": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:1"}}},
			"both": {Source: &poise.Source{Merge: []poise.SourcePart{
				{Source: poise.Source{Custom: discovery.Static(nil)}}, {Source: poise.Source{File: &poise.FileSource{Path: bad}}},
			}}},
		},
		Routes: []poise.Route{{Match: poise.Match{Path: "/one"}, Service: "one"}, {Service: "both"}},
	})
	want := `poise_source_held_endpoints{service="both",source="merge"} 0
poise_source_held_endpoints{service="one",source="list"} 0
poise_source_rejected_entries{service="both",source="custom"} 0
poise_source_rejected_entries{service="both",source="file"} 0
poise_source_stale_seconds{service="both",source="custom"} 0
poise_source_stale_seconds{service="one",source="list"} 0
poise_source_updates_total{service="both",source="custom",result="applied"} 1
poise_source_updates_total{service="both",source="custom",result="failed"} 0
poise_source_updates_total{service="both",source="file",result="applied"} 0
poise_source_updates_total{service="both",source="file",result="failed"} 1
poise_source_updates_total{service="both",source="merge",result="held"} 0`
	text := counted(t, p, strings.Split(want, "\n")...)
	if stale := `poise_source_stale_seconds{service="both",source="file"} `; !strings.Contains(text, stale) || strings.Contains(text, stale+"0\n") {
		t.Errorf("the part that fails is not stale:\n%s", text)
	}
}
