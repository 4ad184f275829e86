package script

// HTTP/2 for the endpoints of scripts, as http2.go is for clients. Each stream of a connection looks
// to an endpoint like a connection of HTTP/1.1 with one request: what comes as frames is read as
// text, and what the endpoint writes leaves as frames. It is made of x/net's Framer and hpack, too.
//
//	read     POST / HTTP/1.1 … Content-Length: 5 … hello    ←  HEADERS 1, DATA 1 (END_STREAM)
//	write    HTTP/1.1 200 Status … Content-Length: 1 … a    →  HEADERS 1, DATA 1 (END_STREAM)
//
// What ends a connection of HTTP/1.1 ends this one:
//
//	a response that is cut short          the connection closes, or is reset
//	a whole one, and then "close"         GOAWAY, and the connection closes behind its last stream
//	a whole one, of half of the request   RST_STREAM(NO_ERROR); the connection goes on
//
// One task reads frames, one writes them, and each stream has one, so that nothing waits for the
// proxy with the lock held.

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A wakeup is what tasks of a stage wait for each other with, as engine.Wakeup: one task waits.
type wakeup interface {
	Set()
	Wait(by time.Duration) error
}

// serverConn is a connection to an endpoint.
type serverConn struct {
	conn
	endpoint *endpointActor
	wire     *wire // by which the endpoint knows the connection

	// Of the task that reads.
	parser   *http2.Framer // reads one frame from parsed
	parsed   bytes.Reader
	arrived  []byte // frames that are not whole
	decoder  *hpack.Decoder
	fragment []byte // of a head that has not come whole
	last     bool   // which ends its stream

	mu       sync.Mutex // never held while waiting
	framer   *http2.Framer
	out      bytes.Buffer // what framer has written
	written  wakeup       // something is in out, or leaving or err was set
	block    bytes.Buffer
	encoder  *hpack.Encoder
	streams  []*serverStream
	highest  uint32
	window   int   // of the connection
	first    int   // window of a stream, as the proxy has set it
	leaving  bool  // GOAWAY was sent
	finished bool  // all was written, and our side is closed
	err      error // why it is over
}

func newServerConn(e *endpointActor, w *wire) *serverConn {
	x := &serverConn{conn: w.conn, endpoint: e, wire: w, window: 65535, first: 65535, written: e.stage.NewWakeup()}
	x.framer, x.parser = http2.NewFramer(&x.out, nil), http2.NewFramer(nil, &x.parsed)
	x.framer.AllowIllegalWrites = true
	x.encoder, x.decoder = hpack.NewEncoder(&x.block), hpack.NewDecoder(4096, nil)
	return x
}

// serve reads until the connection ends.
func (x *serverConn) serve() {
	x.endpoint.stage.Go("endpoint "+x.endpoint.name+" writes", x.write)
	x.mu.Lock()
	x.framer.WriteSettings()
	x.written.Set()
	x.mu.Unlock()
	err := x.read()
	x.mu.Lock()
	x.err = err
	for _, s := range x.streams {
		s.fail(err)
	}
	x.written.Set()
	x.mu.Unlock()
	x.conn.Close()
}

func (x *serverConn) read() error {
	preface := len(http2.ClientPreface)
	for {
		for b := x.arrived; preface == 0 && len(b) >= 9; b = x.arrived {
			n := 9 + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
			if len(b) < n {
				break
			}
			x.parsed.Reset(b[:n])
			f, err := x.parser.ReadFrame()
			if err == nil {
				err = x.take(f)
			}
			if err != nil {
				x.endpoint.record(&message{start: "malformed: " + err.Error()})
				return err
			}
			x.arrived = b[n:]
		}
		room := make([]byte, 16<<10)
		n, err := x.conn.Read(room)
		x.arrived = append(x.arrived, room[:n]...)
		if preface > 0 && len(x.arrived) >= preface {
			if string(x.arrived[:preface]) != http2.ClientPreface {
				err = fmt.Errorf("no preface: %q", x.arrived[:preface])
				x.endpoint.record(&message{start: "malformed: " + err.Error()})
				return err
			}
			x.arrived, preface = x.arrived[preface:], 0
		}
		if n == 0 && err != nil {
			return err
		}
	}
}

