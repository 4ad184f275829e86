package http2

import (
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
)

// TestLikeHTTP1: a request that comes by HTTP/1.1 is the same message when it has gone through
// HTTP/2, but for what is the connection's own.
func TestLikeHTTP1(t *testing.T) {
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n",
		"GET /a%20b?c=d HTTP/1.1\r\nHost: a:8080\r\nUser-Agent: Me\r\nX-Own: Yes\r\nAccept: */*\r\n",
		"POST /? HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 12\r\nExpect: 100-continue\r\nCookie: a=b; c=d\r\n",
		"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\nTrailer: Sum\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n",
		"DELETE /a//b/../c HTTP/1.1\r\nHost: A.example\r\nContent-Length: 0\r\nConnection: close, X-Drop\r\nX-Drop: 1\r\nVia: 1.1 x\r\nX-Empty:\r\n",
	} {
		var want, got message.Request
		if n, err := http1.ParseRequest([]byte(head+"\r\n"), 0, &want, nil); err != nil || n == 0 {
			t.Fatalf("%q: %v", head, err)
		}
		message.DropHopByHop(want.Fields)
		end := want.Body == message.NoBody || want.Body == message.Length && want.Length == 0
		var e Encoder
		var d Decoder
		if _, err := d.Request(nil, e.Request(nil, &want, "http"), end, &got); err != nil {
			t.Errorf("%q: %v", head, err)
			continue
		}
		message.DropHopByHop(got.Fields)
		if a, b := forwardedText(&got), forwardedText(&want); a != b {
			t.Errorf("%s\nby HTTP/1.1 %s", a, b)
		}
	}
}

// forwardedText is requestText of what would be forwarded, with names in small letters.
func forwardedText(r *message.Request) string {
	c := *r
	c.Fields = nil
	for _, f := range r.Fields {
		if !f.Drop && !written[f.Kind] {
			f.Name = appendLower(nil, f.Name)
			c.Fields = append(c.Fields, f)
		}
	}
	return strings.TrimSpace(requestText(&c))
}
