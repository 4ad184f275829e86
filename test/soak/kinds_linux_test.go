package soak

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// A client is one task that makes connections of all kinds, one after the other.
type client struct {
	soak   *soak
	number int
	rand   *rand.Rand
}

// kinds are what a client does with a connection.
var kinds = []struct {
	name string
	run  func(*client, *conn)
}{
	{"keep-alive", (*client).keepAlive},
	{"keep-alive", (*client).keepAlive},
	{"close", (*client).close},
	{"pipelined", (*client).pipeline},
	{"pipelined", (*client).pipeline},
	{"aborted", (*client).abort},
	{"aborted", (*client).abort},
	{"slow reader", (*client).readSlowly},
	{"slow writer", (*client).writeSlowly},
	{"tunnel", (*client).tunnel},
	{"idle", (*client).idle},
}

// run makes connections until the round is over.
func (c *client) run(over func() bool) {
	for !over() {
		kind := kinds[c.rand.IntN(len(kinds))]
		k, err := c.soak.dial(c.number)
		if err != nil {
			c.soak.fail("%s: connecting: %v", kind.name, err)
			return
		}
		kind.run(c, k)
		c.soak.done.add(kind.name)
		k.conn.Close()
		k.raw.Close()
	}
}

// exchange sends a request, reads the response and reports whether the connection may be
// used again.
func (c *client) exchange(kind string, k *conn, o *order, pause time.Duration) (again bool) {
	e := c.soak.issue(c.number, o)
	k.raw.SetDeadline(time.Now().Add(patience))
	s := k.send(e, c.rand, pause)
	r := k.receive(e, func() {
		select {
		case s.goOn <- true:
		default:
		}
	})
	whole := s.end()
	wrong := c.soak.judge(e, r)
	if wrong == "" && r.whole && s.err == errHeld && !r.close {
		wrong = "the connection is kept although the content was not asked for"
	}
	if wrong != "" {
		c.soak.say(kind, wrong+"\nthe order before it: "+k.before, e, r)
		return false
	}
	k.before = e.text
	if e.act == early && e.service == "h2c" {
		// What is left of the content may wait for a window that is not opened any more. It is not
		// read, and the connection ends without having said so in a head that had left long ago.
		return false
	}
	return r.whole && whole && !r.close && c.alone(kind, k, e)
}

// alone: nothing may follow a response without a request.
func (c *client) alone(kind string, k *conn, e *entry) bool {
	if k.quiet() {
		return true
	}
	more, _ := k.in.Peek(k.in.Buffered())
	c.soak.fail("%s: %.80q behind a response\norder: %s", kind, more, e.text)
	return false
}

func (c *client) keepAlive(k *conn) {
	for n := c.rand.IntN(25); n >= 0 && c.exchange("keep-alive", k, draw(c.rand), 0); n-- {
	}
}

