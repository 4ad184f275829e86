package exchange

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// A protocol for this test, which is not HTTP/1.1: many calls share one connection, cut into
// frames of a call's number, a kind, a length and a payload. An endpoint may decline a call
// before it begins with it.

const (
	kindHead    = 'H' // "METHOD path", or a status
	kindContent = 'C'
	kindEnd     = 'E' // of the request or the response; a trailer's value, if there is one
	kindDecline = 'D' // by the endpoint: the call was not processed
	kindCancel  = 'X' // by the proxy: the call is over
)

type frame struct {
	call    uint32
	kind    byte
	payload []byte
}

func (f frame) send(s engine.Stream) error {
	b := binary.BigEndian.AppendUint32(nil, f.call)
	b = append(b, f.kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.payload)))
	_, err := s.Write(append(b, f.payload...))
	return err
}

func receive(s engine.Stream) (f frame, err error) {
	var head [9]byte
	if err := fill(s, head[:]); err != nil {
		return f, err
	}
	f.call, f.kind = binary.BigEndian.Uint32(head[:]), head[4]
	f.payload = make([]byte, binary.BigEndian.Uint32(head[5:]))
	return f, fill(s, f.payload)
}

func fill(s engine.Stream, p []byte) error {
	for len(p) > 0 {
		n, err := s.Read(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// framePool has one connection to its endpoint, shared by all calls.
type framePool struct {
	st      *stage
	address string
	conn    *frameConn
}

type frameConn struct {
	stream engine.Stream
	calls  map[uint32]*frameCall
	last   uint32
	err    error // the connection has ended
}

func (p *framePool) Call(rt engine.Runtime, by time.Duration, fresh bool, _ *upstream.Bonds) (upstream.Call, error) {
	c := &frameCall{rt: rt, news: rt.NewSignal(), stale: p.conn != nil}
	if fresh || p.conn == nil || p.conn.err != nil {
		s, err := rt.Dial(&engine.Dial{Network: "tcp", Address: p.address, By: by})
		if err != nil {
			return nil, err
		}
		conn := &frameConn{stream: s, calls: make(map[uint32]*frameCall)}
		p.conn, c.stale = conn, false
		p.st.w.Daemon("reader", conn.read) // ends with the connection
	}
	c.conn = p.conn
	c.conn.last++
	c.number = c.conn.last
	c.conn.calls[c.number] = c
	return c, nil
}

// read hands frames to their calls.
func (conn *frameConn) read() {
	for conn.err == nil {
		f, err := receive(conn.stream)
		if err != nil {
			conn.err = err
			for _, c := range conn.calls {
				c.news.Set()
			}
			return
		}
		if c := conn.calls[f.call]; c != nil {
			c.in = append(c.in, f)
			c.news.Set()
		}
	}
}

// frameCall is one call.
type frameCall struct {
	rt      engine.Runtime
	conn    *frameConn
	number  uint32
	news    engine.Signal
	in      []frame
	why     error // of Interrupt
	stale   bool
	got     bool // anything
	decline bool
	trailer []message.Field
	ended   bool
}

var _ upstream.Call = (*frameCall)(nil)

func (c *frameCall) send(kind byte, payload []byte) error {
	if c.why != nil {
		return c.why
	}
	return frame{c.number, kind, payload}.send(c.conn.stream)
}

func (c *frameCall) Head(q *message.Request) {
	c.send(kindHead, fmt.Appendf(nil, "%s %s", q.Method, q.Path))
}
func (c *frameCall) Write(p []byte) error        { return c.send(kindContent, p) }
func (c *frameCall) Flush() error                { return nil }
func (c *frameCall) End(t []message.Field) error { return c.send(kindEnd, nil) }

// next waits for a frame.
func (c *frameCall) next(wait bool, by time.Duration) (f frame, err error) {
	for len(c.in) == 0 {
		switch {
		case c.why != nil:
			return f, c.why
		case c.conn.err != nil:
			return f, io.ErrUnexpectedEOF
		case !wait:
			return f, nil
		case !c.news.Wait(by):
			return f, engine.ErrTimeout
		}
	}
	f = c.in[0]
	c.in = c.in[1:]
	if f.kind == kindDecline {
		c.decline = true
		return f, fmt.Errorf("call %d: %w", c.number, upstream.ErrUnprocessed)
	}
	c.got = true
	return f, nil
}

func (c *frameCall) ReadHead(r *message.Response, _ []byte, by time.Duration) error {
	f, err := c.next(true, by)
	if err != nil {
		return err
	}
	r.Reset()
	fmt.Sscan(string(f.payload), &r.Status)
	r.Body = message.Chunked // until the end
	return nil
}

func (c *frameCall) Content(wait bool, by time.Duration) ([]byte, error) {
	f, err := c.next(wait, by)
	if f.kind == kindEnd {
		c.ended = true
		if len(f.payload) > 0 {
			c.trailer = []message.Field{message.NewField("Sum", string(f.payload))}
		}
		return nil, io.EOF
	}
	return f.payload, err
}

func (c *frameCall) Trailers() []message.Field { return c.trailer }
func (c *frameCall) Interrupt(err error) {
	if c.why == nil {
		c.why = err
	}
	c.news.Set()
}
func (c *frameCall) Stale() bool       { return c.stale && !c.got }
func (c *frameCall) Unprocessed() bool { return c.decline }
func (c *frameCall) Refusable() bool   { return true }
func (c *frameCall) Persists() bool    { return false } // the rest of a request is cancelled alone
func (c *frameCall) Done(whole bool) {
	delete(c.conn.calls, c.number)
	if !whole && c.conn.err == nil {
		frame{c.number, kindCancel, nil}.send(c.conn.stream)
	}
}

// frameSite is an endpoint that speaks the protocol: it sends a request's content back.
type frameSite struct {
	declines  int    // calls that are declined, behind their content
	breaks    bool   // the connection ends instead
	status    string // "": 200
	delay     time.Duration
	accepted  int
	cancelled []uint32
	contents  []string // of the requests, whatever became of them
}

func (s *frameSite) listen(st *stage, address string) {
	l := st.w.Listen(address)
	st.pools[address] = &framePool{st: st, address: address}
	st.w.Daemon(address, func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted++
			st.w.Daemon(address, func() { s.serve(st, c) })
		}
	})
}

func (s *frameSite) serve(st *stage, c engine.Stream) {
	contents := make(map[uint32][]byte)
	for {
		f, err := receive(c)
		if err != nil {
			c.Close()
			return
		}
		contents[f.call] = append(contents[f.call], f.payload...)
		switch {
		case f.kind == kindCancel:
			s.cancelled = append(s.cancelled, f.call)
		case f.kind == kindHead && bytes.HasPrefix(f.payload, []byte("POST")):
			contents[f.call] = nil
		case f.kind == kindHead, f.kind == kindEnd:
			body := contents[f.call]
			s.contents = append(s.contents, string(body))
			if s.breaks {
				c.Close()
				return
			}
			if s.declines > 0 {
				s.declines--
				frame{f.call, kindDecline, nil}.send(c)
				continue
			}
			st.w.Daemon("call", func() { s.answer(st, c, f.call, body) })
		}
	}
}

func (s *frameSite) answer(st *stage, c engine.Stream, call uint32, body []byte) {
	st.rt.Sleep(st.rt.Now() + s.delay)
	status := "200"
	if s.status != "" {
		status = s.status
	}
	frame{call, kindHead, []byte(status)}.send(c)
	frame{call, kindContent, body}.send(c)
	frame{call, kindEnd, []byte("7")}.send(c)
}
