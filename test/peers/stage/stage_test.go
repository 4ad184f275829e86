//go:build linux

package stage

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"

	"golang.org/x/sys/unix"
)

func newTestServer(t *testing.T) (*server, Addresses) {
	t.Helper()
	s, a, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, one := range s.loop.tasks {
			if one != nil {
				s.loop.stop(one)
			}
		}
		unix.Close(s.loop.epoll)
	})
	return s, a
}

// command is a short one.
func command(kind, address string) Command {
	return Command{Kind: kind, Address: address, Connections: 4, Paths: []string{"/x"}, Warm: 10 * time.Millisecond, Time: 200 * time.Millisecond}
}

func mustDo(t *testing.T, s *server, c Command) Result {
	t.Helper()
	r, err := s.do(c)
	if err != nil || r.Error != "" || r.Errors > 0 {
		t.Fatalf("%s: %v, %d errors, %s", c.Kind, err, r.Errors, r.Error)
	}
	return r
}

// The endpoint without a proxy: every kind of load comes to an end, with answers.
func TestTurns(t *testing.T) {
	s, a := newTestServer(t)
	closed := command(Closed, a.Two[0])
	large := command(Closed, a.Two[1])
	large.Paths = []string{"/a" + PathSize + "1048576", "/b" + PathSize + "16384"}
	up := command(Closed, a.Two[0])
	up.Upload = 1 << 20
	many := command(Closed, fmt.Sprintf("127.9.8.7:%d", a.Many))
	for name, c := range map[string]Command{"closed": closed, "large": large, "upload": up, "whole loopback": many} {
		if r := mustDo(t, s, c); r.Requests == 0 || r.Elapsed < c.Time || r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P99 || r.Own <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	up.WarmAnswers = 100
	up.Process = os.Getpid()
	if r := mustDo(t, s, up); r.CPU <= 0 {
		t.Errorf("processor time %v", r.CPU)
	}
}

// TestNothingIsUnderWay: when a turn is over, whatever the endpoint was asked is answered,
// and counted, or was so before.
func TestNothingIsUnderWay(t *testing.T) {
	for _, kind := range []string{Closed, Fresh} {
		s, _ := newTestServer(t)
		l := listener(t)
		var asked atomic.Int64
		serve(t, l, func(n int64) {
			asked.Store(n)
			time.Sleep(time.Millisecond)
		})
		c := command(kind, l.Addr().String())
		c.Connections, c.Warm = 300, 0
		if r := mustDo(t, s, c); int64(r.Before+r.Requests) != asked.Load() || r.Requests == 0 {
			t.Errorf("%s: %d and %d answers, %d requests", kind, r.Before, r.Requests, asked.Load())
		}
	}
}

// An open loop sends at its rate.
func TestRate(t *testing.T) {
	s, a := newTestServer(t)
	c := command(Open, a.Two[0])
	c.Rate, c.Time = 2000, 500*time.Millisecond
	r := mustDo(t, s, c)
	if rate := float64(r.Requests) / r.Elapsed.Seconds(); rate < 1700 || rate > 2300 {
		t.Errorf("%.0f requests/s", rate)
	}
}

// serve answers like the endpoint, but does what before says ahead of each answer.
func serve(t *testing.T, l net.Listener, before func(n int64)) {
	t.Cleanup(func() { l.Close() })
	var n atomic.Int64
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					before(n.Add(1))
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"); err != nil || r.Close {
						return
					}
				}
			}()
		}
	}()
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNothingIsOmitted: one stall of 100 ms in an open loop is seen by all requests that
// were due in it, not by the few that had been sent.
func TestNothingIsOmitted(t *testing.T) {
	s, _ := newTestServer(t)
	l := listener(t)
	serve(t, l, func(n int64) {
		if n > 200 && n <= 202 {
			time.Sleep(100 * time.Millisecond)
		}
	})
	c := command(Open, l.Addr().String())
	c.Rate, c.Time, c.Connections, c.Warm = 1000, 600*time.Millisecond, 2, 20*time.Millisecond
	r := mustDo(t, s, c)
	// 100 of 600 are due while both connections are stalled, and wait 50 ms on average.
	if r.P90 < 20*time.Millisecond {
		t.Errorf("p90 %v, max %v of %d", r.P90, r.Max, r.Requests)
	}
}

// A rate above what is possible is waited for, and counted as such.
func TestOverload(t *testing.T) {
	s, _ := newTestServer(t)
	l := listener(t)
	serve(t, l, func(int64) { time.Sleep(10 * time.Millisecond) })
	c := command(Open, l.Addr().String())
	c.Rate, c.Time, c.Connections = 2000, 300*time.Millisecond, 2
	if r := mustDo(t, s, c); r.P50 < 50*time.Millisecond {
		t.Errorf("p50 %v, though a tenth is answered", r.P50)
	}
}