// close: the client says that this is all, or speaks a protocol where that is understood.
func (c *client) close(k *conn) {
	o := draw(c.rand)
	o.last = true
	if c.rand.IntN(2) == 0 {
		o.minor, o.upFrame, o.expect = 0, byLength, false
	}
	if !c.exchange("close", k, o, 0) {
		if n, err := k.in.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
			c.soak.fail("close: the connection is still there: %v\norder: %s", err, o)
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// pipeline sends many requests before it reads the first response.
func (c *client) pipeline(k *conn) {
	for range 1 + c.rand.IntN(3) {
		var all []*entry
		var wire []byte
		for range 2 + c.rand.IntN(10) {
			e := c.soak.issue(c.number, clean(c.rand))
			all = append(all, e)
			wire = append(wire, e.whole(c.rand)...)
		}
		k.raw.SetDeadline(time.Now().Add(patience))
		s := &sending{conn: k, goOn: make(chan bool, 1)}
		s.done.Go(func() { _, s.err = k.conn.Write(wire) })
		for i, e := range all {
			k.raw.SetDeadline(time.Now().Add(patience))
			r := k.receive(e, func() {})
			if wrong := c.soak.judge(e, r); wrong != "" {
				c.soak.say(fmt.Sprintf("pipelined, %d of %d", i+1, len(all)), wrong, e, r)
				k.raw.Close()
				s.end()
				return
			}
			if r.close || !r.whole {
				c.soak.met.add("pipelines that ended early")
				k.raw.Close()
				s.end()
				return
			}
		}
		if !s.end() || !c.alone("pipelined", k, all[len(all)-1]) {
			return
		}
	}
}

// abort leaves in the middle of something, with manners or without.
func (c *client) abort(k *conn) {
	for range c.rand.IntN(3) { // the connection has been used before
		if !c.exchange("aborted", k, clean(c.rand), 0) {
			return
		}
	}
	o := draw(c.rand)
	o.expect = false
	e := c.soak.issue(c.number, o)
	wire := e.whole(c.rand)
	k.raw.SetDeadline(time.Now().Add(patience))
	switch c.rand.IntN(4) {
	case 0: // within the head
		head := len(e.head())
		k.conn.Write(wire[:c.rand.IntN(head)])
	case 1: // anywhere
		c.try(k, wire[:c.rand.IntN(len(wire)+1)])
	case 2: // while it waits
		c.try(k, wire)
		time.Sleep(time.Duration(c.rand.IntN(20)) * time.Millisecond)
	default: // within the response
		c.try(k, wire)
		n := c.rand.IntN(2000)
		if c.rand.IntN(2) == 0 {
			n = c.rand.IntN(o.down + 2000)
		}
		k.raw.SetDeadline(time.Now().Add(time.Second))
		io.CopyN(io.Discard, k.in, int64(n))
	}
	if c.rand.IntN(2) == 0 {
		reset(k.raw)
	}
	c.soak.met.add("requests aborted")
}

// try writes as much as is taken: an early response may be the end of it.
func (c *client) try(k *conn, p []byte) {
	k.raw.SetWriteDeadline(time.Now().Add(time.Second))
	k.conn.Write(p)
}

// readSlowly has responses wait in the proxy.
func (c *client) readSlowly(k *conn) {
	k.raw.(*net.TCPConn).SetReadBuffer(64 << 10)
	for range 1 + c.rand.IntN(2) {
		o := draw(c.rand)
		o.down = 50_000 + c.rand.IntN(1_500_000)
		if o.act == babbling || o.act == resetBody {
			o.act = plainly
		}
		k.slowly.every = o.down/40 + 1
		k.slowly.pause = time.Duration(c.rand.IntN(15)) * time.Millisecond
		if !c.exchange("slow reader", k, o, 0) {
			return
		}
	}
}

// writeSlowly has requests come in drops.
func (c *client) writeSlowly(k *conn) {
	for range 1 + c.rand.IntN(2) {
		o := draw(c.rand)
		o.up = min(o.up, 100_000)
		if !c.exchange("slow writer", k, o, time.Duration(1+c.rand.IntN(5))*time.Millisecond) {
			return
		}
	}
}

// idle leaves pauses in which connections to endpoints grow old.
func (c *client) idle(k *conn) {
	for range 3 {
		if !c.exchange("idle", k, draw(c.rand), 0) {
			return
		}
		time.Sleep(time.Duration(c.rand.IntN(900)) * time.Millisecond)
	}
}

// tunnel switches protocols and has an endpoint say everything again.
func (c *client) tunnel(k *conn) {
	o := &order{service: "calm", method: "GET", minor: 1, up: -1, status: 101}
	e := c.soak.issue(c.number, o)
	early := contentOf(e.token, upwards)
	head := bytes.TrimSuffix(e.head(), []byte("\r\n"))
	head = append(head, "Connection: upgrade\r\nUpgrade: echo\r\n\r\n"...)
	k.raw.SetDeadline(time.Now().Add(patience))
	k.conn.Write(head)
	r := k.receive(e, func() {})
	if r.corrupt != nil || r.status != 101 {
		c.soak.say("tunnel", "no tunnel", e, r)
		return
	}
	length := size(c.rand)
	s := &sending{conn: k, goOn: make(chan bool, 1)}
	s.done.Go(func() {
		for left := length; left > 0 && s.err == nil; {
			n := min(left, 30_000)
			left -= n
			_, s.err = k.conn.Write(appendContent(nil, early, n, false))
		}
		if s.err == nil {
			s.err = k.conn.(interface{ CloseWrite() error }).CloseWrite()
		}
	})
	n, _, err := readContent(k.in, contentOf(e.token, upwards), -2, false)
	if ok := s.end(); !ok || err != nil || n != length {
		c.soak.fail("tunnel: %d of %d bytes came back: %v; sending: %v\norder: %s", n, length, err, s.err, e.text)
		if isTimeout(err) {
			c.soak.dump()
		}
		return
	}
	c.soak.checked.Add(1)
}
