package h2

// Responses as RFC 9113 §8 has them, and as it has not.

import (
	"fmt"
	"strings"

	"golang.org/x/net/http2"
)

// The fates that most cases have.

// passes: the response reaches the client, and the connection goes on.
func passes(body string) fate { return fate{status: "200", body: body} }

// malformed: the stream is reset with PROTOCOL_ERROR, the client gets 502 for that reason.
func malformed(reason string) fate {
	return fate{status: "502", reason: reason, code: http2.ErrCodeProtocol, told: true}
}

// cutShort: the same behind the head, which the client may have by then.
func cutShort(code http2.ErrCode) fate {
	return fate{status: "502", cut: true, code: code, told: true}
}

// breaks: the connection ends with GOAWAY, the client gets 502.
func breaks(code http2.ErrCode) fate {
	return fate{status: "502", reason: "endpoint-reset", over: true, code: code, told: true}
}

// answers sends a response of these fields, and content if it is not empty.
func answers(content string, fields ...string) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		h.head(id, content == "", fields...)
		if content != "" {
			h.framer.WriteData(id, true, []byte(content))
		}
	}
}

// ok is answers with status 200 and further fields.
func ok(fields ...string) func(h *peer, id uint32) {
	return answers("fine", append([]string{":status", "200"}, fields...)...)
}

// trailing sends a response with trailers of these fields.
func trailing(end bool, fields ...string) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		h.head(id, false, ":status", "200")
		h.framer.WriteData(id, false, []byte("fine"))
		h.head(id, end, fields...)
	}
}

// then plays one behind the other.
func then(steps ...func(h *peer, id uint32)) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		for _, s := range steps {
			s(h, id)
		}
	}
}

// headOf sends a head that does not end the stream; data sends content.
func headOf(fields ...string) func(h *peer, id uint32) {
	return func(h *peer, id uint32) { h.head(id, false, fields...) }
}

func data(content string, end bool) func(h *peer, id uint32) {
	return func(h *peer, id uint32) { h.framer.WriteData(id, end, []byte(content)) }
}

// block sends these bytes as the block of a head.
func block(bytes string) func(h *peer, id uint32) {
	return func(h *peer, id uint32) { h.frame(http2.FrameHeaders, 5, id, []byte(bytes)...) }
}

// fieldsOf are n small fields behind the status.
func fieldsOf(n int, value string) []string {
	fields := []string{":status", "200"}
	for i := range n {
		fields = append(fields, fmt.Sprint("f", i), value)
	}
	return fields
}

// interims sends n interim responses.
func interims(n int, fields ...string) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		for range n {
			h.head(id, false, append([]string{":status", "103"}, fields...)...)
		}
	}
}

