package h2

// Servers of gRPC as tests of its rules need them: endpoints that speak HTTP/2 by x/net's Framer
// and do what a function says of each call; and the client's side of a call. Messages are the five
// bytes and the text; nothing here knows an application.

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/engine"
)

// A server is an endpoint.
type server struct {
	w      *world
	handle func(c *callee)
	calls  []*callee
}

// A callee is a call as the server has it. Its handler is a task of its own.
type callee struct {
	s       *server
	conn    *serverConn
	id      uint32
	fields  []hpack.HeaderField
	in      []byte
	began   time.Duration // instant of its head
	ended   bool          // the client has ended its side
	reset   bool
	code    http2.ErrCode
	resetAt time.Duration
	news    engine.Signal
}

type serverConn struct {
	framer  *http2.Framer
	stream  engine.Stream
	encoder *hpack.Encoder
	block   strings.Builder
	calls   map[uint32]*callee
}

// listen starts a server at address whose calls are each handled by handle.
func (w *world) listen(address string, handle func(c *callee)) *server {
	s := &server{w: w, handle: handle}
	l := w.Listen(address)
	w.Daemon("server", func() {
		for {
			stream, err := l.Accept()
			if err != nil {
				return
			}
			w.Daemon("connection of the server", func() { s.serve(stream) })
		}
	})
	return s
}

func (s *server) serve(stream engine.Stream) {
	defer stream.Close()
	c := &serverConn{stream: stream, framer: http2.NewFramer(stream, stream), calls: map[uint32]*callee{}}
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.ReadFull(stream, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		s.take(c, f)
	}
}

func (s *server) take(c *serverConn, f http2.Frame) {
	call := c.calls[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.framer.WritePing(true, f.Data)
		}
	case *http2.MetaHeadersFrame:
		if call == nil {
			call = &callee{s: s, conn: c, id: f.StreamID, began: s.w.Now(), news: s.w.Runtime().NewSignal()}
			c.calls[f.StreamID] = call
			s.calls = append(s.calls, call)
			for _, field := range f.Fields {
				call.fields = append(call.fields, hpack.HeaderField{Name: strings.Clone(field.Name), Value: strings.Clone(field.Value)})
			}
			s.w.Daemon("call", func() { s.handle(call) })
		}
		call.ended = call.ended || f.StreamEnded()
		call.news.Set()
	case *http2.DataFrame:
		call.in = append(call.in, f.Data()...)
		call.ended = call.ended || f.StreamEnded()
		call.news.Set()
	case *http2.RSTStreamFrame:
		call.reset, call.code, call.resetAt = true, f.ErrCode, s.w.Now()
		call.news.Set()
	}
}

// next waits for the client's next message; "" without one: the client has ended its side, or the
// call.
func (c *callee) next() (text string, ok bool) {
	for {
		if text, rest, ok := cutMessage(c.in); ok {
			c.in = rest
			return text, true
		}
		if c.ended || c.reset {
			return "", false
		}
		c.news.Wait(0)
	}
}

// drain waits for the end of the client's side.
func (c *callee) drain() {
	for ok := true; ok; {
		_, ok = c.next()
	}
}

// gone waits for the client to reset the call.
func (c *callee) gone() {
	for !c.reset {
		c.news.Wait(0)
	}
}

func (c *callee) headers(end bool, fields ...string) {
	c.conn.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.conn.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	c.conn.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.id, BlockFragment: []byte(c.conn.block.String()), EndStream: end, EndHeaders: true})
}

func (c *callee) head() { c.headers(false, ":status", "200", "content-type", "application/grpc") }

func (c *callee) send(text string) { c.conn.framer.WriteData(c.id, false, messageOf(text)) }

// end ends the call with a status behind messages, and only with a status, trailers-only.
func (c *callee) end(status string) {
	c.headers(true, "grpc-status", status, "grpc-message", "of the server", "x-own", "a")
}
func (c *callee) refuse(status string) {
	c.headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", status, "grpc-message", "of the server")
}

// rst resets the call.
func (c *callee) rst(code http2.ErrCode) { c.conn.framer.WriteRSTStream(c.id, code) }

func (c *callee) field(name string) string { return field(c.fields, name) }

// unary answers a call with one message.
func unary(c *callee) {
	c.drain()
	c.head()
	c.send("hello")
	c.end("0")
}