func tlsListener(t *testing.T, c *tls.Config) net.Listener {
	t.Helper()
	c.Certificates = []tls.Certificate{testcert.New(t, testcert.Template{}).TLS}
	return tls.NewListener(listener(t), c)
}

func TestTLS(t *testing.T) {
	s, _ := newTestServer(t)
	l := tlsListener(t, &tls.Config{})
	serve(t, l, func(int64) {})
	c := command(Closed, l.Addr().String())
	c.TLS = true
	if r := mustDo(t, s, c); r.Requests == 0 {
		t.Error("no answers")
	}
	c.Kind = Fresh
	if r := mustDo(t, s, c); r.Requests == 0 || r.Resumed != 0 {
		t.Errorf("full handshakes: %+v", r)
	}
	c.Resume, c.Warm = true, 100*time.Millisecond
	if r := mustDo(t, s, c); r.Requests == 0 || r.Resumed != r.Requests {
		t.Errorf("%d of %d handshakes were resumed", r.Resumed, r.Requests)
	}
}

// What is not TLS 1.3 is no result.
func TestOldTLS(t *testing.T) {
	s, _ := newTestServer(t)
	l := tlsListener(t, &tls.Config{MaxVersion: tls.VersionTLS12})
	serve(t, l, func(int64) {})
	c := command(Closed, l.Addr().String())
	c.TLS = true
	if r, err := s.do(c); err == nil && (r.Errors == 0 || r.Requests > 0) {
		t.Errorf("%+v", r)
	}
}

