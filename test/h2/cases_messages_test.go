package h2

// Messages: RFC 9113 §8, and of RFC 9110, 6265 and 7541 what HTTP/2 makes of it.

import (
	"fmt"
	"strings"

	"golang.org/x/net/http2"
)

// with sends a complete request of exactly those fields.
func with(fields ...string) func(c *peer) {
	return func(c *peer) { c.head(1, true, fields...) }
}

// uploads sends a POST with content and trailers; trailers nil: none.
func uploads(path, content string, trailers []string, fields ...string) func(c *peer) {
	return func(c *peer) {
		c.head(1, false, post(path, fields...)...)
		c.framer.WriteData(1, trailers == nil, []byte(content))
		if trailers != nil {
			c.head(1, true, trailers...)
		}
	}
}

// shows is answered by /fields, in which that is.
func shows(lines ...string) outcome { return answered("200", lines...) }

var messages = []rule{
	{"8.1", "a request without content", ask("/fast"), echoed("/fast")},
	{"8.1", "a request with content", uploads("/echo", "abc", nil), echoed("abc")},
	{"8.1", "a request with content and its length", uploads("/echo", "abc", nil, "content-length", "3"), echoed("abc")},
	{"8.1", "trailers of a request", uploads("/trailers", "abc", []string{"check", "ok"}, "te", "trailers"), func(c *peer) error {
		a := c.finished(1)
		if field(a.trailers, "seen") != "ok" || field(a.trailers, "sum") != "5" || string(a.content) != "hello" {
			return fmt.Errorf("%s, trailers %v", a, a.trailers)
		}
		return c.alive(probed)
	}},
	{"8.1", "a head behind the content without END_STREAM", begin("/echo", func(c *peer) { c.framer.WriteData(1, false, []byte("a")); c.head(1, false, "check", "1") }), resetsOrEnds(protocolError)},
	{"8.1", "a pseudo-field in trailers", uploads("/echo", "a", []string{":path", "/b"}), resetsOrEnds(protocolError)},
	{"8.1", "content behind trailers", func(c *peer) {
		uploads("/slow", "a", []string{"check", "1"})(c)
		c.framer.WriteData(1, true, []byte("b"))
	}, resetsOrEnds(streamClosed)},
	{"8.1", "an interim response comes first", ask("/interim"), func(c *peer) error {
		if a := c.finished(1); strings.Join(a.interim, ",") != "103" || a.status != "200" {
			return fmt.Errorf("interim %v, %s", a.interim, a)
		}
		return c.alive(probed)
	}},
	{"8.1", "an early response ends an upload", begin("/early", func(c *peer) { c.framer.WriteData(1, false, make([]byte, 1000)) }, "content-length", "5000"), func(c *peer) error {
		a := c.answer(1)
		c.read(patience, func() bool { return a.over && a.reset })
		if a.status != "200" || string(a.content) != "early" || a.reset && a.code != http2.ErrCodeNo {
			return fmt.Errorf("%s", a)
		}
		return c.alive(probed)
	}},
	{"8.1", "HEAD has no content", with(":method", "HEAD", ":scheme", "http", ":authority", "a.example", ":path", "/fast"), func(c *peer) error {
		if a := c.finished(1); a.status != "200" || len(a.content) > 0 || field(a.fields, "content-length") != "7" {
			return fmt.Errorf("%s, %v", a, a.fields)
		}
		return c.alive(probed)
	}},
	{"8.1", "a response that is cut short is reset", ask("/cut"), func(c *peer) error {
		a := c.finished(1)
		if a.over && a.status == "200" || a.reset && a.code == http2.ErrCodeNo {
			return fmt.Errorf("%s", a)
		}
		return c.alive(probed)
	}},
	{"8.1.1", "less content than the length", uploads("/echo", "ab", nil, "content-length", "3"), refused},
	{"8.1.1", "more content than the length", uploads("/echo", "abcd", nil, "content-length", "3"), refused},
	{"8.1.1", "no content for a length", ask("/echo", "content-length", "3"), refused},
	{"8.1.1", "less content than the length, and trailers", uploads("/echo", "ab", []string{"check", "1"}, "content-length", "3"), refused},
	{"8.1.1", "two lengths", uploads("/echo", "abc", nil, "content-length", "3", "content-length", "3"), refused},
	{"8.1.1", "two lengths that differ", uploads("/echo", "abc", nil, "content-length", "3", "content-length", "4"), refused},
	{"8.1.1", "a length with a sign", uploads("/echo", "abc", nil, "content-length", "+3"), refused},
	{"8.1.1", "a length that is a list", uploads("/echo", "abc", nil, "content-length", "3, 3"), refused},
	{"8.1.1", "a length of 0 and an empty frame", uploads("/echo", "", nil, "content-length", "0"), echoed("")},

	{"8.2.1", "a name with capitals", ask("/fast", "X-Name", "1"), refused},
	{"8.2.1", "a name with a space", ask("/fast", "x name", "1"), refused},
	{"8.2.1", "an empty name", ask("/fast", "", "1"), refused},
	{"8.2.1", "a name with a colon", ask("/fast", "x:y", "1"), refused},
	{"8.2.1", "a name with LF", ask("/fast", "x\nhost", "1"), refused},
	{"8.2.1", "a name with a byte above 127", ask("/fast", "x\xe9", "1"), refused},
	{"8.2.1", "a value with CR LF", ask("/fast", "x", "a\r\nhost: b"), refused},
	{"8.2.1", "a value with LF", ask("/fast", "x", "a\nb"), refused},
	{"8.2.1", "a value with NUL", ask("/fast", "x", "a\x00b"), refused},
	{"8.2.1", "a value with a space before it", ask("/fast", "x", " a"), refused},
	{"8.2.1", "a value with a tab behind it", ask("/fast", "x", "a\t"), refused},
	{"8.2.1", "an empty value", ask("/fields", "x-empty", ""), shows("X-Empty: ")},
	{"8.2.1", "bytes above 127 in a value", ask("/fields", "x-name", "\xc3\xa9"), shows("X-Name: \xc3\xa9")},
	{"8.2.2", "connection", ask("/fast", "connection", "close"), refused},
	{"8.2.2", "keep-alive", ask("/fast", "keep-alive", "timeout=3"), refused},
	{"8.2.2", "proxy-connection", ask("/fast", "proxy-connection", "close"), refused},
	{"8.2.2", "upgrade", ask("/fast", "upgrade", "websocket"), refused},
	{"8.2.2", "transfer-encoding", uploads("/echo", "0\r\n\r\n", nil, "transfer-encoding", "chunked"), refused},
	{"8.2.2", "transfer-encoding in trailers", uploads("/echo", "a", []string{"transfer-encoding", "chunked"}), resetsOrEnds(protocolError)},
	{"8.2.2", "te: trailers", ask("/fast", "te", "trailers"), echoed("/fast")},
	{"8.2.2", "te: gzip", ask("/fast", "te", "gzip"), refused},
	{"8.2.3", "crumbs of cookie are joined", ask("/fields", "cookie", "a=1", "cookie", "b=2", "cookie", "c=3"), shows("Cookie: a=1; b=2; c=3\r\n")},

	{"8.3", "a pseudo-field behind a field", with(":method", "GET", ":scheme", "http", "x", "1", ":authority", "a.example", ":path", "/fast"), refused},
	{"8.3", "an unknown pseudo-field", ask("/fast", ":color", "red"), refused},
	{"8.3", ":status of a request", with(append([]string{":status", "200"}, get("/fast")...)...), refused},
	{"8.3.1", "no :method", with(":scheme", "http", ":authority", "a.example", ":path", "/fast"), refused},
	{"8.3.1", "no :scheme", with(":method", "GET", ":authority", "a.example", ":path", "/fast"), refused},
	{"8.3.1", "no :path", with(":method", "GET", ":scheme", "http", ":authority", "a.example"), refused},
	{"8.3.1", "an empty :path", with(":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", ""), refused},
	{"8.3.1", "two :method", with(append([]string{":method", "POST"}, get("/fast")...)...), refused},
	{"8.3.1", "two :path", with(append([]string{":path", "/a"}, get("/fast")...)...), refused},
	{"8.3.1", "two :authority", with(append([]string{":authority", "a.example"}, get("/fast")...)...), refused},
	{"8.3.1", "two :scheme", with(append([]string{":scheme", "http"}, get("/fast")...)...), refused},
	{"8.3.1", ":path without a slash", with(get("fast")...), refused},
	{"8.3.1", ":path with a space", with(get("/a b")...), refused},
	{"8.3.1", ":path with CR LF", with(get("/fast HTTP/1.1\r\nhost: b\r\n\r\n")...), refused},
	{"8.3.1", ":path with a fragment", with(get("/fast#a")...), refused},
	{"8.3.1", ":path of an absolute target", with(get("http://b.example/fast")...), refused},
	{"8.3.1", ":path * of GET", with(get("*")...), refused},
	{"8.3.1", ":method with a space", with(":method", "GET /x HTTP/1.1", ":scheme", "http", ":authority", "a.example", ":path", "/fast"), refused},
	{"8.3.1", "an empty :method", with(":method", "", ":scheme", "http", ":authority", "a.example", ":path", "/fast"), refused},
	{"8.3.1", ":scheme with a slash", with(":method", "GET", ":scheme", "http://b/", ":authority", "a.example", ":path", "/fast"), refused},
	{"8.3.1", ":authority with a user", with(":method", "GET", ":scheme", "http", ":authority", "u@a.example", ":path", "/fast"), refused},
	{"8.3.1", ":authority with a space", with(":method", "GET", ":scheme", "http", ":authority", "a.example b", ":path", "/fast"), refused},
	{"8.3.1", "an empty :authority", with(":method", "GET", ":scheme", "http", ":authority", "", ":path", "/fast"), refused},
	{"8.3.1", "neither :authority nor host", with(":method", "GET", ":scheme", "http", ":path", "/fast"), refused},
	{"8.3.1", "host for :authority", with(":method", "GET", ":scheme", "http", ":path", "/fields", "host", "b.example"), shows("Host: b.example\n")},
	{"8.3.1", "host that is :authority", ask("/fields", "host", "a.example"), shows("Host: a.example\n")},
	{"8.3.1", "host that is another", ask("/fields", "host", "b.example"), refused},
	{"8.3.1", "two host", ask("/fields", "host", "a.example", "host", "a.example"), refused},
	{"8.3.1", "a query", ask("/fields?a=b&c=%20"), shows("GET /fields?a=b&c=%20\n")},
	{"8.3.1", "a method that is not known", with(":method", "FROB", ":scheme", "http", ":authority", "a.example", ":path", "/fields"), shows("FROB /fields")},
	{"8.3.2", "a response has :status only", ask("/fast"), func(c *peer) error {
		for _, f := range c.finished(1).fields[1:] {
			if strings.HasPrefix(f.Name, ":") || f.Name != strings.ToLower(f.Name) || f.Name == "connection" || f.Name == "transfer-encoding" {
				return fmt.Errorf("field %s", f.Name)
			}
		}
		return c.alive(probed)
	}},
	{"8.5", "CONNECT", with(":method", "CONNECT", ":authority", "a.example:443"), func(c *peer) error {
		if a := c.finished(1); a.status == "200" || !a.reset && a.status == "" {
			return fmt.Errorf("%s", a)
		}
		return c.alive(probed)
	}},
	{"8.5", "CONNECT with :path", with(":method", "CONNECT", ":authority", "a.example:443", ":path", "/"), refused},
	{"8.7", "the client's fields do not show hops", ask("/fields", "te", "trailers"), without("proxy-connection")},
	{"9110 10.1.1", "100-continue", begin("/echo", func(c *peer) {
		a := c.answer(1)
		c.read(patience, func() bool { return len(a.interim) > 0 || a.status != "" })
		c.framer.WriteData(1, true, []byte("abc"))
	}, "expect", "100-continue"), echoed("abc")},
	{"7541 4.2", "a table size above the setting", raw(http2.FrameHeaders, 5, 1, "\x3f\xe2\x1f\x82"), ends(compressionError)},
	{"7541 4.2", "a table size behind a field", raw(http2.FrameHeaders, 5, 1, "\x82\x20"), ends(compressionError)},
	{"7541 6.1", "index 0", raw(http2.FrameHeaders, 5, 1, "\x80"), ends(compressionError)},
	{"7541 6.1", "an index beyond the table", raw(http2.FrameHeaders, 5, 1, "\xfe"), ends(compressionError)},
	{"7541 5.2", "Huffman padding of eight bits", raw(http2.FrameHeaders, 5, 1, "\x00\x81\x1f\x82\x1f\xff"), ends(compressionError)},
	{"7541 5.2", "EOS in a string", raw(http2.FrameHeaders, 5, 1, "\x00\x84\xff\xff\xff\xff\x01a"), ends(compressionError)},
	{"7541 2.3.2", "the table outlives a refused request", func(c *peer) {
		c.head(3, true, get("/fast", "x", "kept", "connection", "close")...)
		c.finished(3)
		c.head(5, true, get("/fields", "x", "kept")...)
	}, func(c *peer) error {
		if a := c.finished(5); !strings.Contains(string(a.content), "X: kept\r\n") {
			return fmt.Errorf("%s", a)
		}
		return c.alive(probed)
	}},
}

// beginnings are of the first bytes: the client has not said hello.
var beginnings = []rule{
	{"3.4", "another preface", func(c *peer) { c.wire.Write([]byte("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")) }, closes},
	{"3.4", "a frame other than SETTINGS first", func(c *peer) { c.preface(); c.framer.WritePing(false, [8]byte{}) }, ends(protocolError)},
	{"3.4", "HEADERS first", func(c *peer) { c.preface(); c.head(1, true, get("/fast")...) }, ends(protocolError)},
	{"3.4", "an acknowledgement first", func(c *peer) { c.preface(); c.framer.WriteSettingsAck() }, ends(protocolError)},
	{"3.4", "requests before the proxy's SETTINGS have come", func(c *peer) { c.preface(); c.framer.WriteSettings(); c.head(1, true, get("/fast")...) }, answered("200", "/fast")},
	{"3.4", "the preface twice", func(c *peer) { c.preface(); c.framer.WriteSettings(); c.preface() }, ends(frameSize, protocolError)},
}
