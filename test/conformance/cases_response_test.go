package conformance

import (
	"io"
	"strings"
)

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// responseFraming: where a response ends, and that what is behind it is no response.
var responseFraming = []testCase{
	{name: "a length", rfc: "RFC 9112 §6.3", play: relayed(hello, content("hello"), framed("length"))},
	{name: "length 0", rfc: "RFC 9112 §6.3", play: relayed(reply("200 OK", "Content-Length: 0"), content(""), framed("length"))},
	{name: "chunks", rfc: "RFC 9112 §7.1", play: relayed(reply("200 OK", "Transfer-Encoding: chunked")+"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", content("hello world"))},
	{name: "no chunk but the last", rfc: "RFC 9112 §7.1", play: relayed(reply("200 OK", "Transfer-Encoding: chunked")+"0\r\n\r\n", content(""))},
	{name: "chunk extensions", rfc: "RFC 9112 §7.1.1", play: relayed(reply("200 OK", "Transfer-Encoding: chunked")+"5;a=b\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "until the end of the connection", rfc: "RFC 9112 §6.3", play: relayed(reply("200 OK")+"hello"+fin, content("hello"))},
	{name: "until the end of the connection, HTTP/1.0", rfc: "RFC 9112 §6.3", play: relayed("HTTP/1.0 200 OK\r\n\r\nhello"+fin, content("hello"))},
	{name: "nothing until the end of the connection", rfc: "RFC 9112 §6.3", play: relayed(reply("200 OK")+fin, content(""))},
	{name: "one MiB with a length", rfc: "RFC 9112 §6.2", play: relayed(reply("200 OK", "Content-Length: 1048576")+repeat("0123456789abcdef", 1<<16), content(repeat("0123456789abcdef", 1<<16)))},
	{name: "one MiB until the end of the connection", rfc: "RFC 9112 §6.3", play: relayed(reply("200 OK")+repeat("0123456789abcdef", 1<<16)+fin, content(repeat("0123456789abcdef", 1<<16)))},
	{name: "content and its coding pass unchanged", rfc: "RFC 9110 §7.7", play: relayed(reply("200 OK", "Content-Length: 6", "Content-Encoding: gzip")+"\x1f\x8b\x00\xff\r\n", content("\x1f\x8b\x00\xff\r\n"), has("Content-Encoding", "gzip"))},
	{name: "206 and its range", rfc: "RFC 9110 §15.3.7", play: relayed(reply("206 Partial Content", "Content-Length: 5", "Content-Range: bytes 0-4/10")+"hello", status(206), has("Content-Range", "bytes 0-4/10"), content("hello"))},
	{name: "the same length twice", rfc: "RFC 9110 §8.6", play: eitherRelayed(reply("200 OK", "Content-Length: 5", "Content-Length: 5")+"hello", content("hello"))},
	{name: "two lengths", rfc: "RFC 9112 §6.3", play: rejected(reply("200 OK", "Content-Length: 5", "Content-Length: 6") + "hello!" + fin)},
	{name: "a list of lengths", rfc: "RFC 9112 §6.3", play: rejected(reply("200 OK", "Content-Length: 5, 6") + "hello!" + fin)},
	{name: "a length that is no number", rfc: "RFC 9112 §6.3", play: rejected(reply("200 OK", "Content-Length: five") + "hello" + fin)},
	{name: "a length below zero", rfc: "RFC 9112 §6.3", play: rejected(reply("200 OK", "Content-Length: -5") + "hello" + fin)},
	{name: "a length with a plus", rfc: "RFC 9112 §6.3", play: rejected(reply("200 OK", "Content-Length: +5") + "hello" + fin)},
	{name: "a length beside chunks", rfc: "RFC 9112 §6.3", play: eitherRelayed(reply("200 OK", "Content-Length: 3", "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "an unknown transfer coding", rfc: "RFC 9112 §6.1", play: rejected(reply("200 OK", "Transfer-Encoding: xchunked") + "5\r\nhello\r\n0\r\n\r\n" + fin)},
	{name: "chunked twice", rfc: "RFC 9112 §6.1", play: rejected(reply("200 OK", "Transfer-Encoding: chunked, chunked") + "5\r\nhello\r\n0\r\n\r\n" + fin)},
	{name: "a chunk size that is no number", rfc: "RFC 9112 §7.1", play: truncated(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\nxyz\r\nworld\r\n0\r\n\r\n" + fin)},
	{name: "a chunk size of 2^64 + 5", rfc: "RFC 9112 §7.1", play: truncated(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n10000000000000005\r\nworld\r\n0\r\n\r\n" + fin)},
	{name: "a chunk without an end", rfc: "RFC 9112 §7.1", play: truncated(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello0\r\n\r\n" + fin)},
	{name: "content cut short", rfc: "RFC 9112 §8", play: truncated(reply("200 OK", "Content-Length: 10") + "hello" + fin)},
	{name: "content cut short by a reset", rfc: "RFC 9112 §8", play: broken(reply("200 OK", "Content-Length: 10") + "hello")},
	{name: "chunks cut short", rfc: "RFC 9112 §8", play: truncated(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n" + fin)},
	{name: "a chunk cut short", rfc: "RFC 9112 §8", play: truncated(reply("200 OK", "Transfer-Encoding: chunked") + "8\r\nhello" + fin)},
	{name: "chunks without the last empty line", rfc: "RFC 9112 §8", play: truncated(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n" + fin)},
	{name: "content until the end that is a reset", rfc: "RFC 9112 §8", play: broken(reply("200 OK") + "hello")},
	{name: "content until the end that is a reset, for HTTP/1.0", rfc: "RFC 9112 §8", play: func(p *play) {
		p.brokenTo(head("GET / HTTP/1.0", hostField), reply("200 OK", "Transfer-Encoding: chunked")+"5\r\nhello\r\n")
	}},
	{name: "trailers do not become fields of the head", rfc: "RFC 9110 §6.5.1", play: relayedTo(get("/", "TE: trailers", "Connection: TE"),
		reply("200 OK", "Transfer-Encoding: chunked", "Trailer: X-T")+"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", content("hello"), lacks("X-T"))},
	{name: "trailers that could change the response do not get into its head", rfc: "RFC 9110 §6.5.1", play: relayedTo(get("/", "TE: trailers", "Connection: TE"),
		reply("200 OK", "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\nContent-Length: 1\r\nSet-Cookie: a=b\r\n\r\n", content("hello"), lacks("Set-Cookie"))},
	{name: "HEAD: with the length, without content", rfc: "RFC 9110 §9.3.2", play: relayedTo(head("HEAD / HTTP/1.1", hostField), reply("200 OK", "Content-Length: 5"), has("Content-Length", "5"))},
	{name: "HEAD: chunked, without content", rfc: "RFC 9112 §6.1", play: relayedTo(head("HEAD / HTTP/1.1", hostField), reply("200 OK", "Transfer-Encoding: chunked"), status(200))},
	{name: "HEAD: neither length nor chunked", rfc: "RFC 9110 §9.3.2", play: relayedTo(head("HEAD / HTTP/1.1", hostField), reply("200 OK"), status(200))},
	{name: "204", rfc: "RFC 9110 §15.3.5", play: relayed(reply("204 No Content"), status(204))},
	{name: "204 with a length", rfc: "RFC 9110 §8.6", play: eitherRelayed(reply("204 No Content", "Content-Length: 5"), status(204))},
	{name: "304 with the length of what is not sent", rfc: "RFC 9110 §8.6", play: relayed(reply("304 Not Modified", "Content-Length: 5", "ETag: \"a\""), status(304), has("ETag", `"a"`))},
	{name: "304 with chunks that are not sent", rfc: "RFC 9112 §6.1", play: relayed(reply("304 Not Modified", "Transfer-Encoding: chunked"), status(304))},
	{name: "a client of HTTP/1.0 gets no chunks", rfc: "RFC 9112 §6.1", play: relayedTo(head("GET / HTTP/1.0", hostField), reply("200 OK", "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n",
		content("hello"), unchunked)},
	{name: "HEAD: content that must not be there is no response", rfc: "RFC 9112 §9.2", play: unmixed(head("HEAD / HTTP/1.1", hostField), reply("200 OK", "Content-Length: 38")+reply("200 Forged", "Content-Length: 0"))},
	{name: "204: content that must not be there is no response", rfc: "RFC 9112 §9.2", play: unmixed(get("/"), reply("204 No Content")+reply("200 Forged", "Content-Length: 0"))},
	{name: "304: content that must not be there is no response", rfc: "RFC 9112 §9.2", play: unmixed(get("/"), reply("304 Not Modified", "Content-Length: 38")+reply("200 Forged", "Content-Length: 0"))},
	{name: "content longer than its length is no response", rfc: "RFC 9112 §9.2", play: unmixed(get("/"), hello+reply("200 Forged", "Content-Length: 0"))},
	{name: "bytes behind the last chunk are no response", rfc: "RFC 9112 §9.2", play: unmixed(get("/"), reply("200 OK", "Transfer-Encoding: chunked")+"0\r\n\r\n"+reply("200 Forged", "Content-Length: 0"))},
	{name: "a response on an idle connection is no response", rfc: "RFC 9112 §9.2", play: unsolicited(reply("200 Forged", "Content-Length: 0"))},
	{name: "408 on an idle connection is no response", rfc: "RFC 9110 §15.5.9", play: unsolicited(reply("408 Request Timeout", "Content-Length: 0", "Connection: close"))},
}

// broken: the endpoint resets its connection in the middle of a response, which must not
// come out as whole. The reset takes place once the client has got the beginning, for it
// overtakes what has not been read.
func broken(beginning string) func(*play) {
	return func(p *play) { p.brokenTo(get("/"), beginning) }
}

func (p *play) brokenTo(request, beginning string) {
	c := p.dial()
	c.send(request)
	e := p.accept()
	e.request()
	e.send(beginning)
	m := c.answerHead()
	if m.status() == 502 {
		return
	}
	c.wait()
	if _, err := c.in.Peek(1); err != nil { // all of the beginning has gone through then
		p.failf("content: %v", explain(why(err, true)))
	}
	e.abort()
	switch err := c.finishAnswer(m, "GET"); {
	case err == nil:
		p.failf("passed on as if it were whole, delimited by %q", m.framing)
	case err != errCut:
		p.failf("content: %v", err)
	}
}

// unsolicited: the endpoint sends something without a request.
func unsolicited(text string) func(*play) {
	return func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(hello)
		p.check(c.answer("GET"), []check{status(200), content("hello")})
		e.send(text)
		p.serve(nil) // on connections that are still to come
		c.send(get(nextTarget))
		if a := c.answer("GET"); a.content != "GET "+nextTarget {
			p.failf("the next request is answered %d %.30q", a.status(), a.content)
		}
	}
}

// connections: how long they live, and for whom.
var connections = []testCase{
	{name: "a connection persists", rfc: "RFC 9112 §9.3", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		for range 3 {
			c.send(get("/"))
			p.check(c.answer("GET"), []check{status(200), without("close")})
		}
	}},
	{name: "a connection persists behind content", rfc: "RFC 9112 §9.3", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		for range 3 {
			c.send(post("Content-Length: 5") + "hello")
			p.check(c.answer("POST"), []check{status(200), without("close")})
		}
	}},
	{name: "Connection: close of the client", rfc: "RFC 9112 §9.6", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(get("/", "Connection: close"))
		a := c.answer("GET")
		if !a.has("Connection", "close") {
			p.failf("close is not announced")
		}
		c.ended()
	}},
	{name: "CLOSE in capitals, in a list", rfc: "RFC 9110 §7.6.1", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(get("/", "Connection: x-a, CLOSE"))
		c.answer("GET")
		c.ended()
	}},
	{name: "Connection: close of the endpoint is not the client's", rfc: "RFC 9112 §9.6", play: func(p *play) {
		p.serve(func(m *message) string {
			return reply("200 OK", "Content-Length: 5", "Connection: close") + "hello" + fin
		})
		c := p.dial()
		for range 3 {
			c.send(get("/"))
			p.check(c.answer("GET"), []check{status(200), content("hello"), without("close")})
		}
	}},
	{name: "HTTP/1.0 ends the connection", rfc: "RFC 9112 §9.3", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("GET / HTTP/1.0", hostField))
		p.check(c.answer("GET"), []check{status(200), content("GET /")})
		c.ended()
	}},
	{name: "HTTP/1.0 with keep-alive", rfc: "RFC 9112 §9.3", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("GET / HTTP/1.0", hostField, "Connection: keep-alive"))
		if a := c.answer("GET"); !a.has("Connection", "keep-alive") {
			c.ended()
			return
		}
		c.send(head("GET /a HTTP/1.0", hostField))
		p.check(c.answer("GET"), []check{content("GET /a")})
	}},
	{name: "an endpoint of HTTP/1.0 is not asked twice on one connection", rfc: "RFC 9112 §9.3", play: func(p *play) {
		p.serve(func(m *message) string { return "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello" + fin })
		c := p.dial()
		for range 3 {
			c.send(get("/"))
			p.check(c.answer("GET"), []check{status(200), content("hello")})
		}
	}},
	{name: "pipelined requests are answered in order", rfc: "RFC 9112 §9.3.2", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(get("/a") + get("/b") + get("/c"))
		for _, t := range []string{"/a", "/b", "/c"} {
			p.check(c.answer("GET"), []check{content("GET " + t)})
		}
	}},
	{name: "a request pipelined behind content", rfc: "RFC 9112 §9.3.2", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(post("Content-Length: 5") + "hello" + get("/b"))
		p.check(c.answer("POST"), []check{content("POST /")})
		p.check(c.answer("GET"), []check{content("GET /b")})
	}},
	{name: "a request pipelined behind chunks", rfc: "RFC 9112 §9.3.2", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(chunked("5\r\nhello\r\n0\r\n\r\n") + get("/b"))
		p.check(c.answer("POST"), []check{content("POST /")})
		p.check(c.answer("GET"), []check{content("GET /b")})
	}},
	{name: "a request pipelined behind close is not looked at", rfc: "RFC 9112 §9.6", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(get("/a", "Connection: close") + get("/b"))
		p.check(c.answer("GET"), []check{content("GET /a")})
		c.ended()
		p.next()
		p.one([]check{target("/a")})
	}},
	{name: "requests of several clients do not mix", rfc: "RFC 9112 §9.2", play: func(p *play) {
		p.serve(nil)
		one, two := p.dial(), p.dial()
		one.send("GET /one HT")
		two.send(get("/two"))
		p.check(two.answer("GET"), []check{content("GET /two")})
		one.send("TP/1.1\r\n" + hostField + "\r\n\r\n")
		p.check(one.answer("GET"), []check{content("GET /one")})
	}},
	{name: "a head that does not end is given up", rfc: "RFC 9112 §9.5", setup: setup{quick: true}, play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send("GET / HTTP/1.1\r\nHost: exam")
		switch a, err := c.tryAnswer("GET"); {
		case err == nil && a.status() != 408:
			p.failf("answered %d", a.status())
		case err != nil && why(err, true) == errNothing, err == errNothing:
			p.failf("waits for ever")
		}
	}},
	{name: "an idle connection is closed in good order", rfc: "RFC 9112 §9.5", setup: setup{quick: true}, play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(get("/"))
		for range 10 { // on a busy machine even the first request may come too late
			if _, err := c.tryAnswer("GET"); err != io.EOF {
				break
			}
			c = p.dial()
			c.send(get("/"))
		}
		c.ended()
	}},
	{name: "an endpoint closes an idle connection", rfc: "RFC 9112 §9.5", play: func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(hello)
		c.answer("GET")
		e.Close()
		p.serve(nil)
		c.send(get("/b"))
		p.check(c.answer("GET"), []check{content("GET /b")})
	}},
	{name: "a response is readable although the client still sends", rfc: "RFC 9112 §9.6", play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 10000000") + "hello")
		e := p.accept()
		if _, err := e.head(); err != nil {
			p.failf("request: %v", explain(err))
		}
		e.send(reply("413 Content Too Large", "Content-Length: 8", "Connection: close") + "too much" + fin)
		p.tasks.Go(func() { c.send(repeat("0123456789abcdef", 10_000)) })
		p.check(c.answer("POST"), []check{status(413), content("too much")})
	}},
	{name: "behind a refusal the connection is not reset while the client still sends", rfc: "RFC 9112 §9.6", std: stdReset, play: func(p *play) {
		c := p.dial()
		c.send(post("Content-Length: 100000", "Content-Length: 99999") + repeat("0123456789", 10_000)) // one write, more than one read takes
		p.check(c.answer("POST"), []check{status(400)})
		c.wait()
		if _, err := c.in.ReadByte(); err != io.EOF {
			p.failf("after the answer: %v", err)
		}
	}},
	{name: "the endpoint sees that a waiting client has left", rfc: "RFC 9112 §9.6", play: func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		c.Close()
		e.ended()
	}},
	{name: "the endpoint sees that a client has left in the middle of a response", rfc: "RFC 9112 §9.6", play: func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(reply("200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n")
		c.answerHead()
		c.abort()
		e.ended()
	}},
}