// TestErrorsAreTold: each way in which a proxy can fail.
func TestErrorsAreTold(t *testing.T) {
	s, _ := newTestServer(t)
	for name, answer := range map[string]string{
		"refused":   "",
		"error":     "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
		"no length": "HTTP/1.1 200 OK\r\n\r\n",
		"short":     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
		"long":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nlong",
		"rubbish":   "rubbish\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := listener(t)
			if answer == "" {
				l.Close()
			}
			go func() { // ends when l is closed
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Read(make([]byte, 4096))
					io.WriteString(c, answer)
					c.Close()
				}
			}()
			t.Cleanup(func() { l.Close() })
			for _, kind := range []string{Closed, Fresh, Hold} {
				c := command(kind, l.Addr().String())
				c.Hold, c.Time = HoldIdle, 10*time.Second // or 100 errors
				r, err := s.do(c)
				if err == nil && (r.Errors == 0 || r.Error == "" || r.Requests > 0) {
					t.Errorf("%s: %+v", kind, r)
				}
				if _, err := s.do(Command{Kind: Release}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if _, err := s.do(command("nonsense", "127.0.0.1:1")); err == nil {
		t.Error("an unknown command is carried out")
	}
}

// TestHold: what is held stays open up to its release, and not longer.
func TestHold(t *testing.T) {
	s, a := newTestServer(t)
	end := time.Now().Add(10 * time.Millisecond) // for the listeners to be there
	s.loop.run(func(time.Time) time.Time { return end })
	for _, what := range []string{HoldIdle, HoldTalk, HoldWait} {
		c := command(Hold, a.Two[0])
		c.Hold, c.Connections = what, 500
		c.Paths = []string{map[string]string{HoldIdle: "/x", HoldTalk: PathTalk, HoldWait: PathWait}[what]}
		open := func() (n int) {
			for _, one := range s.loop.tasks {
				if one != nil {
					n++
				}
			}
			return n
		}
		before := open()
		if r := mustDo(t, s, c); r.Held != 500 {
			t.Errorf("%s: %d held", what, r.Held)
		}
		if n := open() - before; n != 1000 { // both ends are here
			t.Errorf("%s: %d descriptors are open", what, n)
		}
		if _, err := s.do(c); err == nil {
			t.Errorf("%s: held twice", what)
		}
		if _, err := s.do(Command{Kind: Release}); err != nil {
			t.Fatal(err)
		}
		if n := open() - before; n != 0 || s.endpoint.waiting != 0 {
			t.Errorf("%s: %d descriptors stay open, %d wait", what, n, s.endpoint.waiting)
		}
	}
}

// TestCommands: commands and results are lines of JSON, in order, and a mistake is a result.
func TestCommands(t *testing.T) {
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { // ends at the end of in
		ended <- Main(in, out)
		out.Close()
	}()
	from, to := json.NewDecoder(answers), json.NewEncoder(ask)
	var a Addresses
	if err := from.Decode(&a); err != nil || a.Many == 0 {
		t.Fatal(a, err)
	}
	for _, c := range []Command{command("nonsense", a.Two[0]), command(Closed, a.Two[0]), command(Closed, "nowhere")} {
		if err := to.Encode(c); err != nil {
			t.Fatal(err)
		}
		var r Result
		if err := from.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if good := c.Kind == Closed && c.Address == a.Two[0]; good != (r.Error == "") || good != (r.Requests > 0) {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	ask.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestEndpoint: requests as proxies send them, in pieces and one behind the other.
func TestEndpoint(t *testing.T) {
	s, a := newTestServer(t)
	c, err := net.Dial("tcp", a.Two[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	requests := "PUT /a HTTP/1.1\r\nHost: x\r\ncontent-length:  5 \r\n\r\nhello" +
		"GET /b/size/70000 HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /c HTTP/1.1\r\nHost: x\r\n\r\n"
	go func() { // ends when all is sent
		for piece := range slices.Chunk([]byte(requests), 7) {
			c.Write(piece)
			time.Sleep(100 * time.Microsecond)
		}
	}()
	got := make(chan []int64, 1)
	go func() { // ends with the answers
		var sizes []int64
		for in := bufio.NewReader(c); len(sizes) < 3; {
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			n, _ := io.Copy(io.Discard, r.Body)
			sizes = append(sizes, n)
		}
		got <- sizes
	}()
	var sizes []int64
	s.loop.run(func(now time.Time) time.Time {
		select {
		case sizes = <-got:
			return now
		default:
			return now.Add(time.Millisecond)
		}
	})
	if !slices.Equal(sizes, []int64{Small, 70000, Small}) {
		t.Errorf("answers of %v bytes", sizes)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(i*i) * 97 % (3 * time.Second)
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*(1+1.0/fine)+1 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 65, 127, 128, 1<<62 + 5, 1<<63 - 1} {
		if b := bucket(d); upper(b) < d || b > 0 && upper(b-1) >= d {
			t.Errorf("%d is in bucket %d, from %d to %d", d, b, upper(b-1)+1, upper(b))
		}
	}
	if (&histogram{}).quantile(.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

// chunks gives a reader's bytes in pieces.
type chunks struct {
	all  []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.all) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.all[:min(c.size, len(c.all))])
	c.all = c.all[n:]
	return n, nil
}

// FuzzReadAnswer: as net/http reads it, whatever the pieces it comes in, or refused.
func FuzzReadAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 1)
	f.Add("HTTP/1.1 200 OK\r\nDate: x\r\nCONTENT-LENGTH:0\r\n\r\n", 5)
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 100)
	f.Add("HTTP/1.1 101 Switching Protocols\r\n\r\n", 2)
	f.Add("HTTP/1.1 2", 2)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			return
		}
		_, status, err := readAnswer(&chunks{[]byte(text), size}, make([]byte, headMax), make([]byte, 16))
		_, again, whole := readAnswer(&chunks{[]byte(text), len(text) + 1}, make([]byte, headMax), make([]byte, 16))
		if err == nil && whole == nil && status != again {
			t.Fatalf("status %d in pieces, %d whole", status, again)
		}
		if err != nil || status == 101 || strings.Count(text, "ength") > 1 {
			return
		}
		head, content, _ := bytes.Cut([]byte(text), []byte("\r\n\r\n"))
		length := -1
		fmt.Sscan(string(field(append(head, "\r\n"...), "Content-Length")), &length)
		if length < 0 || len(content) < length {
			t.Fatalf("%q: accepted with %d bytes of content", text, len(content))
		}
	})
}

var errStopped = errors.New("stopped")

// TestStop: a task ends wherever it waits.
func TestStop(t *testing.T) {
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l.epoll)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[1])
	ended := errStopped
	one := l.start(func(t *task) {
		t.take(pipe[0], unix.EPOLLIN)
		_, ended = t.Read(make([]byte, 1))
	})
	never := l.start(func(t *task) { t.await(0) })
	rounds := 0
	l.run(func(now time.Time) time.Time {
		if rounds++; rounds > 2 {
			return now
		}
		return now.Add(time.Millisecond)
	})
	l.stop(one)
	l.stop(never)
	if !one.ended || !never.ended || !errors.Is(ended, errOver) {
		t.Error(one.ended, never.ended, ended)
	}
	if err := unix.Close(pipe[0]); err != unix.EBADF {
		t.Errorf("the descriptor is open still: %v", err)
	}
}
