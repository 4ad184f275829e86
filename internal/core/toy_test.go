package core

// A protocol that exists in this test only, as proof that core serves any: frames of
//
//	type, 1 byte   stream, 1 byte   length, 2 bytes   payload
//
// carry several requests of a connection at once. A client sends
//
//	Q  a request without content: "METHOD path"     D  a piece of content
//	P  a request with content                       E  the end of the content
//	X  the request is cancelled
//
// and gets H (status and reason), D, E, X (the response is incomplete) and, when the proxy
// closes, G (send no further request).

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

var toyProtocol = &downstream.Protocol{Concurrent: true, Open: openToy}

func openToy(o downstream.Opening, _ downstream.Conn) downstream.Conn {
	return &toyConn{rt: o.Runtime, stream: o.Stream, settings: o.Settings, open: map[byte]*toyStream{}}
}

// A toyConn is written for engines whose tasks take turns, such as the virtual one.
type toyConn struct {
	rt       engine.Runtime
	stream   engine.Stream
	settings *downstream.Settings
	in       []byte
	out      []byte
	writing  bool
	err      error               // writing failed
	open     map[byte]*toyStream // by stream
	next     *toyStream          // Await has found it
	head     []byte
}

func (c *toyConn) Configure(s *downstream.Settings) { c.settings = s }
func (c *toyConn) Last() bool                       { return false }
func (c *toyConn) Release()                         {}
func (c *toyConn) Drain()                           { c.write('G', 0, nil) }
func (c *toyConn) Sending() bool                    { return c.writing || len(c.out) > 0 }

func (c *toyConn) Close() (lingers bool) {
	c.stream.Close()
	return false
}

func (c *toyConn) Rest() bool {
	if len(c.in) >= 4 {
		return false
	}
	c.stream.SetReadDeadline(0)
	return true
}

// Await reads frames until one begins a request. It reads once: what that brings may begin
// none.
func (c *toyConn) Await(bool) (ready bool, err error) {
	if len(c.in) < 4 {
		var buf [512]byte
		n, err := c.stream.Read(buf[:])
		if err != nil {
			for _, s := range c.open {
				s.fail(engine.ErrClientGone)
			}
			return false, err
		}
		c.in = append(c.in, buf[:n]...)
	}
	for len(c.in) >= 4 {
		size := int(binary.BigEndian.Uint16(c.in[2:]))
		if len(c.in) < 4+size {
			break
		}
		kind, id, payload := c.in[0], c.in[1], c.in[4:4+size]
		c.in = c.in[4+size:]
		if c.frame(kind, id, payload) {
			return true, nil
		}
	}
	if len(c.in) >= 4 { // of a frame that is incomplete: wait for more
		return c.more()
	}
	return false, nil
}

// more reads the rest of a frame.
func (c *toyConn) more() (ready bool, err error) {
	one := make([]byte, 1)
	for int(binary.BigEndian.Uint16(c.in[2:]))+4 > len(c.in) {
		if _, err := c.stream.Read(one); err != nil {
			return false, err
		}
		c.in = append(c.in, one[0])
	}
	return c.Await(true)
}

// frame takes one frame and reports whether it begins a request.
func (c *toyConn) frame(kind, id byte, payload []byte) bool {
	s := c.open[id]
	switch kind {
	case 'Q', 'P':
		s = &toyStream{conn: c, id: id, arrived: c.rt.NewSignal(), content: kind == 'P', ended: kind == 'Q'}
		c.open[id], c.next, c.head = s, s, append([]byte(nil), payload...)
		return true
	case 'D':
		if s != nil {
			s.pieces = append(s.pieces, append([]byte(nil), payload...))
			s.arrived.Set()
		}
	case 'E':
		if s != nil {
			s.ended = true
			s.arrived.Set()
		}
	case 'X':
		if s != nil {
			s.fail(engine.ErrClientGone)
		}
	}
	return false
}

func (c *toyConn) Next(q *message.Request, client *downstream.Client) error {
	s := c.next
	*client = downstream.Client{RequestContent: s, ResponseWriter: s, Connection: s}
	q.Reset()
	method, path, ok := strings.Cut(string(c.head), " ")
	if !ok {
		return &http1.Error{Status: 400, Reason: reason.BadTarget}
	}
	q.Method, q.Path, q.Target, q.Host = []byte(method), []byte(path), []byte(path), []byte("toy")
	if s.content {
		q.Body = message.Chunked
	}
	return nil
}