func messageOf(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

// cutMessage cuts the first message off b; false: it is not whole.
func cutMessage(b []byte) (text string, rest []byte, ok bool) {
	if len(b) < 5 {
		return "", b, false
	}
	n := 5 + int(binary.BigEndian.Uint32(b[1:5]))
	if len(b) < n {
		return "", b, false
	}
	return string(b[5:n]), b[n:], true
}

// call opens a call on stream id; fields are further ones of its head.
func (c *peer) call(id uint32, fields ...string) {
	c.head(id, false, post("/shop.Cart/Add", append([]string{"content-type", "application/grpc", "te", "trailers"}, fields...)...)...)
}

func (c *peer) send(id uint32, text string) { c.framer.WriteData(id, false, messageOf(text)) }

func (c *peer) close(id uint32) { c.framer.WriteData(id, true, nil) }

// unary makes a call with one message and waits for its end.
func (c *peer) unary(id uint32, d time.Duration, fields ...string) *answer {
	c.call(id, fields...)
	c.send(id, "hi")
	c.close(id)
	return c.ends(id, d)
}

// ends waits for the end of a call.
func (c *peer) ends(id uint32, d time.Duration) *answer {
	a := c.answer(id)
	c.read(d, func() bool { return a.over || a.reset })
	return a
}

// message waits for the next message of the server; "": none has come.
func (c *peer) message(id uint32, d time.Duration) string {
	a := c.answer(id)
	var text string
	c.read(d, func() bool {
		t, rest, ok := cutMessage(a.content)
		if ok {
			text, a.content = t, rest
		}
		return ok || a.over || a.reset
	})
	return text
}

// rpcStatus is the status of a call, from its trailers or, trailers-only, from its head; what is wrong if
// there is none.
func (a *answer) rpcStatus() string {
	switch {
	case a.reset:
		return "reset " + a.code.String()
	case !a.over:
		return "not over"
	case a.trailers != nil:
		return field(a.trailers, "grpc-status")
	}
	return field(a.fields, "grpc-status")
}

// trailersOnly is what is wrong with a that is to be one head, of that status and reason.
func (a *answer) trailersOnly(status, reason string) error {
	switch {
	case a.status != "200", !a.over, a.reset, len(a.content) > 0, a.trailers != nil:
		return fmt.Errorf("it is not trailers-only: %s, trailers %v", a, a.trailers)
	case field(a.fields, "content-type") != "application/grpc":
		return fmt.Errorf("its content type is %q", field(a.fields, "content-type"))
	case field(a.fields, "grpc-status") != status || field(a.fields, "poise-reason") != reason:
		return fmt.Errorf("status %q, reason %q; want %s, %s", field(a.fields, "grpc-status"), field(a.fields, "poise-reason"), status, reason)
	case field(a.fields, "content-length") != "":
		return fmt.Errorf("it has a content-length")
	case reason != "" && !strings.HasPrefix(field(a.fields, "grpc-message"), reason+": "):
		return fmt.Errorf("its message is %q", field(a.fields, "grpc-message"))
	}
	return nil
}

// Addresses of servers.
const (
	serverA = "10.0.0.2:80"
	serverB = "10.0.0.3:80"
)

// inCalls plays f in virtual worlds where a proxy leads to servers with HTTP/2 at these addresses, in
// turn, and a client is connected.
func inCalls(t *testing.T, addresses []string, change func(*config.Config), f func(w *world, c *peer) error) {
	t.Helper()
	inWorldsOf(t, []int{0, 7}, func(cfg *config.Config) {
		s := config.Service{Policy: config.Policy{Type: "round_robin"}}
		for _, a := range addresses {
			s.Endpoints = append(s.Endpoints, config.Endpoint{URL: "h2c://" + a})
		}
		cfg.Services["s"] = s
		if change != nil {
			change(cfg)
		}
	}, func(w *world) error {
		c, err := dial(w, false)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		return f(w, c)
	})
}

// blamed is how many attempts have failed by the fault of the endpoint at address.
func (w *world) blamed(address string) (attempts, failures uint64) {
	for _, s := range w.proxy.Services() {
		for _, e := range s.Snapshot() {
			if e.Spec.ID.Address == address {
				return e.Attempts, e.Failures
			}
		}
	}
	return 0, 0
}