// write writes what is in out, until the connection is over.
func (x *serverConn) write() {
	for {
		x.written.Wait(0)
		x.mu.Lock()
		out := slices.Clone(x.out.Bytes())
		x.out.Reset()
		over := x.err != nil
		finish := x.leaving && len(x.streams) == 0 && !x.finished
		x.finished = x.finished || finish
		x.mu.Unlock()
		if over {
			return
		}
		x.conn.Write(out) // a failure is seen by the task that reads
		if finish {
			x.conn.CloseWrite()
		}
	}
}

// take handles a frame.
func (x *serverConn) take(f http2.Frame) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.written.Set()
	s := x.stream(f.Header().StreamID)
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			for _, s := range x.streams {
				s.window += int(v) - x.first
			}
			x.first = int(v)
		}
		x.framer.WriteSettingsAck()
		x.wake()
	case *http2.PingFrame:
		if !f.IsAck() {
			x.framer.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			x.window += int(f.Increment)
		} else if s != nil {
			s.window += int(f.Increment)
		}
		x.wake()
	case *http2.RSTStreamFrame:
		if s != nil {
			s.fail(fmt.Errorf("%w: %v", errStreamReset, f.ErrCode))
		}
	case *http2.HeadersFrame:
		x.fragment, x.last = slices.Clone(f.HeaderBlockFragment()), f.StreamEnded()
		if f.HeadersEnded() {
			return x.head(f.StreamID, s)
		}
	case *http2.ContinuationFrame:
		x.fragment = append(x.fragment, f.HeaderBlockFragment()...)
		if f.HeadersEnded() {
			return x.head(f.StreamID, s)
		}
	case *http2.DataFrame:
		if n := len(f.Data()); n > 0 {
			x.framer.WriteWindowUpdate(0, uint32(n))
		}
		if s != nil {
			s.data(f.Data(), f.StreamEnded())
		}
	}
	return nil
}

func (x *serverConn) stream(id uint32) *serverStream {
	for _, s := range x.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

// wake wakes all streams: windows have changed.
func (x *serverConn) wake() {
	for _, s := range x.streams {
		s.moved.Set()
	}
}

// head makes a request of a head, or trailers of s.
func (x *serverConn) head(id uint32, s *serverStream) error {
	fields, err := x.decoder.DecodeFull(x.fragment)
	if err != nil {
		return err
	}
	if s != nil {
		for _, f := range fields {
			s.tail = append(s.tail, field{f.Name, f.Value})
		}
		s.data(nil, x.last)
		return nil
	}
	if id <= x.highest {
		return nil // of a stream that has ended
	}
	x.highest = id
	if x.leaving {
		return x.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream)
	}
	s = &serverStream{x: x, id: id, window: x.first, moved: x.endpoint.stage.NewWakeup()}
	var pseudo [4]string
	var b strings.Builder
	length := false
	for _, f := range fields {
		if i := slices.Index([]string{":method", ":path", ":authority", ":scheme"}, f.Name); i >= 0 {
			pseudo[i] = f.Value
			continue
		}
		length = length || f.Name == "content-length"
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	s.method = pseudo[0]
	if s.chunked = !length && !x.last; s.chunked {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	s.in = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", pseudo[0], pseudo[1], pseudo[2], b.String())
	if x.last {
		s.data(nil, true)
	}
	x.streams = append(x.streams, s)
	x.endpoint.setIdle(x.wire, false)
	x.endpoint.stage.Go("endpoint "+x.endpoint.name+" stream", func() { x.endpoint.serveStream(s) })
	return nil
}

// leave announces the end of the connection.
func (x *serverConn) leave() {
	if !x.leaving {
		x.leaving = true
		x.framer.WriteGoAway(x.highest, http2.ErrCodeNo, nil)
		x.written.Set()
	}
}

// Close ends the connection: in order if that is possible.
func (x *serverConn) Close() error {
	x.mu.Lock()
	idle := len(x.streams) == 0 && x.err == nil
	if idle {
		x.leave()
	}
	x.mu.Unlock()
	if idle {
		return nil
	}
	return x.conn.Close()
}

// drop forgets a stream.
func (x *serverConn) drop(s *serverStream) {
	x.streams = slices.DeleteFunc(x.streams, func(o *serverStream) bool { return o == s })
	x.written.Set()
	if len(x.streams) == 0 {
		x.endpoint.setIdle(x.wire, true)
	}
}
