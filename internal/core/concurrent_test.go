package core

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/record"
)

// A toyWorld is a proxy that serves the protocol of toy_test.go, with an endpoint that
// answers with the path of the request and its content, after a second if the path is /slow.
type toyWorld struct {
	*virtual.World
	t     *testing.T
	proxy *Proxy
	toyClient
	log   *record.Sink
	gone  []string // what the endpoint was asked when the proxy broke the exchange off
	rests atomic.Int32
	forks atomic.Int32      // by the tasks of the connection
	got   map[byte][]string // frames that expect has read, by stream
}

// toy plays f for several orders of tasks: on streams that a task waits for, and on those
// that rest without one.
func toy(t *testing.T, f func(w *toyWorld)) {
	for seed := range uint64(8) {
		w := &toyWorld{t: t, World: virtual.New(seed), log: record.NewSink(64), got: map[byte][]string{}}
		w.World.SegmentMax = []int{0, 3}[seed%2]
		w.Go("test", func() {
			w.endpoint("10.0.0.1:80")
			rt := w.Runtime()
			c := config.Config{
				Services: map[string]config.Service{"s": {Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}}}},
				Routes:   []config.Route{{Service: "s"}},
			}
			var err error
			w.proxy, err = New(rt, c, Options{
				Logger: slog.New(slog.DiscardHandler), Sink: func(config.AccessLog) *record.Sink { return w.log },
			})
			if err != nil {
				t.Error(err)
				return
			}
			near, far := w.Pipe()
			w.toyClient = toyClient{near}
			var s engine.Stream = far
			if seed >= 4 {
				s = restingStream{far, rt, &w.rests}
			}
			w.Go("connection", func() {
				w.proxy.ServeStream(forking{rt, &w.forks}, s, Peer{Remote: netip.MustParseAddrPort("192.0.2.1:1"), Protocol: toyProtocol})
			})
			f(w)
			near.Close()
			w.proxy.Close()
			if n := w.proxy.Connections(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
			if rested := w.rests.Load() > 0; rested != (seed >= 4) {
				t.Errorf("seed %d: it rested %d times", seed, w.rests.Load())
			}
		})
		if err := w.Run(); err != nil {
			t.Fatal(err)
		}
	}
}

// forking counts forks.
type forking struct {
	engine.Runtime
	n *atomic.Int32
}

func (f forking) Fork(do func()) engine.Join {
	f.n.Add(1)
	return f.Runtime.Fork(do)
}

// TestAConnectionGivesWay: one that has brought many requests at once lets others run before all of
// them have begun, where tasks take turns. It does so by a task that does nothing.
func TestAConnectionGivesWay(t *testing.T) {
	toy(t, func(w *toyWorld) {
		atOnce := w.SegmentMax == 0
		var all []byte
		for i := range 3 * inARow / 2 {
			all = append(append(all, 'Q', byte(i), 0, 6), "GET /x"...)
		}
		w.toyClient.stream.Write(all)
		for ended := 0; ended < 3*inARow/2; {
			f := w.frame()
			if f == "end" {
				t.Fatalf("%d of the requests were answered", ended)
			}
			if f[0] == 'E' {
				ended++
			}
		}
		if forks := w.forks.Load(); forks > 0 != (w.rests.Load() > 0 && atOnce) {
			t.Errorf("it rested %d times, and gave way %d times", w.rests.Load(), forks)
		}
	})
}

func (w *toyWorld) endpoint(address string) {
	l := w.Listen(address)
	w.Daemon("endpoint", func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			w.Daemon("connection of the endpoint", func() {
				defer s.Close()
				for w.answer(s) {
				}
			})
		}
	})
}

// answer serves one request; false: there is none.
func (w *toyWorld) answer(s engine.Stream) bool {
	head, err := readHead(s)
	if err != nil {
		return false
	}
	path := strings.Fields(head)[1]
	var body string
	if strings.Contains(head, "chunked") {
		for !strings.HasSuffix(body, "0\r\n\r\n") {
			one := make([]byte, 1)
			if _, err := s.Read(one); err != nil {
				w.gone = append(w.gone, path)
				return false
			}
			body += string(one)
		}
	}
	body = path + strings.Join(strings.Split(strings.TrimSuffix(body, "0\r\n\r\n"), "\r\n"), "|")
	if path == "/slow" {
		w.Runtime().Sleep(w.Now() + time.Second)
		if !s.Quiet() {
			w.gone = append(w.gone, path)
			return false
		}
	}
	fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return true
}

// expect reads frames up to the end of the stream that want names, puts pieces of content
// together, and keeps the frames of other streams for later.
func (w *toyWorld) expect(want string) {
	w.t.Helper()
	id := want[1] - '0'
	for !w.over(id) {
		f := w.frame()
		if f == "end" {
			break
		}
		n := f[1] - '0'
		if got := w.got[n]; f[0] == 'D' && len(got) > 0 && got[len(got)-1][0] == 'D' {
			got[len(got)-1] += f[3:]
		} else {
			w.got[n] = append(got, f)
		}
	}
	if g := strings.Join(w.got[id], ", "); g != want {
		w.t.Errorf("got %s, want %s", g, want)
	}
	delete(w.got, id)
}

// over reports whether the last frame of a stream is here.
func (w *toyWorld) over(id byte) bool {
	got := w.got[id]
	return len(got) > 0 && strings.Contains("EXG", got[len(got)-1][:1])
}

