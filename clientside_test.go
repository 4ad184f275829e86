package poise_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// A way is how clients reach a Proxy whose client's side net/http reads and writes.
type way struct {
	name   string
	client *http.Client
	url    string
	closed chan struct{} // when the client's first connection has ended
}

// endSignal is a connection that tells of its end.
type endSignal struct {
	net.Conn
	once  *sync.Once
	ended chan struct{}
}

func (c endSignal) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() { close(c.ended) })
	}
	return n, err
}

func (c endSignal) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}

// overHTTP2 reaches p over TLS, by HTTP/2.
func overHTTP2(t *testing.T, p *poise.Proxy) way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go p.ServeTLS(l, selfSigned(t))
	w := way{name: "HTTP/2", url: "https://" + l.Addr().String(), closed: make(chan struct{})}
	var once sync.Once
	tr := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return endSignal{c, &once, w.closed}, err
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	w.client = &http.Client{Transport: tr}
	return w
}

// mounted reaches p as a handler of a server of net/http.
func mounted(t *testing.T, p *poise.Proxy) way {
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return way{name: "mounted", url: s.URL, client: &http.Client{Transport: tr}}
}

// own reaches p by a listener that p serves itself.
func own(t *testing.T, p *poise.Proxy) way {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return way{name: "own", url: "http://" + serve(t, p), client: &http.Client{Transport: tr}}
}

// bothWays starts a Proxy and has f play against it, on each way.
func bothWays(t *testing.T, c poise.Config, f func(t *testing.T, p *poise.Proxy, w way)) {
	for name, reach := range map[string]func(*testing.T, *poise.Proxy) way{"HTTP/2": overHTTP2, "mounted": mounted} {
		t.Run(name, func(t *testing.T) {
			p := start(t, c)
			defer shut(t, p)
			f(t, p, reach(t, p))
		})
	}
}

// within waits for c, for a machine that has much else to do.
func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not within 20 s", what)
	}
}

// timed is a configuration with short timeouts.
func timed(c poise.Config, idle, stall time.Duration) poise.Config {
	c.Timeouts.Idle, c.Timeouts.Stall = idle, stall
	return c
}

func TestIdleConnectionsOfHTTP2End(t *testing.T) {
	p := start(t, timed(toAll(named(t, "a")), 200*time.Millisecond, time.Minute))
	defer shut(t, p)
	w := overHTTP2(t, p)
	if status, _ := get(t, w.client, w.url); status != 200 {
		t.Fatal(status)
	}
	within(t, w.closed, "an idle connection ends")
}

// A new limit counts for connections that are open, from their next request on.
func TestConnectionsOfHTTP2FollowApply(t *testing.T) {
	c := toAll(named(t, "a"))
	p := start(t, timed(c, time.Hour, time.Minute))
	defer shut(t, p)
	w := overHTTP2(t, p)
	if status, _ := get(t, w.client, w.url); status != 200 {
		t.Fatal(status)
	}
	if err := p.Apply(timed(c, 200*time.Millisecond, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, w.client, w.url); status != 200 {
		t.Fatal(status)
	}
	within(t, w.closed, "the idle connection ends")
	if status, _ := get(t, w.client, w.url); status != 200 {
		t.Fatal(status)
	}
}

// endless answers with content that does not end, and says when its client has gone.
func endless(t *testing.T) (url string, gone chan struct{}) {
	gone = make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for piece := make([]byte, 64<<10); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, gone
}

// A client that does not read gives the endpoint's connection free after timeouts.stall.
func TestClientsThatDoNotReadAreCut(t *testing.T) {
	for name, reach := range map[string]func(*testing.T, *poise.Proxy) way{"HTTP/2": overHTTP2, "mounted": mounted, "own": own} {
		t.Run(name, func(t *testing.T) {
			url, gone := endless(t)
			p := start(t, timed(toAll(url), time.Minute, 300*time.Millisecond))
			defer shut(t, p)
			w := reach(t, p)
			r, err := w.client.Get(w.url)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			within(t, gone, "the endpoint is freed")
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Error("the response looks complete")
			}
		})
	}
}