// write sends a frame, behind those that other tasks are writing.
func (c *toyConn) write(kind, id byte, payload []byte) error {
	c.out = append(c.out, kind, id, byte(len(payload)>>8), byte(len(payload)))
	c.out = append(c.out, payload...)
	if c.writing {
		return c.err
	}
	c.writing = true
	for len(c.out) > 0 && c.err == nil {
		out := c.out
		c.out = nil
		_, c.err = c.stream.Write(out)
	}
	c.writing = false
	return c.err
}

// A toyStream is the client of one exchange.
type toyStream struct {
	conn    *toyConn
	id      byte
	content bool // the request has some
	pieces  [][]byte
	ended   bool // all of it has come
	stopped bool
	gone    error
	arrived engine.Signal
	up      engine.Interrupter
	sent    bool
}

// fail ends the exchange from the client's side.
func (s *toyStream) fail(err error) {
	s.gone = err
	s.arrived.Set()
	if s.up != nil {
		s.up.Interrupt(err)
	}
}

func (s *toyStream) Content(wait bool) ([]byte, error) {
	for {
		switch {
		case len(s.pieces) > 0:
			p := s.pieces[0]
			s.pieces = s.pieces[1:]
			return p, nil
		case s.ended:
			return nil, io.EOF
		case s.gone != nil:
			return nil, s.gone
		case s.stopped:
			return nil, engine.ErrTimeout
		case !wait:
			return nil, nil
		}
		if !s.arrived.Wait(s.conn.rt.Now() + s.conn.settings.Stall) {
			return nil, engine.ErrTimeout
		}
	}
}

func (s *toyStream) ContentRead() bool         { return s.ended && len(s.pieces) == 0 }
func (s *toyStream) Trailers() []message.Field { return nil }
func (s *toyStream) Skip()                     {}
func (s *toyStream) Continue() error           { return nil }
func (s *toyStream) StopContent()              { s.stopped = true; s.arrived.Set() }

func (s *toyStream) Interim(*message.Response) error { return nil }

func (s *toyStream) Head(r *message.Response) error {
	s.sent = true
	why, _ := message.Get(r.Fields, "Poise-Reason")
	return s.conn.write('H', s.id, []byte(strconv.Itoa(r.Status)+" "+string(why)))
}

func (s *toyStream) Write(p []byte) error { return s.conn.write('D', s.id, p) }
func (s *toyStream) Flush() error         { return nil }
func (s *toyStream) Sent() bool           { return s.sent }
func (s *toyStream) Cut()                 { s.conn.write('X', s.id, nil); delete(s.conn.open, s.id) }

func (s *toyStream) End([]message.Field) error {
	delete(s.conn.open, s.id)
	return s.conn.write('E', s.id, nil)
}

func (s *toyStream) Protocol() string { return "toy/1" }
func (s *toyStream) CloseAfter()      {}

func (s *toyStream) Upgrade(*message.Response) (engine.Stream, []byte, error) {
	return nil, nil, engine.ErrClosed
}

func (s *toyStream) Watch(up engine.Interrupter) {
	s.up = up
	if s.gone != nil {
		up.Interrupt(s.gone)
	}
}

func (s *toyStream) Unwatch(engine.Interrupter) { s.up = nil }

// restingStream rests without a task, as streams of an event loop do.
type restingStream struct {
	engine.Stream
	rt    engine.Runtime
	rests *atomic.Int32
}

func (s restingStream) WhenReady(f func()) {
	s.rests.Add(1)
	s.rt.Fork(func() {
		s.Await()
		f()
	})
}

// A toyClient is the other end.
type toyClient struct{ stream engine.Stream }

func (c toyClient) send(kind, id byte, payload string) {
	f := []byte{kind, id, byte(len(payload) >> 8), byte(len(payload))}
	c.stream.Write(append(f, payload...))
}

// frame reads the next frame; "end" is that of the connection.
func (c toyClient) frame() string {
	var head [4]byte
	if _, err := io.ReadFull(c.stream, head[:]); err != nil {
		return "end"
	}
	payload := make([]byte, binary.BigEndian.Uint16(head[2:]))
	io.ReadFull(c.stream, payload)
	return strings.TrimSpace(fmt.Sprintf("%c%d %s", head[0], head[1], payload))
}
