package h2

// The pool against endpoints that say frame by frame what a test has them say, in virtual time.

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/mux"
	"github.com/poise-lb/poise/internal/upstream"
)

const address = "10.0.0.1:80"

// A peer is one connection of the endpoint.
type peer struct {
	rt     engine.Runtime
	s      engine.Stream
	number int // of the endpoint's connections, from 1
	in     []byte
	encode http2.Encoder
	began  bool // the preface was read
}

// next reads a frame; io.EOF: the pool has closed the connection.
func (p *peer) next() (f http2.Frame, err error) {
	for {
		if !p.began && len(p.in) >= len(http2.Preface) {
			p.in, p.began = p.in[len(http2.Preface):], true
		}
		if p.began {
			f, n, err := http2.Next(p.in, http2.FrameSizeMin)
			if err != nil || n > 0 {
				p.in = p.in[n:]
				return f, err
			}
		}
		room := make([]byte, 4096)
		n, err := p.s.Read(room)
		if err != nil {
			return f, err
		}
		p.in = append(p.in, room[:n]...)
	}
}

// until reads to the next frame of that type.
func (p *peer) until(t http2.FrameType) (http2.Frame, error) {
	for {
		if f, err := p.next(); err != nil || f.Type == t {
			return f, err
		}
	}
}

func (p *peer) say(frames ...[]byte) {
	for _, f := range frames {
		p.s.Write(f)
	}
}

func (p *peer) settings(s ...http2.Setting) { p.say(http2.AppendSettings(nil, s...)) }

// answer sends a response without content.
func (p *peer) answer(id uint32, end bool) {
	out := p.encode.Response(http2.BeginHeaders(nil), &message.Response{Status: 200}, false)
	p.say(http2.FinishHeaders(out, 0, id, end, http2.FrameSizeMin))
}

// serve answers every request at once.
func (p *peer) serve() {
	for {
		f, err := p.until(http2.FrameHeaders)
		if err != nil {
			return
		}
		p.answer(f.Stream, true)
	}
}

// A world is an endpoint and the pool of connections to it.
type world struct {
	*testing.T
	rt    engine.Runtime
	pool  *Pool
	peers int // connections so far
}

// play runs f as a task beside an endpoint whose connections are each served by serve.
func play(t *testing.T, s upstream.Settings, serve func(*peer), f func(w *world)) {
	t.Helper()
	v := virtual.New(1)
	w := &world{T: t, rt: v.Runtime()}
	l := v.Listen(address)
	v.Daemon("endpoint", func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.peers++
			p := &peer{rt: w.rt, s: c, number: w.peers}
			v.Daemon("connection", func() { defer c.Close(); serve(p) })
		}
	})
	s.ConnectTimeout, s.IdleTimeout, s.StallTimeout, s.MaxIdle = time.Second, time.Hour, time.Minute, 10
	e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "h2c", Address: address}})
	w.pool = NewPool(e, &s, nil, mux.NewSpares(1), nil)
	v.Go("test", func() {
		f(w)
		w.pool.Close()
		w.rt.Sleep(w.rt.Now() + time.Minute)
		if open, idle := w.pool.Counts(); open != 0 || idle != 0 || w.pool.idle.Load() != 0 {
			t.Errorf("%d connections are left, %d idle", open, idle)
		}
	})
	if err := v.Run(); err != nil {
		t.Error(err)
	}
}