var badMessages = []answering{
	{section: "8.1", name: "a response with content", play: ok(), want: passes("fine")},
	{section: "8.1", name: "a response without content", play: answers("", ":status", "200"), want: passes("")},
	{section: "8.1", name: "content in bytes", play: then(headOf(":status", "200"), data("f", false), data("i", false), data("ne", false), data("", true)), want: passes("fine")},
	{section: "8.1", name: "trailers", play: trailing(true, "sum", "4"), want: passes("fine")},
	{section: "8.1", name: "trailers without content", play: then(headOf(":status", "200"), answers("", "sum", "0")), want: passes("")},
	{section: "8.1", name: "interim responses", play: then(interims(3, "link", "</a>"), headOf(":status", "100"), headOf(":status", "102"), ok()), want: passes("fine")},
	{section: "8.1", name: "a hundred interim responses at once", play: then(interims(100, "link", "</a>"), ok()), want: passes("fine")},
	{section: "8.1", name: "an interim response that ends the stream", play: answers("", ":status", "103"), want: malformed("bad-status-line")},
	{section: "8.1", name: "content behind an interim response", play: then(interims(1), data("fine", true)), want: malformed("bad-status-line")},
	{section: "8.1", name: "content before the head", play: then(data("fine", false), ok()), want: malformed("bad-status-line")},
	{section: "8.1", name: "trailers that do not end the stream", play: trailing(false, "sum", "4"), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1", name: "a pseudo-field in trailers", play: trailing(true, ":status", "200"), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1", name: "a capital letter in trailers", play: trailing(true, "Sum", "4"), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1", name: "a field of the connection in trailers", play: trailing(true, "connection", "close"), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1", name: "a second head", play: then(headOf(":status", "200"), ok()), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1.1", name: "the announced length", play: ok("content-length", "4"), want: passes("fine")},
	{section: "8.1.1", name: "more content than announced", play: ok("content-length", "2"), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1.1", name: "less content than announced", play: ok("content-length", "9"), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1.1", name: "content announced, and END_STREAM in the head", play: answers("", ":status", "200", "content-length", "4"), want: malformed("bad-content-length")},
	{section: "8.1.1", name: "less content than announced, and trailers", play: then(headOf(":status", "200", "content-length", "9"), data("fine", false), answers("", "sum", "4")), want: cutShort(http2.ErrCodeProtocol)},
	{section: "8.1.1", name: "two lengths that differ", play: ok("content-length", "4", "content-length", "5"), want: malformed("several-content-lengths")},
	{section: "8.1.1", name: "a length that is no number", play: ok("content-length", "4x"), want: malformed("bad-content-length")},
	{section: "8.1.1", name: "a negative length", play: ok("content-length", "-4"), want: malformed("bad-content-length")},
	{section: "8.1.1", name: "a length above 2^63", play: ok("content-length", "99999999999999999999"), want: malformed("bad-content-length")},
	{section: "8.1.1", name: "a length with a sign", play: ok("content-length", "+4"), want: malformed("bad-content-length")},
	{section: "8.1.1", name: "the length of a response to HEAD", method: "HEAD", content: -1, play: answers("", ":status", "200", "content-length", "9"), want: passes("")},
	{section: "8.1.1", name: "the length of a 304", play: answers("", ":status", "304", "content-length", "9"), want: fate{status: "304"}},
	{section: "8.1.1", name: "content of a response to HEAD", method: "HEAD", content: -1, play: ok(), want: passes("")},
	{section: "8.1.1", name: "content of a 204", play: answers("fine", ":status", "204"), want: fate{status: "204"}},
	{section: "8.1.1", name: "content of a 304", play: answers("fine", ":status", "304"), want: fate{status: "304"}},
	{section: "8.2", name: "a capital letter in a name", play: ok("Sum", "4"), want: malformed("bad-field-name")},
	{section: "8.2.1", name: "a space in a name", play: ok("a b", "4"), want: malformed("bad-field-name")},
	{section: "8.2.1", name: "a colon in a name", play: ok("a:b", "4"), want: malformed("bad-field-name")},
	{section: "8.2.1", name: "an empty name", play: ok("", "4"), want: malformed("bad-field-name")},
	{section: "8.2.1", name: "a line end in a name", play: ok("a\r\nb", "4"), want: malformed("bad-field-name")},
	{section: "8.2.1", name: "a line end in a value", play: ok("a", "4\r\nset-cookie: a=b"), want: malformed("bad-field-value")},
	{section: "8.2.1", name: "LF in a value", play: ok("a", "4\nb"), want: malformed("bad-field-value")},
	{section: "8.2.1", name: "NUL in a value", play: ok("a", "4\x00"), want: malformed("bad-field-value")},
	{section: "8.2.1", name: "a space before a value", play: ok("a", " 4"), want: malformed("bad-field-value")},
	{section: "8.2.1", name: "a tab behind a value", play: ok("a", "4\t"), want: malformed("bad-field-value")},
	{section: "8.2.1", name: "bytes above 127 in a value", play: ok("a", "\xc3\xa9"), want: passes("fine")},
	{section: "8.2.2", name: "Connection", play: ok("connection", "close"), want: malformed("bad-field-name")},
	{section: "8.2.2", name: "Keep-Alive", play: ok("keep-alive", "timeout=5"), want: malformed("bad-field-name")},
	{section: "8.2.2", name: "Proxy-Connection", play: ok("proxy-connection", "close"), want: malformed("bad-field-name")},
	{section: "8.2.2", name: "Transfer-Encoding", play: ok("transfer-encoding", "chunked"), want: malformed("bad-field-name")},
	{section: "8.2.2", name: "Upgrade", play: ok("upgrade", "websocket"), want: malformed("bad-field-name")},
	{section: "8.2.2", name: "TE in a response", play: ok("te", "trailers"), want: malformed("bad-field-value")},
	{section: "8.3", name: "a pseudo-field behind a field", play: answers("fine", "a", "b", ":status", "200"), want: malformed("bad-field-name")},
	{section: "8.3", name: "a pseudo-field that is not known", play: answers("fine", ":status", "200", ":x", "y"), want: malformed("bad-field-name")},
	{section: "8.3", name: "a pseudo-field of requests", play: answers("fine", ":status", "200", ":path", "/"), want: malformed("bad-field-name")},
	{section: "8.3", name: ":status twice", play: answers("fine", ":status", "200", ":status", "200"), want: malformed("bad-field-name")},
	{section: "8.3.2", name: "no :status", play: answers("fine", "a", "b"), want: malformed("bad-status-line")},
	{section: "8.3.2", name: "a head without fields", play: block(""), want: malformed("bad-status-line")},
	{section: "8.3.2", name: ":status of two digits", play: answers("fine", ":status", "20"), want: malformed("bad-status-line")},
	{section: "8.3.2", name: ":status of four digits", play: answers("fine", ":status", "2000"), want: malformed("bad-status-line")},
	{section: "8.3.2", name: ":status of letters", play: answers("fine", ":status", "abc"), want: malformed("bad-status-line")},
	{section: "8.3.2", name: ":status with a phrase", play: answers("fine", ":status", "200 OK"), want: malformed("bad-status-line")},
	{section: "8.3.2", name: ":status below 100", play: answers("fine", ":status", "099"), want: malformed("bad-status-line")},
	{section: "8.3.2", name: ":status of 599", play: answers("fine", ":status", "599"), want: fate{status: "599"}},
	{section: "8.6", name: "101", play: answers("fine", ":status", "101"), want: malformed("bad-upgrade")},
	{section: "8.6", name: "101 as an interim response", play: then(headOf(":status", "101"), ok()), want: malformed("bad-upgrade")},

	{section: "10.5.1", name: "a head larger than may be", play: ok("a", strings.Repeat("b", 70<<10)[:15000], "b", strings.Repeat("\xfe", 60000)[:100]), want: passes("fine")},
	{section: "10.5.1", name: "more fields than may be", play: answers("fine", fieldsOf(200, "v")...), want: malformed("too-many-fields")},
	{section: "10.5.1", name: "a table that makes a small block large", play: bomb(20), want: malformed("response-head-too-large")},
	{section: "10.5.1", name: "a table that makes a small block enormous", play: bomb(1000), want: breaks(http2.ErrCodeEnhanceYourCalm)},
	{section: "10.5.1", name: "interim responses without end", play: then(interims(3000, "link", "</a>; rel=preload; as=style"), ok()), want: fate{status: "502", reason: "too-many-interim-responses", passed: true}},
}

// bomb names one large entry of the table again and again.
func bomb(times int) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		b := h.encode(":status", "200", "bomb", strings.Repeat("b", 3900))
		last := h.encode("bomb", strings.Repeat("b", 3900))
		for range times {
			b = append(b, last...)
		}
		block(string(b))(h, id)
	}
}
