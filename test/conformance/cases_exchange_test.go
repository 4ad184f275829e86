package conformance

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// repetition: what a proxy may send again.
var repetition = []testCase{
	{name: "a GET on a connection that dies under it", rfc: "RFC 9112 §9.3.1", play: func(p *play) {
		p.check(p.dying(get("/b"), fin).answer("GET"), []check{status(200), content("GET /b")})
	}},
	{name: "a GET on a connection that is reset under it", rfc: "RFC 9112 §9.3.1", play: func(p *play) {
		p.check(p.dying(get("/b"), reset).answer("GET"), []check{status(200), content("GET /b")})
	}},
	{name: "a POST on a connection that dies under it", rfc: "RFC 9110 §9.2.2", play: func(p *play) {
		p.once(p.dying(post("Content-Length: 5")+"hello", fin))
	}},
	{name: "a POST on a connection that is reset under it", rfc: "RFC 9110 §9.2.2", play: func(p *play) {
		p.once(p.dying(post("Content-Length: 5")+"hello", reset))
	}},
	{name: "a POST that an endpoint has taken", rfc: "RFC 9110 §9.2.2", setup: setup{two: true}, play: func(p *play) {
		p.serve(func(m *message) string {
			if m.method() == "POST" {
				return fin
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(post("Content-Length: 5") + "hello")
		p.once(c)
	}},
	{name: "a POST without content that an endpoint has taken", rfc: "RFC 9110 §9.2.2", setup: setup{two: true}, play: func(p *play) {
		p.serve(func(m *message) string {
			if m.method() == "POST" {
				return reset
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(post("Content-Length: 0"))
		p.once(c)
	}},
	{name: "a PATCH that an endpoint has taken", rfc: "RFC 9110 §9.2.2", setup: setup{two: true}, play: func(p *play) {
		p.serve(func(m *message) string {
			if m.method() == "PATCH" {
				return fin
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(head("PATCH / HTTP/1.1", hostField, "Content-Length: 5") + "hello")
		p.once(c)
	}},
	{name: "a POST answered 503", rfc: "RFC 9110 §9.2.2", setup: setup{two: true}, play: func(p *play) {
		p.serve(func(m *message) string {
			if m.method() == "POST" {
				return reply("503 Service Unavailable", "Content-Length: 5") + "later"
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(post("Content-Length: 5") + "hello")
		p.once(c)
	}},
	{name: "an unknown method that an endpoint has taken", rfc: "RFC 9110 §9.2.2", setup: setup{two: true}, play: func(p *play) {
		p.serve(func(m *message) string {
			if m.method() == "TRANSFER" {
				return fin
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(head("TRANSFER / HTTP/1.1", hostField, "Content-Length: 0"))
		p.once(c)
	}},
	{name: "a response that has begun", rfc: "RFC 9112 §8", setup: setup{two: true}, play: func(p *play) {
		p.serve(func(m *message) string {
			if m.target() == nextTarget {
				return answerTo(m)
			}
			return reply("200 OK", "Content-Length: 10") + "hello" + fin
		})
		c := p.dial()
		c.send(get("/"))
		if a, err := c.tryAnswer("GET"); err == nil && a.status() < 500 {
			p.failf("answered %d %.30q", a.status(), a.content)
		}
		p.next()
		p.one(nil)
	}},
	{name: "a PUT is sent with its content again, or not at all", rfc: "RFC 9110 §9.2.2", setup: setup{two: true}, play: func(p *play) {
		var broken atomic.Bool
		p.serve(func(m *message) string {
			if m.target() != nextTarget && broken.CompareAndSwap(false, true) {
				return fin
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(head("PUT / HTTP/1.1", hostField, "Content-Length: 5") + "hello")
		c.answer("PUT")
		p.wholly()
		for _, m := range p.requests() {
			p.check(m, []check{content("hello")})
		}
	}},
}

// dying sends a request behind another one, and lets the connection to the endpoint, which
// is a used one most likely, die as soon as the request is there.
func (p *play) dying(request, how string) *conn {
	c := p.dial()
	c.send(get("/"))
	e := p.accept()
	e.request()
	e.send(hello)
	p.check(c.answer("GET"), []check{status(200)})
	var died atomic.Bool
	reply := func(m *message) string {
		if died.CompareAndSwap(false, true) {
			return how
		}
		return answerTo(m)
	}
	p.serve(reply)
	p.tasks.Go(func() { e.serve(reply) })
	c.send(request)
	return c
}

// once: the client learns of the failure, and the endpoints have seen the request once.
func (p *play) once(c *conn) {
	switch a, err := c.tryAnswer("POST"); {
	case err == errNothing:
		p.failf("response: %v", err)
	case err == nil && a.status() < 500:
		p.failf("answered %d", a.status())
	}
	p.next()
	if n := len(p.requests()); n > 1 {
		p.failf("delivered %d times", n)
	}
}

// streaming: content goes on as it comes.
var streaming = []testCase{
	{name: "events arrive at once", rfc: "RFC 9112 §7.1", play: func(p *play) {
		c := p.dial()
		c.send(get("/", "Accept: text/event-stream"))
		e := p.accept()
		e.request()
		e.send(reply("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
		c.answerHead()
		for range 3 {
			e.send("9\r\ndata: a\n\n\r\n")
			c.expect("9\r\ndata: a\n\n\r\n")
		}
	}},
	{name: "content with a length arrives at once", rfc: "RFC 9112 §6.2", play: func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(reply("200 OK", "Content-Length: 10") + "hello")
		c.answerHead()
		c.expect("hello")
		e.send("world")
		c.expect("world")
	}},
	{name: "the head arrives before the content is there", rfc: "RFC 9112 §6", play: func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(reply("200 OK", "Content-Length: 5"))
		c.answerHead()
		e.send("hello")
		c.expect("hello")
	}},
	{name: "content until the end arrives at once", rfc: "RFC 9112 §6.3", play: func(p *play) {
		c := p.dial()
		c.send(head("GET / HTTP/1.0", hostField))
		e := p.accept()
		e.request()
		e.send("HTTP/1.0 200 OK\r\n\r\nhello")
		c.answerHead()
		c.expect("hello")
		e.send("world" + fin)
		c.expect("world")
		c.ended()
	}},
	{name: "an upload arrives at once", rfc: "RFC 9112 §6.2", play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 10") + "hello")
		e := p.accept()
		if _, err := e.head(); err != nil {
			p.failf("request: %v", explain(err))
		}
		e.expect("hello")
		c.send("world")
		e.expect("world")
		e.send(hello)
		p.check(c.answer("POST"), []check{status(200)})
	}},
	{name: "an upload in chunks arrives at once", rfc: "RFC 9112 §7.1", play: func(p *play) {
		c := p.dial()
		c.send(chunked("5\r\nhello\r\n"))
		e := p.accept()
		m, err := e.head()
		if err != nil {
			p.failf("request: %v", explain(err))
		}
		e.expect("5\r\nhello\r\n")
		c.send("5\r\nworld\r\n0\r\n\r\n")
		if err := e.finishRequest(m); err != nil || m.content != "world" {
			p.failf("%q: %v", m.content, err)
		}
		e.send(hello)
		p.check(c.answer("POST"), []check{status(200)})
	}},
	{name: "a final response during the upload arrives at once", rfc: "RFC 9112 §9.3", play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 1000000") + "hello")
		e := p.accept()
		if _, err := e.head(); err != nil {
			p.failf("request: %v", explain(err))
		}
		e.send(reply("403 Forbidden", "Content-Length: 2") + "no")
		p.check(c.answer("POST"), []check{status(403), content("no")})
	}},
	{name: "both sides talk at the same time", rfc: "RFC 9112 §9.3", play: func(p *play) {
		c := p.dial()
		c.send(chunked("5\r\nhello\r\n"))
		e := p.accept()
		if _, err := e.head(); err != nil {
			p.failf("request: %v", explain(err))
		}
		e.expect("5\r\nhello\r\n")
		e.send(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n")
		c.answerHead()
		c.expect("5\r\nhello\r\n")
		c.send("5\r\nworld\r\n0\r\n\r\n")
		e.expect("5\r\nworld\r\n0\r\n\r\n")
		e.send("5\r\nworld\r\n0\r\n\r\n")
		c.expect("5\r\nworld\r\n0\r\n\r\n")
	}},
	{name: "a client that does not read slows the endpoint down", rfc: "RFC 9110 §15.6.3", play: func(p *play) {
		c := p.dial()
		c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(reply("200 OK", "Content-Length: 1000000000"))
		c.answerHead()
		p.bounded(e)
	}},
	{name: "an endpoint that does not read slows the client down", rfc: "RFC 9110 §15.5.14", play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 1000000000"))
		e := p.accept()
		e.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		if _, err := e.head(); err != nil {
			p.failf("request: %v", explain(err))
		}
		p.bounded(c)
	}},
}

// What a sender may get rid of while the peer does not read: the buffers of four sockets, which Linux
// lets grow to 6 MiB each, and what a proxy has of its own. A sender that gets no further
// for stalled is held to be stopped: on a busy machine that may come too soon, which then
// finds no fault.
const (
	heldMax = 64 << 20
	stalled = 400 * time.Millisecond
)

// bounded: what c sends, and the peer does not read, is not swallowed without end.
func (p *play) bounded(c *conn) {
	block := make([]byte, 256<<10)
	for sent := 0; ; {
		c.SetWriteDeadline(time.Now().Add(stalled))
		n, err := c.Write(block)
		if sent += n; err != nil {
			return
		}
		if sent > heldMax {
			p.failf("holds more than %d MiB", heldMax>>20)
		}
	}
}

// expectation: 100 (Continue).
var expectation = []testCase{
	{name: "a client that waits for 100 gets it", rfc: "RFC 9110 §10.1.1", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(post("Content-Length: 5", "Expect: 100-continue"))
		m, err := c.head()
		if err != nil || !strings.HasPrefix(m.start, "HTTP/1.1 100") {
			p.failf("no 100: %v", explain(err))
		}
		c.send("hello")
		p.check(c.answer("POST"), []check{status(200)})
		p.one([]check{content("hello")})
		c.settled()
	}},
	{name: "a client that does not wait", rfc: "RFC 9110 §10.1.1", play: forwarded(post("Content-Length: 5", "Expect: 100-continue")+"hello", content("hello"))},
	{name: "Expect is passed on, or answered", rfc: "RFC 9110 §10.1.1", play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 5", "Expect: 100-Continue"))
		e := p.accept()
		m, err := e.head()
		if err != nil {
			p.failf("request: %v", explain(err))
		}
		if m.has("Expect", "100-continue") {
			e.send(reply("100 Continue"))
		}
		i, err := c.head()
		if err != nil || !strings.HasPrefix(i.start, "HTTP/1.1 100") {
			p.failf("no 100: %v", explain(err))
		}
		c.send("hello")
		if err := e.finishRequest(m); err != nil || m.content != "hello" {
			p.failf("content %q: %v", m.content, err)
		}
		e.send(hello)
		p.check(c.answer("POST"), []check{status(200)})
	}},
	{name: "an endpoint that refuses spares the upload", rfc: "RFC 9110 §10.1.1", play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 5", "Expect: 100-continue"))
		e := p.accept()
		if _, err := e.head(); err != nil {
			p.failf("request: %v", explain(err))
		}
		e.send(reply("401 Unauthorized", "Content-Length: 2") + "no")
		p.check(c.answer("POST"), []check{status(401), content("no")})
	}},
	{name: "content behind a refusal is no request", rfc: "RFC 9110 §10.1.1", play: func(p *play) {
		c := p.dial()
		c.send(post(fmt.Sprintf("Content-Length: %d", len(get("/hidden"))), "Expect: 100-continue"))
		e := p.accept()
		m, err := e.head()
		if err != nil {
			p.failf("request: %v", explain(err))
		}
		e.send(reply("401 Unauthorized", "Content-Length: 2") + "no")
		p.check(c.answer("POST"), []check{status(401)})
		p.serve(nil)
		p.tasks.Go(func() { // the endpoint reads the content if it comes after all
			if e.finishRequest(m) == nil {
				e.serve(answerTo)
			}
		})
		c.send(get("/hidden")) // the client sends its content all the same
		c.settled()
		p.next()
		if n := len(p.requests()); n > 0 {
			p.failf("content taken for a request")
		}
	}},
	{name: "a client of HTTP/1.0 gets no 100", rfc: "RFC 9110 §10.1.1", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("POST / HTTP/1.0", hostField, "Content-Length: 5", "Expect: 100-continue") + "hello")
		a := c.answer("POST")
		p.check(a, []check{status(200)})
		if len(a.interim) > 0 {
			p.failf("100 sent")
		}
		p.one([]check{content("hello")})
	}},
	{name: "another expectation", rfc: "RFC 9110 §10.1.1", play: either(get("/", "Expect: 200-ok"))},
}

// websocket is a request for an upgrade.
var websocket = get("/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")

// switching is the answer to it.
var switching = reply("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

// switched brings about a tunnel.
func (p *play) switched(late string) (c, e *conn) {
	c = p.dial()
	c.send(websocket)
	e = p.accept()
	p.check(e.request(), []check{elements("Upgrade", "websocket"), has("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), func(m *message) string {
		if !m.has("Connection", "Upgrade") {
			return "Connection does not name Upgrade"
		}
		return ""
	}})
	e.send(switching + late)
	a := c.answerHead()
	p.check(a, []check{status(101), elements("Upgrade", "websocket"), has("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")})
	if !a.has("Connection", "Upgrade") {
		p.failf("Connection does not name Upgrade")
	}
	return c, e
}

// upgrades: connections that become something else.
var upgrades = []testCase{
	{name: "WebSocket, both ways", rfc: "RFC 6455 §4", play: func(p *play) {
		c, e := p.switched("")
		for range 3 {
			c.send("\x81\x85\x00\x00\x00\x00hello")
			e.expect("\x81\x85\x00\x00\x00\x00hello")
			e.send("\x81\x05world")
			c.expect("\x81\x05world")
		}
	}},
	{name: "a message right behind 101", rfc: "RFC 6455 §4.1", play: func(p *play) {
		c, _ := p.switched("\x81\x05hello")
		c.expect("\x81\x05hello")
	}},
	{name: "the endpoint ends the tunnel", rfc: "RFC 6455 §7.1.1", play: func(p *play) {
		c, e := p.switched("")
		e.send("\x88\x00" + fin)
		c.expect("\x88\x00")
		c.ended()
	}},
	{name: "the client ends the tunnel", rfc: "RFC 6455 §7.1.1", play: func(p *play) {
		c, e := p.switched("")
		c.send("\x88\x80\x00\x00\x00\x00" + fin)
		e.expect("\x88\x80\x00\x00\x00\x00")
		e.ended()
	}},
	{name: "a client that breaks off ends the tunnel", rfc: "RFC 6455 §7.1.7", play: func(p *play) {
		c, e := p.switched("")
		c.abort()
		e.ended()
	}},
	{name: "one MiB through the tunnel", rfc: "RFC 6455 §5", play: func(p *play) {
		c, e := p.switched("")
		text := repeat("0123456789abcdef", 1<<16)
		p.tasks.Go(func() { e.send(text) })
		c.expect(text)
	}},
	{name: "another protocol than WebSocket", rfc: "RFC 9110 §7.8", play: func(p *play) {
		c := p.dial()
		c.send(get("/", "Connection: Upgrade", "Upgrade: x-protocol/2"))
		e := p.accept()
		p.check(e.request(), []check{elements("Upgrade", "x-protocol/2")})
		e.send(reply("101 Switching Protocols", "Connection: Upgrade", "Upgrade: x-protocol/2"))
		p.check(c.answerHead(), []check{status(101)})
		e.send("hello")
		c.expect("hello")
	}},
	{name: "an upgrade that is declined", rfc: "RFC 9110 §7.8", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(websocket)
		p.check(c.answer("GET"), []check{status(200), content("GET /")})
		c.settled()
	}},
	{name: "a refused WebSocket version leaves no tunnel", rfc: "RFC 6455 §4.2.2", play: func(p *play) {
		p.serve(func(m *message) string {
			if len(m.values("Upgrade")) > 0 {
				return reply("426 Upgrade Required", "Sec-WebSocket-Version: 13", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0")
			}
			return answerTo(m)
		})
		c := p.dial()
		c.send(get("/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 777"))
		p.check(c.answer("GET"), []check{status(426)})
		c.send(get("/hidden", "X-Real-IP: 192.0.2.66"))
		if a, err := c.tryAnswer("GET"); err == nil && a.content == "GET /hidden" {
			p.check(p.requests()[1], []check{has("X-Real-IP", peer)}) // it went through the proxy, not past it
		}
	}},
	{name: "426 says what to upgrade to", rfc: "RFC 9110 §15.5.22", play: relayed(reply("426 Upgrade Required", "Connection: Upgrade", "Upgrade: TLS/1.3", "Content-Length: 0"), status(426), elements("Upgrade", "TLS/1.3"))},
	{name: "101 to another protocol than was asked for", rfc: "RFC 9110 §7.8", play: func(p *play) {
		c := p.dial()
		c.send(websocket)
		e := p.accept()
		e.request()
		e.send(reply("101 Switching Protocols", "Connection: Upgrade", "Upgrade: other"))
		if a := c.answer("GET"); a.status() != 502 {
			p.failf("answered %d", a.status())
		}
	}},
	{name: "101 without Upgrade", rfc: "RFC 9110 §15.2.2", play: func(p *play) {
		c := p.dial()
		c.send(websocket)
		e := p.accept()
		e.request()
		e.send(reply("101 Switching Protocols"))
		if a := c.answer("GET"); a.status() != 502 {
			p.failf("answered %d", a.status())
		}
	}},
	{name: "HTTP/1.0 upgrades nothing", rfc: "RFC 9110 §7.8", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("GET / HTTP/1.0", hostField, "Connection: Upgrade", "Upgrade: websocket"))
		p.check(c.answer("GET"), []check{status(200)})
		p.one([]check{lacks("Upgrade")})
	}},
}

// methods pass, known or not.
var methods = []testCase{
	{name: "HEAD", rfc: "RFC 9110 §9.3.2", play: forwarded(head("HEAD /a HTTP/1.1", hostField), start("HEAD /a HTTP/1.1"))},
	{name: "PUT", rfc: "RFC 9110 §9.3.4", play: forwarded(head("PUT /a HTTP/1.1", hostField, "Content-Length: 5")+"hello", start("PUT /a HTTP/1.1"), content("hello"))},
	{name: "DELETE with content", rfc: "RFC 9110 §9.3.5", play: forwarded(head("DELETE /a HTTP/1.1", hostField, "Content-Length: 5")+"hello", start("DELETE /a HTTP/1.1"), content("hello"))},
	{name: "PATCH", rfc: "RFC 5789 §2", play: forwarded(head("PATCH /a HTTP/1.1", hostField, "Content-Length: 5")+"hello", start("PATCH /a HTTP/1.1"), content("hello"))},
	{name: "OPTIONS", rfc: "RFC 9110 §9.3.7", play: forwarded(head("OPTIONS /a HTTP/1.1", hostField), start("OPTIONS /a HTTP/1.1"))},
	{name: "an unknown method", rfc: "RFC 9110 §9.1", play: forwarded(head("BREW /a HTTP/1.1", hostField), start("BREW /a HTTP/1.1"))},
	{name: "the longest method there is", rfc: "RFC 9110 §16.1", play: forwarded(head("UPDATEREDIRECTREF /a HTTP/1.1", hostField), start("UPDATEREDIRECTREF /a HTTP/1.1"))},
	{name: "a method with every byte of a token", rfc: "RFC 9110 §9.1", play: forwarded(head("M!#$%&'*+-.^_`|~9 /a HTTP/1.1", hostField), start("M!#$%&'*+-.^_`|~9 /a HTTP/1.1"))},
	{name: "a method of 10 KiB", rfc: "RFC 9112 §3", play: either(head(repeat("M", 10<<10)+" / HTTP/1.1", hostField), start(repeat("M", 10<<10)+" / HTTP/1.1"))},
	{name: "TRACE passes, or is refused", rfc: "RFC 9110 §9.3.8", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("TRACE /a HTTP/1.1", hostField))
		a := c.answer("TRACE")
		if seen := p.requests(); a.status() == 200 && len(seen) == 1 {
			p.check(seen[0], []check{start("TRACE /a HTTP/1.1")})
		} else if a.status() != 405 && a.status() != 501 {
			p.failf("answered %d", a.status())
		}
	}},
	{name: "CONNECT opens nothing", rfc: "RFC 9110 §9.3.6", play: noTunnel("CONNECT example.com:443 HTTP/1.1", "Host: example.com:443")},
	{name: "CONNECT to a path opens nothing", rfc: "RFC 9112 §3.2.3", play: noTunnel("CONNECT /a HTTP/1.1", hostField)},
}

func noTunnel(lines ...string) func(*play) {
	return func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head(lines...))
		a, err := c.tryAnswer("CONNECT")
		switch {
		case err != nil && err != io.EOF:
			p.failf("response: %v", err)
		case err == nil && a.status() < 400:
			p.failf("answered %d", a.status())
		}
		p.next()
		p.notForwarded()
	}
}