// open opens a call and sends a request without content.
func (w *world) open(fresh bool) upstream.Call {
	w.Helper()
	c, err := w.pool.Call(w.rt, 0, fresh, nil)
	if err != nil {
		w.Fatal(err)
	}
	c.Head(&message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a")})
	c.Flush()
	return c
}

// await waits for the response's head.
func (w *world) await(c upstream.Call) error {
	var r message.Response
	return c.ReadHead(&r, []byte("GET"), w.rt.Now()+time.Hour)
}

// whole makes a call that must succeed.
func (w *world) whole(c upstream.Call) {
	w.Helper()
	if err := w.await(c); err != nil {
		w.Error(err)
	}
	c.Done(true)
}

func (w *world) connections(want int) {
	w.Helper()
	if w.peers != want {
		w.Errorf("%d connections were made, want %d", w.peers, want)
	}
}

func ordinary(p *peer) { p.settings(); p.serve() }

// sleepy answers when a second has passed, each request in a task of its own.
func sleepy(most uint32) func(*peer) {
	return func(p *peer) {
		p.settings(http2.Setting{ID: http2.SettingMaxStreams, Value: most})
		for {
			f, err := p.until(http2.FrameHeaders)
			if err != nil {
				return
			}
			p.rt.Start(func() {
				p.rt.Sleep(p.rt.Now() + time.Second/2)
				p.answer(f.Stream, true)
			})
		}
	}
}

func TestCallsShareConnections(t *testing.T) {
	play(t, upstream.Settings{Streams: 10}, ordinary, func(w *world) {
		for range 20 { // one after the other
			w.whole(w.open(false))
		}
		w.connections(1)
		var calls []upstream.Call
		for range 4 {
			calls = append(calls, w.open(false))
		}
		w.connections(1)
		for range 3 { // more than half of ten: another one is opened meanwhile
			calls = append(calls, w.open(false))
		}
		w.rt.Sleep(w.rt.Now() + time.Millisecond)
		w.connections(2)
		if open, idle := w.pool.Counts(); open != 2 || idle != 1 {
			t.Errorf("%d open, %d idle", open, idle)
		}
		if c := w.open(false); c.(*call).conn.number != 2 {
			t.Error("the connection with more calls was taken")
		} else {
			c.Done(false)
		}
		for _, c := range calls {
			w.whole(c)
		}
	})
}

// TestCallsWaitForEachOther: the endpoint takes two requests at once, and there may be one
// connection: the others wait, in order, and not for longer than connect_timeout.
func TestCallsWaitForEachOther(t *testing.T) {
	play(t, upstream.Settings{Max: 1}, sleepy(2), func(w *world) {
		var tasks []engine.Join
		served, busy := 0, 0
		for range 8 {
			tasks = append(tasks, w.rt.Fork(func() {
				c, err := w.pool.Call(w.rt, 0, false, nil)
				switch {
				case errors.Is(err, upstream.ErrBusy):
					busy++
					return
				case err != nil:
					t.Error(err)
					return
				}
				c.Head(&message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a")})
				c.Flush()
				w.whole(c)
				served++
			}))
		}
		for _, j := range tasks {
			j.Wait()
		}
		w.connections(1)
		if served < 4 || served+busy != 8 || busy == 0 {
			t.Errorf("%d served, %d were refused", served, busy)
		}
	})
}

// TestAllWhoWaitForAConnectionThatFails have its error, without one attempt each.
func TestAllWhoWaitForAConnectionThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(*peer)
		want  error
	}{
		"no SETTINGS":      {func(p *peer) { p.until(http2.FrameData) }, engine.ErrTimeout},
		"closes":           {func(*peer) {}, nil},
		"GOAWAY at once":   {func(p *peer) { p.settings(); p.say(http2.AppendGoAway(nil, 0, http2.NoError, "")); p.next() }, nil},
		"speaks another":   {func(p *peer) { io.WriteString(p.s, "HTTP/1.1 400 Bad Request\r\n\r\n"); p.next() }, nil},
		"breaks the rules": {func(p *peer) { p.say(http2.AppendPing(nil, make([]byte, 8), false)); p.next() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, upstream.Settings{}, test.serve, func(w *world) {
				began := w.rt.Now()
				var tasks []engine.Join
				for range 5 {
					tasks = append(tasks, w.rt.Fork(func() {
						c, err := w.pool.Call(w.rt, 0, false, nil)
						if err == nil {
							err = w.await(c)
							c.Done(false)
						}
						if err == nil || test.want != nil && !errors.Is(err, test.want) {
							t.Errorf("%v, want %v", err, test.want)
						}
					}))
				}
				for _, j := range tasks {
					j.Wait()
				}
				w.connections(1)
				if took := w.rt.Now() - began; took > 1100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestWhatWasNotProcessed: REFUSED_STREAM, and GOAWAY that leaves a request out. The next call,
// and one that was served, are not touched.
func TestWhatWasNotProcessed(t *testing.T) {
	refuses := func(p *peer) {
		p.settings()
		f, _ := p.until(http2.FrameHeaders)
		p.say(http2.AppendReset(nil, f.Stream, http2.RefusedStream))
		p.serve()
	}
	play(t, upstream.Settings{}, refuses, func(w *world) {
		c := w.open(false)
		if err := w.await(c); err != upstream.ErrUnprocessed || !c.Unprocessed() || c.Stale() {
			t.Errorf("%v, unprocessed %v, stale %v", err, c.Unprocessed(), c.Stale())
		}
		c.Done(false)
		w.whole(w.open(false))
		w.connections(1)
	})
	leaves := func(p *peer) {
		p.settings()
		if p.number > 1 {
			p.serve()
			return
		}
		first, _ := p.until(http2.FrameHeaders)
		p.answer(first.Stream, true)
		second, _ := p.until(http2.FrameHeaders)
		p.until(http2.FrameHeaders)
		p.say(http2.AppendGoAway(nil, 1<<31-1, http2.NoError, "")) // as gRPC servers do, in two steps
		p.say(http2.AppendGoAway(nil, second.Stream, http2.NoError, ""))
		p.rt.Sleep(p.rt.Now() + time.Second)
		p.answer(second.Stream, true)
		if _, err := p.until(http2.FrameGoAway); err != nil {
			return
		}
	}
	play(t, upstream.Settings{}, leaves, func(w *world) {
		w.whole(w.open(false))
		kept, refused := w.open(false), w.open(false)
		if err := w.await(refused); err != upstream.ErrUnprocessed || !refused.Stale() {
			t.Errorf("%v, stale %v", err, refused.Stale())
		}
		refused.Done(false)
		w.whole(w.open(true))
		w.connections(2)
		w.whole(kept)
	})
}

// TestAConnectionThatDies has its calls fail, and they are stale: not after RST_STREAM, which
// ends one only.
func TestAConnectionThatDies(t *testing.T) {
	dies := func(p *peer) {
		p.settings()
		for n := 0; ; n++ {
			f, err := p.until(http2.FrameHeaders)
			switch {
			case err != nil, n == 4:
				return
			case n == 1:
				p.say(http2.AppendReset(nil, f.Stream, http2.InternalError))
			default:
				if n == 0 || p.number > 1 {
					p.answer(f.Stream, true)
				}
			}
		}
	}
	play(t, upstream.Settings{}, dies, func(w *world) {
		w.whole(w.open(false))
		reset := w.open(false)
		if err := w.await(reset); err == nil || reset.Stale() || reset.Unprocessed() {
			t.Errorf("%v, stale %v, unprocessed %v", err, reset.Stale(), reset.Unprocessed())
		}
		reset.Done(false)
		a, b, c := w.open(false), w.open(false), w.open(false)
		for _, c := range []upstream.Call{a, b, c} {
			if err := w.await(c); !errors.Is(err, io.ErrUnexpectedEOF) || !c.Stale() {
				t.Errorf("%v, stale %v", err, c.Stale())
			}
			c.Done(false)
		}
		w.whole(w.open(true))
		w.connections(2)
	})
}

// TestASilentEndpoint is asked by PING twice. Its calls fail, and not with engine.ErrTimeout, after
// which an exchange would go on reading.
func TestASilentEndpoint(t *testing.T) {
	pings := 0
	silent := func(p *peer) {
		p.settings()
		for {
			f, err := p.next()
			if err != nil {
				return
			}
			if f.Type == http2.FramePing {
				pings++
			}
		}
	}
	play(t, upstream.Settings{}, silent, func(w *world) {
		began := w.rt.Now()
		c := w.open(false)
		if err := w.await(c); err == nil || errors.Is(err, engine.ErrTimeout) {
			t.Errorf("%v", err)
		}
		c.Done(false)
		if took := w.rt.Now() - began; pings != 2 || took < silence || took > silence+11*time.Second {
			t.Errorf("%d pings, %v", pings, took)
		}
	})
}

// TestASilentStream of an endpoint that answers PING: it is asked as seldom as a gRPC server wants,
// which forgets pings when it sends something, and ends the connection at the third otherwise that
// comes within five minutes of another.
func TestASilentStream(t *testing.T) {
	pings, strikes, last := 0, 0, time.Duration(0)
	grpc := func(p *peer) {
		p.settings()
		for {
			f, err := p.next()
			switch {
			case err != nil:
				return
			case f.Type == http2.FrameHeaders:
				p.answer(f.Stream, false)
				strikes = -1
			case f.Type == http2.FramePing && !f.Ack():
				if pings++; strikes < 0 || p.rt.Now()-last < 5*time.Minute {
					strikes++
				}
				last = p.rt.Now()
				p.say(http2.AppendPing(nil, f.Payload, true))
			}
		}
	}
	play(t, upstream.Settings{}, grpc, func(w *world) {
		c := w.open(false)
		if err := w.await(c); err != nil {
			t.Error(err)
		}
		began := w.rt.Now()
		if _, err := c.Content(true, began+time.Hour); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("%v after %v", err, w.rt.Now()-began)
		}
		if strikes > 2 || pings < 10 || pings > 12 {
			t.Errorf("%d pings in an hour, %d too early", pings, strikes)
		}
		c.Done(false)
	})
}

// TestAnEarlyAnswer: the endpoint answers a request whose content has not ended, and resets it with
// NO_ERROR. The response is whole; what is left of the request is not sent.
func TestAnEarlyAnswer(t *testing.T) {
	early := func(p *peer) {
		p.settings(http2.Setting{ID: http2.SettingWindow, Value: 0})
		f, _ := p.until(http2.FrameHeaders)
		p.answer(f.Stream, false)
		p.say(http2.AppendData(nil, f.Stream, []byte("early"), true), http2.AppendReset(nil, f.Stream, http2.NoError))
		p.serve()
	}
	play(t, upstream.Settings{}, early, func(w *world) {
		c, err := w.pool.Call(w.rt, 0, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Head(&message.Request{Method: []byte("POST"), Path: []byte("/"), Host: []byte("a"), Body: message.Chunked})
		c.Flush()
		sending := w.rt.Fork(func() {
			if err := c.Write([]byte("the window is 0")); !errors.Is(err, mux.ErrEnough) {
				t.Errorf("write: %v", err)
			}
		})
		if err := w.await(c); err != nil {
			t.Error(err)
		}
		data, err := c.Content(true, w.rt.Now()+time.Hour)
		if string(data) != "early" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		if _, err := c.Content(true, 0); err != io.EOF {
			t.Errorf("at the end %v", err)
		}
		sending.Wait()
		c.Done(false)
		w.whole(w.open(false))
		w.connections(1)
	})
}

// TestCancel: an interrupted call is reset with CANCEL, and its connection goes on.
func TestCancel(t *testing.T) {
	var code http2.Code
	play(t, upstream.Settings{}, func(p *peer) {
		p.settings()
		p.until(http2.FrameHeaders)
		f, _ := p.until(http2.FrameReset)
		code = f.Code()
		p.serve()
	}, func(w *world) {
		c := w.open(false)
		w.rt.Start(func() { c.Interrupt(engine.ErrClientGone) })
		if err := w.await(c); err != engine.ErrClientGone {
			t.Error(err)
		}
		c.Done(false)
		w.whole(w.open(false))
		w.connections(1)
	})
	if code != http2.Cancel {
		t.Errorf("reset with %v", code)
	}
}

// TestConnectionsAreReplaced after so many requests, at an age, and when the TLS settings change.
func TestConnectionsAreReplaced(t *testing.T) {
	play(t, upstream.Settings{Requests: 3}, ordinary, func(w *world) {
		for range 7 {
			w.whole(w.open(false))
		}
		w.connections(3)
	})
	play(t, upstream.Settings{MaxAge: time.Minute}, ordinary, func(w *world) {
		for range 10 { // 100 s
			w.whole(w.open(false))
			w.rt.Sleep(w.rt.Now() + 10*time.Second)
			w.pool.Sweep(w.rt.Now())
		}
		w.connections(2)
		c := w.open(false) // under way when its connection grows old
		w.rt.Sleep(w.rt.Now() + 2*time.Minute)
		w.pool.Sweep(w.rt.Now())
		w.whole(c)
		w.whole(w.open(false))
		w.connections(3)
	})
}

// TestABadResponse is the fault of one call.
func TestABadResponse(t *testing.T) {
	play(t, upstream.Settings{}, func(p *peer) {
		p.settings()
		f, _ := p.until(http2.FrameHeaders)
		p.say(http2.AppendData(nil, f.Stream, []byte("content before the head"), false))
		p.serve()
	}, func(w *world) {
		c := w.open(false)
		var bad *http1.Error
		if err := w.await(c); !errors.As(err, &bad) || bad.Status != 502 || bad.Reason == "" || c.Unprocessed() {
			t.Errorf("%v", err)
		}
		c.Done(false)
		w.whole(w.open(false))
		w.connections(1)
	})
}

// TestShed: idle connections give way to others, those in use do not.
func TestShed(t *testing.T) {
	play(t, upstream.Settings{}, ordinary, func(w *world) {
		c := w.open(false)
		if w.pool.Shed(0) {
			t.Error("a connection in use was shed")
		}
		w.whole(c)
		if !w.pool.Shed(0) || w.pool.Open() != 0 || w.pool.Shed(0) {
			t.Errorf("%d are open", w.pool.Open())
		}
		w.whole(w.open(false))
		w.connections(2)
	})
}

// TestProbes have connections of their own, which end with them.
func TestProbes(t *testing.T) {
	play(t, upstream.Settings{}, ordinary, func(w *world) {
		probe := &upstream.Probe{Method: "GET", Path: "/", Expect: func(status int) bool { return status == 200 }}
		for range 2 {
			if err := probe.Do(w.rt, w.pool, w.pool.endpoint, w.rt.Now()+time.Second); err != nil {
				t.Error(err)
			}
		}
		if err := w.pool.Connect(w.rt, 0, w.rt.Now()+time.Second); err != nil || w.pool.Open() != 0 {
			t.Errorf("%v, %d are open", err, w.pool.Open())
		}
		w.rt.Sleep(w.rt.Now() + time.Millisecond)
		w.connections(3)
	})
}

// What goes well takes nothing from the heap: every write, flush and read of a call asks.
func TestNoFaultTakesNothing(t *testing.T) {
	x := new(call)
	if n := testing.AllocsPerRun(100, func() { x.failed(nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