// Silence in the middle of a response is the endpoint's, not a stall of the client's side.
func TestSilentEventsAreNoStall(t *testing.T) {
	more := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-more
		io.WriteString(w, "data: 2\n\n")
	}))
	defer s.Close()
	bothWays(t, timed(toAll(s.URL), time.Minute, 100*time.Millisecond), func(t *testing.T, p *poise.Proxy, w way) {
		r, err := w.client.Get(w.url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		time.AfterFunc(500*time.Millisecond, func() { more <- struct{}{} })
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "data: 1\n\ndata: 2\n\n" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// reader is content of which the first bytes come, and then nothing until it is closed.
type reader struct {
	text string
	done chan struct{}
	once sync.Once
}

func (r *reader) Read(p []byte) (int, error) {
	if r.text != "" {
		n := copy(p, r.text)
		r.text = r.text[n:]
		return n, nil
	}
	<-r.done
	return 0, errors.New("no more")
}

func (r *reader) Close() error {
	r.once.Do(func() { close(r.done) })
	return nil
}

// An upload that stops is answered with 408, and counts against no endpoint.
func TestUploadsThatStopAreAnswered(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	bothWays(t, timed(toAll(s.URL), time.Minute, 300*time.Millisecond), func(t *testing.T, p *poise.Proxy, w way) {
		q, err := http.NewRequest("POST", w.url, &reader{text: "beginning", done: make(chan struct{})})
		if err != nil {
			t.Fatal(err)
		}
		q.ContentLength = 1000
		r, err := w.client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if why := r.Header.Get("Poise-Reason"); r.StatusCode != 408 || why != "client-timeout" {
			t.Errorf("%d %q", r.StatusCode, why)
		}
	})
}

func TestLimitsOfHeadsOverHTTP2(t *testing.T) {
	c := toAll(named(t, "a"))
	c.Limits = poise.Limits{Head: 2 << 10, Fields: 20, Target: 500}
	bothWays(t, c, func(t *testing.T, p *poise.Proxy, w way) {
		for _, test := range []struct {
			target       int
			fields, size int
			status       int
			reason       string
		}{
			{500, 0, 0, 200, ""},
			{501, 0, 0, 414, "target-too-long"},
			{1, 10, 0, 200, ""},
			{1, 20, 0, 431, "too-many-fields"},
			{1, 1, 1500, 200, ""},
			{1, 1, 2100, 431, "head-too-large"},
		} {
			q, _ := http.NewRequest("GET", w.url+"/"+strings.Repeat("a", test.target-1), nil)
			for i := range test.fields {
				q.Header.Set(fmt.Sprint("X-", i), strings.Repeat("v", test.size))
			}
			r, err := w.client.Do(q)
			if err != nil {
				if test.reason == "head-too-large" && strings.Contains(err.Error(), "larger than peer's advertised limit") {
					continue // the client knows our limit from SETTINGS, and sends nothing
				}
				t.Fatal(err)
			}
			r.Body.Close()
			if why := r.Header.Get("Poise-Reason"); r.StatusCode != test.status || why != test.reason {
				t.Errorf("%+v: %d %q", test, r.StatusCode, why)
			}
		}
	})
}

// refusing answers every request at once, without reading its content, and closes the
// connection in good order.
func refusing(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				io.WriteString(c, answer)
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

const (
	tooMuch        = "HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much"
	tooMuchInParts = "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n8\r\ntoo much\r\n0\r\n\r\n"
)

// A client that is refused while it uploads gets the answer with its content, however fast
// it sends, and whether or not an endpoint has answered. curl stands for clients that are
// not Go's.
func TestRefusedUploadsGetTheAnswer(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl here")
	}
	file := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(file, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for answer, from := range map[string]string{"length": tooMuch, "chunked": tooMuchInParts, "own": ""} {
		c := toAll(refusing(t, from))
		want := "too much"
		if from == "" {
			c.Routes[0].Match.Methods = []string{"GET"}
			want = "405 method-not-allowed"
		}
		p := start(t, c)
		defer shut(t, p)
		for _, w := range []way{overHTTP2(t, p), mounted(t, p), own(t, p)} {
			for _, rate := range []string{"100M", "20M"} {
				t.Run(answer+" "+w.name+" "+rate, func(t *testing.T) {
					const tries = 6
					good := 0
					for range tries {
						out, err := exec.Command(curl, "-sk", "--limit-rate", rate, "--max-time", "60", "-H", "Expect:", "-T", file, w.url+"/up").CombinedOutput()
						if strings.HasPrefix(string(out), want) {
							good++
						} else {
							t.Logf("%v: %q", err, out)
						}
					}
					if good != tries {
						t.Errorf("%d of %d have the answer", good, tries)
					}
				})
			}
		}
	}
}

// Names that net/http writes in a form of its own reach endpoints and clients as documents
// write them: some compare bytes.
func TestNamesOfFieldsBehindNetHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heads := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		heads <- string(b[:n])
		io.WriteString(c, "HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\nSec-WebSocket-Version: 13\r\nX-Plain: 1\r\nContent-Length: 0\r\n\r\n")
	}()
	p := start(t, toAll("http://"+l.Addr().String()))
	defer shut(t, p)
	c, err := net.Dial("tcp", strings.TrimPrefix(mounted(t, p).url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-WebSocket-Key: a\r\nsec-websocket-protocol: b\r\nDNT: 1\r\nX-Plain: 1\r\nSOAPAction: c\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	head := <-heads
	for _, want := range []string{"\r\nSec-WebSocket-Key: a", "\r\nSec-WebSocket-Protocol: b", "\r\nDNT: 1", "\r\nX-Plain: 1", "\r\nSOAPAction: c"} {
		if !strings.Contains(head, want) {
			t.Errorf("the endpoint does not see %q in %q", want, head)
		}
	}
	for _, want := range []string{"\r\nWWW-Authenticate: Basic", "\r\nSec-WebSocket-Version: 13", "\r\nX-Plain: 1"} {
		if !strings.Contains(string(answer), want) {
			t.Errorf("the client does not see %q in %q", want, answer)
		}
	}
}