// records returns the lines of the access log so far.
func (w *toyWorld) records() string {
	var b bytes.Buffer
	if _, err := w.log.Drain(&b); err != nil {
		w.t.Error(err)
	}
	return b.String()
}

func TestAConcurrentProtocol(t *testing.T) {
	toy(t, func(w *toyWorld) {
		w.send('Q', 1, "GET /slow")
		w.send('Q', 2, "GET /fast")
		w.expect("H2 200, D2 /fast, E2")
		w.send('P', 3, "POST /echo")
		w.send('D', 3, "abc")
		w.send('Q', 4, "GET /between")
		w.expect("H4 200, D4 /between, E4")
		w.send('D', 3, "defg")
		w.send('E', 3, "")
		w.expect("H3 200, D3 /echo3|abc|4|defg|, E3")
		w.send('Q', 5, "no request")
		w.send('Q', 6, "bad")
		w.expect("H5 400 bad-path, D5 400 bad-path: the path cannot be understood safely, E5")
		w.expect("H6 400 bad-target, D6 400 bad-target: Bad Request, E6")
		w.expect("H1 200, D1 /slow, E1")
		if log := w.records(); strings.Count(log, `"protocol":"toy/1"`) != 6 {
			w.t.Errorf("the access log has other protocols: %s", log)
		}
	})
}

// TestAConcurrentClientCancels one of its requests; the others go on.
func TestAConcurrentClientCancels(t *testing.T) {
	toy(t, func(w *toyWorld) {
		w.send('Q', 1, "GET /slow")
		w.send('P', 2, "POST /never")
		w.send('Q', 3, "GET /slow")
		w.Runtime().Sleep(w.Now() + 100*time.Millisecond)
		w.send('X', 1, "")
		w.send('X', 2, "")
		w.Runtime().Sleep(w.Now() + 100*time.Millisecond)
		if log := w.records(); strings.Count(log, `"status":0,"reason":"client-gone"`) != 2 {
			w.t.Errorf("the access log says: %s", log)
		}
		w.expect("X1")
		w.expect("X2")
		w.expect("H3 200, D3 /slow, E3")
		w.Runtime().Sleep(w.Now() + time.Second)
		if len(w.gone) != 2 {
			w.t.Errorf("the endpoint saw the ends of %q", w.gone)
		}
	})
}

// TestAConcurrentConnectionEnds when its client leaves: all of its exchanges are broken off.
func TestAConcurrentConnectionEnds(t *testing.T) {
	toy(t, func(w *toyWorld) {
		for i := range byte(5) {
			w.send('Q', i, "GET /slow")
		}
		w.Runtime().Sleep(w.Now() + 100*time.Millisecond)
		w.stream.Close()
		w.Runtime().Sleep(w.Now() + 100*time.Millisecond)
		if log := w.records(); strings.Count(log, `"status":0,"reason":"client-gone"`) != 5 {
			w.t.Errorf("the access log says: %s", log)
		}
	})
}

// TestAConcurrentConnectionIsDrained: it is announced, what is under way is finished, and the
// end comes after that.
func TestAConcurrentConnectionIsDrained(t *testing.T) {
	toy(t, func(w *toyWorld) {
		w.send('Q', 1, "GET /slow")
		w.Runtime().Sleep(w.Now() + 100*time.Millisecond)
		closed := w.Runtime().Fork(func() { w.proxy.clients.drain(&w.proxy.hurry) })
		w.expect("G0")
		w.expect("H1 200, D1 /slow, E1")
		if f := w.frame(); f != "end" {
			w.t.Errorf("got %s behind the last response", f)
		}
		closed.Wait()
	})
}

// TestAConnectionIsSmall: there are as many as idle clients.
func TestAConnectionIsSmall(t *testing.T) {
	if size := reflect.TypeFor[connection]().Size(); size > 144 {
		t.Errorf("a connection takes %d bytes; the next size of Go's allocator after 144 is 160", size)
	}
}

// TestADrainMayHoldASessionThatEnds: it looks for the session of a concurrent connection while that
// ends in another task. So nothing may write to the session then, and no connection may get it.
func TestADrainMayHoldASessionThatEnds(t *testing.T) {
	conn := &toyConn{}
	s := &session{protocol: toyProtocol, conn: conn}
	var held atomic.Pointer[session]
	held.Store(s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&connection{}).release(s)
	}()
	if got := held.Load().conn; got != conn { // the race detector sees a write
		t.Errorf("the session has %v", got)
	}
	<-ended
	if s.conn != conn {
		t.Error("the session lost its Conn")
	}
}

// sendingBreaker is a connection that may have something to send.
type sendingBreaker struct{ sending bool }

func (b *sendingBreaker) Interrupt(error) {}
func (b *sendingBreaker) Quiet() bool     { return true }
func (b *sendingBreaker) Drain()          {}
func (b *sendingBreaker) Sending() bool   { return b.sending }

// TestAResponseLeavesBeforeTheConnectionCloses: a drain that closed the connection between the end
// of its last exchange and the write of what that had gathered would lose the response.
func TestAResponseLeavesBeforeTheConnectionCloses(t *testing.T) {
	b := &sendingBreaker{sending: true}
	c := &client{breaker: b}
	for _, look := range []bool{true, false} {
		if c.idle(look) {
			t.Error("a client is idle while a response is on its way to it")
		}
	}
	if b.sending = false; !c.idle(true) {
		t.Error("a client that has all responses is not idle")
	}
}
