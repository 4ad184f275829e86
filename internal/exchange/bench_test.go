package exchange

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/message"
)

// What an exchange costs without sockets: from the request's head to the response's end, by
// an HTTP/1.1 pool, against an endpoint that is a constant.

// canned is a runtime whose connections lead to an endpoint that answers every write alike.
type canned struct{ *goroutine.Runtime }

func (canned) Dial(*engine.Dial) (engine.Stream, error) { return &cannedStream{}, nil }

type cannedStream struct {
	engine.Stream // what is not overridden panics
	due           bool
}

var cannedResponse = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n")

func (s *cannedStream) Read(p []byte) (int, error) {
	if !s.due {
		panic("a read before the request")
	}
	s.due = false
	return copy(p, cannedResponse), nil
}

func (s *cannedStream) Write(p []byte) (int, error)    { s.due = true; return len(p), nil }
func (s *cannedStream) Quiet() bool                    { return !s.due }
func (s *cannedStream) Await() error                   { return nil }
func (s *cannedStream) SetReadDeadline(time.Duration)  {}
func (s *cannedStream) SetWriteDeadline(time.Duration) {}
func (s *cannedStream) Interrupt(error)                {}
func (s *cannedStream) Close() error                   { return nil }

// reader is a client that takes the response and keeps nothing.
type reader struct{ visitor }

func (r *reader) Write([]byte) error             { return nil }
func (r *reader) Head(h *message.Response) error { r.status = h.Status; return nil }

func cannedExchange(tb testing.TB) (once func()) { return cannedExchangeWith(tb, nil) }

func cannedExchangeWith(tb testing.TB, tracing *Tracing) (once func()) {
	return cannedExchangeOf(tb, tracing, "GET", nil)
}

func cannedExchangeOf(tb testing.TB, tracing *Tracing, name string, fields []message.Field) (once func()) {
	rt := goroutine.New()
	tb.Cleanup(func() { rt.Close() })
	st := &stage{t: nil, rt: canned{rt}}
	st.serve(one)
	st.table.Tracing = tracing
	r, peer, x := &reader{}, &Peer{}, new(Exchange)
	client := r.parts()
	client.ResponseWriter = r
	method, path, host := []byte(name), []byte("/path"), []byte("example.com")
	return func() {
		r.status = 0
		x.Request.Method, x.Request.Path, x.Request.Host, x.Request.Minor = method, path, host, 1
		x.Request.Fields = append(x.Request.Fields[:0], fields...)
		*x.Client() = client
		x.Run(st.rt, st.table, peer)
		if r.status != 200 {
			tb.Fatalf("status %d", r.status)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	once := cannedExchange(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// TestAnExchangeAllocatesNothing: neither the attempt nor its call is made for a request.
func TestAnExchangeAllocatesNothing(t *testing.T) { allocatesNothing(t, cannedExchange(t)) }

// allocatesNothing checks that of an exchange that once makes.
func allocatesNothing(t *testing.T, once func()) {
	t.Helper()
	if underRace {
		t.Skip("the race detector empties pools at random")
	}
	once() // makes the connection
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
