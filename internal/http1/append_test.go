package http1

import (
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestAppendRequest(t *testing.T) {
	for _, c := range []struct{ why, in, out string }{
		{"order, values and spelling stay; hop-by-hop does not",
			"GET /a?b HTTP/1.1\nx-a: 1\nHost:  h:8\nX-A:2\nKeep-Alive: x\nConnection: x-b, keep-alive\nx-B: 3\n\n",
			"GET /a?b HTTP/1.1\nHost: h:8\nx-a: 1\nX-A: 2\n\n"},
		{"RFC 9112 §3.2.2: absolute to origin form", "GET http://h HTTP/1.1\nHost: other\n\n", "GET / HTTP/1.1\nHost: h\n\n"},
		{"RFC 9112 §3.2.4", "OPTIONS http://h HTTP/1.1\nHost: other\n\n", "OPTIONS * HTTP/1.1\nHost: h\n\n"},
		{"RFC 9112 §3.2.1: empty query", "GET /? HTTP/1.1\nHost: h\n\n", "GET /? HTTP/1.1\nHost: h\n\n"},
		{"RFC 9110 §6.2: our own version", "GET / HTTP/1.0\nHost: h\nConnection: keep-alive\n\n", "GET / HTTP/1.1\nHost: h\n\n"},
		{"RFC 9112 §9.6", "GET / HTTP/1.1\nHost: h\nConnection: close\n\n", "GET / HTTP/1.1\nHost: h\nConnection: close\n\n"},
		{"RFC 9110 §8.6", "POST / HTTP/1.1\nHost: h\nContent-Length: 007\n\n", "POST / HTTP/1.1\nHost: h\nContent-Length: 7\n\n"},
		{"RFC 9112 §7.1", "POST / HTTP/1.1\nHost: h\nTrailer: X-Sum\nTransfer-Encoding: CHUNKED\n\n", "POST / HTTP/1.1\nHost: h\nTrailer: X-Sum\nTransfer-Encoding: chunked\n\n"},
		{"RFC 9110 §6.6.2: no trailers without chunks", "POST / HTTP/1.1\nHost: h\nTrailer: X-Sum\nContent-Length: 1\n\n", "POST / HTTP/1.1\nHost: h\nContent-Length: 1\n\n"},
		{"RFC 9110 §10.1.4", "GET / HTTP/1.1\nHost: h\nTE: gzip, trailers\nConnection: TE\n\n", "GET / HTTP/1.1\nHost: h\nConnection: TE\nTE: trailers\n\n"},
		{"RFC 9110 §7.8", "GET / HTTP/1.1\nHost: h\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: k\n\n",
			"GET / HTTP/1.1\nHost: h\nSec-WebSocket-Key: k\nConnection: Upgrade\nUpgrade: websocket\n\n"},
		{"RFC 9110 §7.8: not asked for", "GET / HTTP/1.1\nHost: h\nUpgrade: websocket\n\n", "GET / HTTP/1.1\nHost: h\n\n"},
		{"h2c is not offered on", "GET / HTTP/1.1\nHost: h\nUpgrade: h2c\nHTTP2-Settings: x\nConnection: Upgrade, HTTP2-Settings\n\n", "GET / HTTP/1.1\nHost: h\n\n"},
		{"all options at once", "GET / HTTP/1.1\nHost: h\nUpgrade: a\nTE: trailers\nConnection: close, Upgrade, TE\n\n",
			"GET / HTTP/1.1\nHost: h\nConnection: close, Upgrade, TE\nUpgrade: a\nTE: trailers\n\n"},
		{"RFC 9110 §10.1.1", "PUT / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 1\n\n", "PUT / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 1\n\n"},
		{"RFC 9110 §10.1.1: ignored in 1.0", "PUT / HTTP/1.0\nHost: h\nConnection: keep-alive\nExpect: 100-continue\nContent-Length: 1\n\n", "PUT / HTTP/1.1\nHost: h\nContent-Length: 1\n\n"},
	} {
		var r message.Request
		if n, err := ParseRequest([]byte(crlf(c.in)), 0, &r, nil); n == 0 || err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		message.DropHopByHop(r.Fields)
		if got := string(AppendRequest([]byte("before|"), &r)); got != "before|"+crlf(c.out) {
			t.Errorf("%s:\n got %q\nwant %q", c.why, got, crlf(c.out))
		}
	}
	empty := message.Request{Method: []byte("GET"), Host: []byte("h"), KeepAlive: true}
	if got := string(AppendRequest(nil, &empty)); got != "GET / HTTP/1.1\r\nHost: h\r\n\r\n" {
		t.Errorf("%q", got)
	}
}

func TestAppendResponse(t *testing.T) {
	get := ResponseTo{Minor: 1}
	for _, c := range []struct {
		why, method, in string
		to              ResponseTo
		out             string
	}{
		{"as it came", "GET", "HTTP/1.1 200 OK\nx-a: 1\nContent-Length: 3\nServer: s\nKeep-Alive: t\nConnection: keep-alive, x-b\nX-B: 2\n\n", get, "HTTP/1.1 200 OK\nx-a: 1\nServer: s\nContent-Length: 3\n\n"},
		{"RFC 9112 §4: the space stays", "GET", "HTTP/1.1 200\nContent-Length: 0\n\n", get, "HTTP/1.1 200 \nContent-Length: 0\n\n"},
		{"RFC 9112 §9.6", "GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", ResponseTo{Minor: 1, Close: true}, "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"},
		{"RFC 9112 §9.3: to 1.0", "GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", ResponseTo{}, "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: keep-alive\n\n"},
		{"RFC 9112 §9.3: to 1.0", "GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", ResponseTo{Close: true}, "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"},
		{"the endpoint's Connection is its own", "GET", "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n", get, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"RFC 9112 §7.1", "GET", "HTTP/1.1 200 OK\nTrailer: X\nTransfer-Encoding: chunked\n\n", get, "HTTP/1.1 200 OK\nTrailer: X\nTransfer-Encoding: chunked\n\n"},
		{"RFC 9112 §6.3 (8)", "GET", "HTTP/1.0 200 OK\nTrailer: X\n\n", get, "HTTP/1.1 200 OK\nConnection: close\n\n"},
		{"RFC 9110 §8.6: told", "HEAD", "HTTP/1.1 200 OK\nContent-Length: 42\n\n", ResponseTo{Minor: 1, Head: true}, "HTTP/1.1 200 OK\nContent-Length: 42\n\n"},
		{"RFC 9110 §8.6: not told", "HEAD", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", ResponseTo{Minor: 1, Head: true}, "HTTP/1.1 200 OK\n\n"},
		{"RFC 9110 §8.6: told", "GET", "HTTP/1.1 304 Not Modified\nContent-Length: 42\nETag: a\n\n", get, "HTTP/1.1 304 Not Modified\nETag: a\nContent-Length: 42\n\n"},
		{"RFC 9110 §8.6: no length", "GET", "HTTP/1.1 204 No Content\nContent-Length: 0\n\n", get, "HTTP/1.1 204 No Content\n\n"},
		{"RFC 9112 §6.1: no coding", "GET", "HTTP/1.1 204 No Content\nTransfer-Encoding: chunked\n\n", get, "HTTP/1.1 204 No Content\n\n"},
		{"RFC 9110 §15.2: interim", "GET", "HTTP/1.1 103 Early Hints\nLink: l\nConnection: close\nContent-Length: 0\n\n", ResponseTo{Minor: 1, Close: true}, "HTTP/1.1 103 Early Hints\nLink: l\n\n"},
		{"RFC 9110 §7.8", "GET", "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: keep-alive, Upgrade\nSec-WebSocket-Accept: a\n\n", get,
			"HTTP/1.1 101 Switching Protocols\nSec-WebSocket-Accept: a\nConnection: Upgrade\nUpgrade: websocket\n\n"},
		{"RFC 9110 §15.5.22", "GET", "HTTP/1.1 426 Upgrade Required\nUpgrade: TLS/1.3\nConnection: Upgrade\nContent-Length: 0\n\n", ResponseTo{Minor: 1, Close: true},
			"HTTP/1.1 426 Upgrade Required\nContent-Length: 0\nConnection: close, Upgrade\nUpgrade: TLS/1.3\n\n"},
		{"an upgrade of the endpoint's is not advertised", "GET", "HTTP/1.1 200 OK\nUpgrade: h2,h2c\nConnection: Upgrade\nContent-Length: 0\n\n", get, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"RFC 9110 §8.6: nothing to wait for", "CONNECT", "HTTP/1.1 200 OK\n\n", get, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
	} {
		var r message.Response
		if n, err := ParseResponse([]byte(crlf(c.in)), 0, &r, []byte(c.method), nil); n == 0 || err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		message.DropHopByHop(r.Fields)
		if got := string(AppendResponse([]byte("before|"), &r, c.to)); got != "before|"+crlf(c.out) {
			t.Errorf("%s:\n got %q\nwant %q", c.why, got, crlf(c.out))
		}
	}
	own := message.Response{Status: 503, Reason: []byte("Service Unavailable"), Body: message.Length, Length: 12}
	if got := string(AppendResponse(nil, &own, ResponseTo{Minor: 1, Head: true})); got != "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\n" {
		t.Errorf("own answer to HEAD: %q", got)
	}
}
