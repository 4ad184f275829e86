package conformance

import (
	"fmt"
	"strings"
)

// What net/http decides before Poise is asked, and does not tell.
const (
	stdBoth  = "net/http takes the chunks, drops the length, and keeps the connection instead of closing it. What follows is read as the next request, and has to pass what every request has to pass."
	stdOld   = "net/http passes over Transfer-Encoding in HTTP/1.0: it takes the request for one without content."
	stdReset = "net/http closes at once behind most of its own refusals, which resets a connection on which something is unread."
	stdEmpty = "net/http reads no empty line before a request line, and answers 400. Only clients of old send one."
)

// requestFraming: where a request ends has to be beyond doubt, for every reader
// differently behind the proxy takes a part of its content for the next request.
var requestFraming = []testCase{
	{name: "a length", rfc: "RFC 9112 §6.2", play: forwarded(post("Content-Length: 5")+"hello", content("hello"), framed("length"))},
	{name: "no length and no content", rfc: "RFC 9112 §6.3", play: forwarded(post(), content(""))},
	{name: "length 0", rfc: "RFC 9110 §8.6", play: forwarded(post("Content-Length: 0"), content(""))},
	{name: "a length with leading zeros", rfc: "RFC 9110 §8.6", play: either(post("Content-Length: 005")+"hello", content("hello"))},
	{name: "content of a GET", rfc: "RFC 9110 §9.3.1", play: either(get("/", "Content-Length: 5")+"hello", content("hello"))},
	{name: "a length beside chunks", rfc: "RFC 9112 §6.1", std: stdBoth, play: eitherAndShut(post("Content-Length: 5", "Transfer-Encoding: chunked")+"2\r\nhi\r\n0\r\n\r\n",
		content("hi"), lacks("Content-Length"))},
	{name: "chunks before a length that hides a request (TE.CL)", rfc: "RFC 9112 §11.2", std: stdBoth, play: eitherAndShut(post("Transfer-Encoding: chunked", "Content-Length: 4")+
		"21\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n", content("GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"), lacks("Content-Length"))},
	{name: "a length before chunks that hide a request (CL.TE)", rfc: "RFC 9112 §11.2", std: stdBoth, play: eitherAndShut(post("Content-Length: 42", "Transfer-Encoding: chunked")+
		"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n", content(""), lacks("Content-Length"))},
	{name: "the same length twice", rfc: "RFC 9110 §8.6", play: either(post("Content-Length: 5", "Content-Length: 5")+"hello", content("hello"))},
	{name: "two lengths", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 5", "Content-Length: 6") + "hello!")},
	{name: "two lengths, the first is 0", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 0", "Content-Length: 37") + get("/hidden"))},
	{name: "a list of the same length", rfc: "RFC 9110 §8.6", play: either(post("Content-Length: 5, 5")+"hello", content("hello"))},
	{name: "a list of lengths", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 5, 6") + "hello!")},
	{name: "a length with a plus", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: +5") + "hello")},
	{name: "a length below zero", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: -5") + "hello")},
	{name: "a hexadecimal length", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 0x5") + "hello")},
	{name: "a length with a space inside", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 1 0") + "hello world")},
	{name: "an empty length", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length:") + "hello")},
	{name: "a length with a fraction", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 5.0") + "hello")},
	{name: "a length of 2^64 + 5", rfc: "RFC 9110 §8.6", play: shut(post("Content-Length: 18446744073709551621")+"hello", 413)},
	{name: "a length in other digits", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: ５") + "hello")},
	{name: "an unknown transfer coding", rfc: "RFC 9112 §6.1", play: shut(post("Transfer-Encoding: xchunked")+"0\r\n\r\n", 422, 501)},
	{name: "an unknown transfer coding beside a length", rfc: "RFC 9112 §6.3", play: shut(post("Content-Length: 5", "Transfer-Encoding: xchunked")+"0\r\n\r\n", 422, 501)},
	{name: "chunked twice", rfc: "RFC 9112 §6.1", play: shut(post("Transfer-Encoding: chunked, chunked")+"0\r\n\r\n", 422, 501)},
	{name: "chunked is not the last coding", rfc: "RFC 9112 §6.3", play: shut(post("Transfer-Encoding: chunked, gzip")+"0\r\n\r\n", 422, 501)},
	{name: "another coding before chunked", rfc: "RFC 9112 §6.1", play: shut(post("Transfer-Encoding: gzip, chunked")+"0\r\n\r\n", 422, 501)},
	{name: "identity, which is no coding any more", rfc: "RFC 9112 §7", play: shut(post("Transfer-Encoding: identity", "Content-Length: 5")+"hello", 422, 501)},
	{name: "two fields, chunked and identity", rfc: "RFC 9112 §6.3", play: shut(post("Transfer-Encoding: chunked", "Transfer-Encoding: identity")+"0\r\n\r\n", 422, 501)},
	{name: "two fields, identity and chunked", rfc: "RFC 9112 §6.1", play: shut(post("Transfer-Encoding: identity", "Transfer-Encoding: chunked")+"0\r\n\r\n", 422, 501)},
	{name: "an empty coding", rfc: "RFC 9112 §6.1", play: shut(post("Transfer-Encoding:")+"0\r\n\r\n", 422, 501)},
	{name: "chunked with a parameter", rfc: "RFC 9112 §7.1", play: shut(post("Transfer-Encoding: chunked;q=1")+"0\r\n\r\n", 422, 501)},
	{name: "chunked in quotes", rfc: "RFC 9112 §7", play: shut(post(`Transfer-Encoding: "chunked"`)+"0\r\n\r\n", 422, 501)},
	{name: "chunked behind a vertical tab", rfc: "RFC 9110 §5.5", play: shut(post("Transfer-Encoding: \x0bchunked")+"0\r\n\r\n", 422, 501)},
	{name: "chunked behind a NUL", rfc: "RFC 9110 §5.5", play: shut(post("Transfer-Encoding: \x00chunked")+"0\r\n\r\n", 422, 501)},
	{name: "chunked before a byte above ASCII", rfc: "RFC 9112 §7", play: shut(post("Transfer-Encoding: chunked\xff")+"0\r\n\r\n", 422, 501)},
	{name: "CHUNKED in capitals", rfc: "RFC 9112 §7", play: forwarded(post("Transfer-Encoding: CHUNKED")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "chunked between whitespace", rfc: "RFC 9110 §5.5", play: forwarded(post("Transfer-Encoding:\t chunked \t")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "a space before the colon of Transfer-Encoding", rfc: "RFC 9112 §5.1", play: shut(post("Content-Length: 5", "Transfer-Encoding : chunked") + "0\r\n\r\n")},
	{name: "Transfer-Encoding as the continuation of another line", rfc: "RFC 9112 §5.2", play: either(post("Content-Length: 5", "X-A: b\r\n Transfer-Encoding: chunked")+"0\r\n\r\n",
		lacks("Transfer-Encoding"), content("0\r\n\r\n"))},
	{name: "Transfer-Encoding whose value is on the next line", rfc: "RFC 9112 §5.2", play: either(post("Transfer-Encoding:\r\n chunked")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "Transfer-Encoding behind a bare LF", rfc: "RFC 9112 §2.2", play: either(post("X-A: b\nTransfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "Transfer-Encoding behind a bare CR", rfc: "RFC 9112 §2.2", play: shut(post("Content-Length: 5", "X-A: b\rTransfer-Encoding: chunked") + "0\r\n\r\n")},
	{name: "Transfer_Encoding is another field", rfc: "RFC 9110 §5.1", play: either(post("Content-Length: 5", "Transfer_Encoding: chunked")+"0\r\n\r\n", content("0\r\n\r\n"))},
	{name: "chunks in HTTP/1.0", rfc: "RFC 9112 §6.1", std: stdOld, play: eitherAndShut(head("POST / HTTP/1.0", hostField, "Transfer-Encoding: chunked", "Connection: keep-alive")+
		"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "content cut short by the client", rfc: "RFC 9112 §8", play: cutShort(post("Content-Length: 10") + "hello")},
	{name: "chunks cut short by the client", rfc: "RFC 9112 §8", play: cutShort(post("Transfer-Encoding: chunked") + "5\r\nhello\r\n")},
	{name: "a chunk cut short by the client", rfc: "RFC 9112 §8", play: cutShort(post("Transfer-Encoding: chunked") + "8\r\nhello")},
	{name: "a head cut short by the client", rfc: "RFC 9112 §8", play: cutShort("GET / HTTP/1.1\r\nHost: example.com\r\n")},
	{name: "content in many small pieces", rfc: "RFC 9112 §6.2", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		for _, b := range []byte(post("Content-Length: 5") + "hello") {
			c.send(string(b))
		}
		p.check(c.answer("POST"), []check{status(200)})
		p.one([]check{content("hello")})
	}},
	{name: "content and its coding pass unchanged", rfc: "RFC 9110 §7.7", play: forwarded(post("Content-Length: 6", "Content-Encoding: gzip", "Content-Type: a/b")+"\x1f\x8b\x00\xff\r\n",
		content("\x1f\x8b\x00\xff\r\n"), has("Content-Encoding", "gzip"), has("Content-Type", "a/b"))},
	{name: "one MiB with a length", rfc: "RFC 9112 §6.2", play: forwarded(post("Content-Length: 1048576")+strings.Repeat("0123456789abcdef", 1<<16), content(strings.Repeat("0123456789abcdef", 1<<16)))},
}

// cutShort: the client leaves before the request is whole, so no endpoint may take it for
// whole.
func cutShort(request string) func(*play) {
	return func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(request + fin)
		if a, err := c.tryAnswer("POST"); err == nil && a.status() < 400 {
			p.failf("answered %d", a.status())
		}
		p.next()
		if len(p.requests()) > 0 {
			p.failf("forwarded as if it were whole")
		}
	}
}

// chunks: the chunked coding of requests.
var chunks = []testCase{
	{name: "several chunks", rfc: "RFC 9112 §7.1", play: forwarded(chunked("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n"), content("hello world"))},
	{name: "no chunk but the last", rfc: "RFC 9112 §7.1", play: forwarded(chunked("0\r\n\r\n"), content(""))},
	{name: "a size in capitals and small letters", rfc: "RFC 9112 §7.1", play: forwarded(chunked("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"), content("01234567890123456789a"))},
	{name: "a size with leading zeros", rfc: "RFC 9112 §7.1", play: forwarded(chunked("0005\r\nhello\r\n000\r\n\r\n"), content("hello"))},
	{name: "data that looks like chunks", rfc: "RFC 9112 §7.1", play: forwarded(chunked("7\r\n0\r\n\r\n1\r\r\n0\r\n\r\n"), content("0\r\n\r\n1\r"))},
	{name: "chunks in many small pieces", rfc: "RFC 9112 §7.1", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		for _, b := range []byte(chunked("5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")) {
			c.send(string(b))
		}
		p.check(c.answer("POST"), []check{status(200)})
		p.one([]check{content("hello")})
	}},
	{name: "extensions", rfc: "RFC 9112 §7.1.1", play: forwarded(chunked("5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n"), content("hello"))},
	{name: "an extension of one MiB", rfc: "RFC 9112 §7.1.1", play: brokenOff(chunked("5;a=" + strings.Repeat("b", 1<<20) + "\r\nhello\r\n0\r\n\r\n"))},
	{name: "an extension with a bare LF", rfc: "RFC 9112 §7.1.1", play: brokenOff(chunked("5;a\nhello\r\n0\r\n\r\n"))},
	{name: "an extension with a bare CR", rfc: "RFC 9112 §7.1.1", play: brokenOff(chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"))},
	{name: "a space behind the size", rfc: "RFC 9112 §7.1", play: eitherChunks("5 \r\nhello\r\n0\r\n\r\n")},
	{name: "a size behind a space", rfc: "RFC 9112 §7.1", play: brokenOff(chunked(" 5\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size with 0x", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("0x5\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size with a plus", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("+5\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size below zero", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("-5\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size with an underscore", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("0_5\r\nhello\r\n0\r\n\r\n"))},
	{name: "no size", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("\r\nhello\r\n0\r\n\r\n"))},
	{name: "an extension without a size", rfc: "RFC 9112 §7.1", play: brokenOff(chunked(";a\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size that is no number", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("5g\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size of 2^64 + 5", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size of 2^32 + 5", rfc: "RFC 9112 §7.1", play: cutShort(chunked("100000005\r\nhello\r\n0\r\n\r\n"))},
	{name: "a size line that ends in LF", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("5\nhello\r\n0\r\n\r\n"))},
	{name: "a size line that ends in CR", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("5\rhello\r\n0\r\n\r\n"))},
	{name: "data that ends in LF", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("5\r\nhello\n0\r\n\r\n"))},
	{name: "more data than the size says", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("3\r\nhello\r\n0\r\n\r\n"))},
	{name: "data without an end", rfc: "RFC 9112 §7.1", play: brokenOff(chunked("5\r\nhello0\r\n\r\n"))},
	{name: "trailers do not become fields of the head", rfc: "RFC 9110 §6.5.1", play: forwarded(post("Transfer-Encoding: chunked", "Trailer: X-T")+"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", content("hello"), lacks("X-T"))},
	{name: "trailers that could change the request do not get into its head", rfc: "RFC 9110 §6.5.1", play: forwarded(
		chunked("5\r\nhello\r\n0\r\nAuthorization: me\r\nContent-Length: 99\r\nHost: other\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"),
		content("hello"), lacks("Authorization"), has("Host", "example.com"), last("X-Forwarded-For", peer))},
	{name: "a trailer with a space before the colon", rfc: "RFC 9112 §5.1", play: eitherTrailer("X-T : 1\r\n")},
	{name: "a trailer without a colon", rfc: "RFC 9112 §5", play: eitherTrailer("nonsense\r\n")},
	{name: "one MiB of trailers", rfc: "RFC 9110 §5.4", play: eitherTrailer(strings.Repeat("X-T: "+strings.Repeat("t", 1000)+"\r\n", 1<<10))},
}

func chunked(body string) string { return post("Transfer-Encoding: chunked") + body }

// eitherChunks is either for content: what is no valid chunk may be broken off in the middle.
func eitherChunks(body string) func(*play) {
	return func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(chunked(body))
		a, err := c.tryAnswer("POST")
		if err == errNothing {
			p.failf("response: %v", err)
		}
		p.next()
		switch seen := p.requests(); {
		case err == nil && a.status() < 400 && len(seen) == 1:
			p.check(seen[0], []check{content("hello"), noTrailers})
		case len(seen) > 0:
			p.failf("refused, and forwarded")
		}
		if err == nil {
			c.settled()
		}
	}
}

// eitherTrailer: what cannot be a trailer is refused or left out.
func eitherTrailer(lines string) func(*play) {
	return eitherChunks("5\r\nhello\r\n0\r\n" + lines + "\r\n")
}

func noTrailers(m *message) string {
	for _, f := range m.trailers {
		return fmt.Sprintf("trailer %s: %.30q", f.name, f.value)
	}
	return ""
}

// unseen: whatever it is answered, no endpoint sees it.
func unseen(request string) func(*play) {
	return func(p *play) {
		p.serve(nil)
		p.dial().send(request)
		p.next()
		p.notForwarded()
	}
}

// requestLines: method, target and version.
var requestLines = []testCase{
	{name: "path and query pass as they are", rfc: "RFC 9110 §7.7", play: forwarded(get("/a%2Fb%20c/%7Ed;e=f?g=%2f&&h=%41+i=?/"), start("GET /a%2Fb%20c/%7Ed;e=f?g=%2f&&h=%41+i=?/ HTTP/1.1"))},
	{name: "an empty query stays", rfc: "RFC 9110 §7.7", play: forwarded(get("/a?"), target("/a?"))},
	{name: "the absolute form becomes the origin form", rfc: "RFC 9112 §3.2.2", play: forwarded(get("http://example.com/a?b=c"), target("/a?b=c"), has("Host", "example.com"))},
	{name: "the absolute form with another Host: the target wins", rfc: "RFC 9112 §3.2.2", play: either(head("GET http://right.example/a HTTP/1.1", "Host: wrong.example"), target("/a"), has("Host", "right.example"))},
	{name: "the absolute form without a path", rfc: "RFC 9112 §3.2.1", play: forwarded(get("http://example.com"), target("/"))},
	{name: "the absolute form without a path, with a query", rfc: "RFC 9112 §3.2.1", play: forwarded(get("http://example.com?a=b"), target("/?a=b"))},
	{name: "the absolute form with capitals in the scheme", rfc: "RFC 9110 §4.2.3", play: forwarded(get("HTTP://example.com/a"), target("/a"))},
	{name: "the absolute form with user information", rfc: "RFC 9110 §4.2.4", play: either(get("http://user:pass@example.com/a"), target("/a"), has("Host", "example.com"))},
	{name: "the absolute form without Host", rfc: "RFC 9112 §3.2", play: refused(head("GET http://example.com/ HTTP/1.1"))},
	{name: "OPTIONS *", rfc: "RFC 9112 §3.2.4", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("OPTIONS * HTTP/1.1", hostField))
		if a := c.answer("OPTIONS"); a.status() >= 500 {
			p.failf("answered %d", a.status())
		}
		for _, m := range p.requests() {
			p.check(m, []check{target("*")})
		}
		c.settled()
	}},
	{name: "OPTIONS for a server in absolute form", rfc: "RFC 9112 §3.2.4", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("OPTIONS http://example.com HTTP/1.1", hostField))
		if a := c.answer("OPTIONS"); a.status() >= 500 {
			p.failf("answered %d", a.status())
		}
		for _, m := range p.requests() {
			p.check(m, []check{target("*")})
		}
		c.settled()
	}},
	{name: "GET *", rfc: "RFC 9112 §3.2.4", play: refused(get("*"))},
	{name: "GET with an authority", rfc: "RFC 9112 §3.2.3", play: refused(get("example.com:80"))},
	{name: "a target that is no form at all", rfc: "RFC 9112 §3.2", play: refused(get("a/b"))},
	{name: "no target", rfc: "RFC 9112 §3", play: refused(head("GET  HTTP/1.1", hostField))},
	{name: "a space in the target", rfc: "RFC 9112 §3.2", play: refused(get("/a b"))},
	{name: "a tab in the target", rfc: "RFC 9112 §3.2", play: refused(get("/a\tb"))},
	{name: "a NUL in the target", rfc: "RFC 9112 §3.2", play: refused(get("/a\x00b"))},
	{name: "a bare CR in the target", rfc: "RFC 9112 §2.2", play: refused(get("/a\rb"))},
	{name: "a fragment in the target", rfc: "RFC 9112 §3.2", play: either(get("/a#b"), target("/a"))},
	{name: "two spaces before the version", rfc: "RFC 9112 §3", play: either("GET /a  HTTP/1.1\r\nHost: example.com\r\n\r\n", target("/a"))},
	{name: "a tab before the version", rfc: "RFC 9112 §3", play: either("GET /a\tHTTP/1.1\r\nHost: example.com\r\n\r\n", target("/a"))},
	{name: "a space before the method", rfc: "RFC 9112 §2.2", play: either(" "+get("/a"), start("GET /a HTTP/1.1"))},
	{name: "whitespace between the request line and the first field", rfc: "RFC 9112 §2.2", play: either("GET / HTTP/1.1\r\n \r\n"+hostField+"\r\n\r\n", has("Host", "example.com"))},
	{name: "a first field that is folded", rfc: "RFC 9112 §2.2", play: either("GET / HTTP/1.1\r\n X-A: b\r\n"+hostField+"\r\n\r\n", lacks("X-A"))},
	{name: "a method with a bracket", rfc: "RFC 9110 §9.1", play: refused(head("GE(T / HTTP/1.1", hostField))},
	{name: "a method with a colon", rfc: "RFC 9110 §9.1", play: refused(head("GET:/ / HTTP/1.1", hostField))},
	{name: "a method in small letters is another one", rfc: "RFC 9110 §9.1", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("get / HTTP/1.1", hostField))
		c.answer("get")
		for _, m := range p.requests() {
			p.check(m, []check{start("get / HTTP/1.1")})
		}
	}},
	{name: "HTTP/1.2 is read as HTTP/1.1", rfc: "RFC 9110 §2.5", play: either(head("GET / HTTP/1.2", hostField), start("GET / HTTP/1.1"))},
	{name: "HTTP/2.0", rfc: "RFC 9110 §2.5", play: shut(head("GET / HTTP/2.0", hostField), 505)},
	{name: "the preface of HTTP/2", rfc: "RFC 9113 §3.4", play: unseen("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
	{name: "HTTP/0.9", rfc: "RFC 9112 §2.3", play: unseen("GET /\r\n")},
	{name: "a version with two digits", rfc: "RFC 9112 §2.3", play: shut(head("GET / HTTP/1.10", hostField), 505)},
	{name: "a version in small letters", rfc: "RFC 9112 §2.3", play: shut(head("GET / http/1.1", hostField), 505)},
	{name: "a version without a point", rfc: "RFC 9112 §2.3", play: shut(head("GET / HTTP/11", hostField), 505)},
	{name: "another protocol", rfc: "RFC 9112 §2.3", play: shut(head("GET / ICY/1.1", hostField), 505)},
	{name: "a word behind the version", rfc: "RFC 9112 §3", play: shut(head("GET / HTTP/1.1 HTTP/1.1", hostField), 505)},
	{name: "an empty line before the request", rfc: "RFC 9112 §2.2", std: stdEmpty, play: forwarded("\r\n"+get("/a"), target("/a"))},
	{name: "a request line that ends in LF", rfc: "RFC 9112 §2.2", play: either("GET /a HTTP/1.1\nHost: example.com\r\n\r\n", start("GET /a HTTP/1.1"), has("Host", "example.com"))},
	{name: "a target of 8,000 bytes", rfc: "RFC 9112 §3", play: forwarded(get("/"+strings.Repeat("a", 7_980)), target("/"+strings.Repeat("a", 7_980)))},
	{name: "a target of 100 KiB", rfc: "RFC 9112 §3", play: shut(get("/"+strings.Repeat("a", 100<<10)), 414, 431)},
	{name: "a first line without an end", rfc: "RFC 9112 §3", play: shut("GET /"+strings.Repeat("a", 1<<20), 414, 431)},
	{name: "bytes that are no HTTP", rfc: "RFC 9112 §3", play: shut("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 0)},
}

// hosts: the field that decides who is asked.
var hosts = []testCase{
	{name: "Host with a port passes", rfc: "RFC 9110 §7.2", play: forwarded(head("GET / HTTP/1.1", "Host: example.com:8080"), has("Host", "example.com:8080"))},
	{name: "an IPv6 address passes", rfc: "RFC 9110 §7.2", play: forwarded(head("GET / HTTP/1.1", "Host: [2001:db8::1]:80"), has("Host", "[2001:db8::1]:80"))},
	{name: "no Host in HTTP/1.1", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "X-A: b"))},
	{name: "no Host in HTTP/1.0", rfc: "RFC 9112 §3.2", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("GET / HTTP/1.0"))
		p.check(c.answer("GET"), []check{status(200)})
		p.one(nil) // with one Host field, which the reader of the suite sees to
	}},
	{name: "two Hosts", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: a.example", "Host: b.example"))},
	{name: "the same Host twice", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", hostField, hostField))},
	{name: "a list of Hosts", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: a.example, b.example"))},
	{name: "a space in Host", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: a.example b.example"))},
	{name: "user information in Host", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: user@example.com"))},
	{name: "a path in Host", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: example.com/admin"))},
	{name: "a query in Host", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: example.com?a=b"))},
	{name: "a port that is no number", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: example.com:8a"))},
	{name: "a bracket that stays open", rfc: "RFC 9112 §3.2", play: refused(head("GET / HTTP/1.1", "Host: [::1"))},
	{name: "a space before the colon of Host", rfc: "RFC 9112 §5.1", play: refused(head("GET / HTTP/1.1", "Host : example.com"))},
}

// fields: the syntax of field lines.
var fields = []testCase{
	{name: "unknown fields pass", rfc: "RFC 9110 §5.1", play: forwarded(get("/", "X-Whatever: a, b;c=\"d\""), has("X-Whatever", `a, b;c="d"`))},
	{name: "a name with an underscore passes", rfc: "RFC 9110 §5.1", play: forwarded(get("/", "X_User: a"), has("X_User", "a"))},
	{name: "every byte of a token may be in a name", rfc: "RFC 9110 §5.6.2", play: forwarded(get("/", "x!#$%&'*+-.^_`|~9: a"), has("x!#$%&'*+-.^_`|~9", "a"))},
	{name: "an empty value passes", rfc: "RFC 9110 §5.5", play: forwarded(get("/", "X-Empty:"), has("X-Empty", ""))},
	{name: "whitespace around a value is not part of it", rfc: "RFC 9112 §5.1", play: forwarded(get("/", "X-A: \t a  b \t"), has("X-A", "a  b"))},
	{name: "no whitespace before a value", rfc: "RFC 9112 §5.1", play: forwarded(get("/", "X-A:b"), has("X-A", "b"))},
	{name: "bytes above ASCII in a value pass", rfc: "RFC 9110 §5.5", play: forwarded(get("/", "X-A: caf\xe9 \xc3\xa9"), has("X-A", "caf\xe9 \xc3\xa9"))},
	{name: "lines of one name keep their order", rfc: "RFC 9110 §5.3", play: forwarded(get("/", "X-A: 1", "X-B: 2", "X-A: 3", "x-a: 4"), elements("X-A", "1", "3", "4"))},
	{name: "a space before the colon", rfc: "RFC 9112 §5.1", play: refused(get("/", "X-A : b"))},
	{name: "a tab before the colon", rfc: "RFC 9112 §5.1", play: refused(get("/", "X-A\t: b"))},
	{name: "a line without a colon", rfc: "RFC 9112 §5", play: refused(get("/", "nonsense"))},
	{name: "an empty name", rfc: "RFC 9112 §5", play: refused(get("/", ": b"))},
	{name: "a space in a name", rfc: "RFC 9112 §5", play: refused(get("/", "X A: b"))},
	{name: "a bracket in a name", rfc: "RFC 9110 §5.1", play: refused(get("/", "X(A): b"))},
	{name: "a byte above ASCII in a name", rfc: "RFC 9110 §5.1", play: refused(get("/", "X-\xe9: b"))},
	{name: "a NUL in a name", rfc: "RFC 9110 §5.1", play: refused(get("/", "X\x00A: b"))},
	{name: "a NUL in a value", rfc: "RFC 9110 §5.5", play: either(get("/", "X-A: b\x00c"), has("X-A", "b c"))},
	{name: "a bare CR in a value", rfc: "RFC 9110 §5.5", play: either(get("/", "X-A: b\rc"), has("X-A", "b c"))},
	{name: "a bare CR at the end of a value", rfc: "RFC 9110 §5.5", play: either(get("/", "X-A: b\r"), has("X-A", "b"))},
	{name: "a line that ends in LF", rfc: "RFC 9112 §2.2", play: either("GET / HTTP/1.1\r\nHost: example.com\nX-A: b\r\n\r\n", has("X-A", "b"), has("Host", "example.com"))},
	{name: "a head that ends in LF", rfc: "RFC 9112 §2.2", play: either("GET / HTTP/1.1\r\nHost: example.com\r\n\n", has("Host", "example.com"))},
	{name: "a folded line", rfc: "RFC 9112 §5.2", play: either(get("/", "X-A: b\r\n c"), unfolded("X-A", "b c"))},
	{name: "a line folded with a tab", rfc: "RFC 9112 §5.2", play: either(get("/", "X-A: b\r\n\tc"), unfolded("X-A", "b c"))},
	{name: "a head of 6 KiB", rfc: "RFC 9110 §5.4", play: forwarded(get("/", "Cookie: a="+strings.Repeat("b", 4_000), "X-A: "+strings.Repeat("c", 2_000)), has("X-A", strings.Repeat("c", 2_000)))},
	{name: "ninety fields", rfc: "RFC 9110 §5.4", play: forwarded(get("/", strings.Split(strings.Repeat("X-A: b\n", 89)+"X-Last: c", "\n")...), has("X-Last", "c"))},
	{name: "a head of one MiB", rfc: "RFC 6585 §5", play: shut(get("/", "X-A: "+strings.Repeat("a", 1<<20)), 413, 431, 494)},
	{name: "ten thousand fields", rfc: "RFC 6585 §5", play: shut(get("/", strings.Split(strings.Repeat("X-A: b\n", 10_000)+"X-A: b", "\n")...), 413, 431, 494)},
	{name: "a head without an end", rfc: "RFC 6585 §5", play: shut("GET / HTTP/1.1\r\nHost: example.com\r\n"+strings.Repeat("X-A: b\r\n", 1<<17), 413, 431, 494)},
}
