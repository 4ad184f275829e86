package soak

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// An answer is what an endpoint says on one connection.
type answer struct {
	endpoint *endpoint
	raw      net.Conn
	conn     net.Conn
	in       *bufio.Reader
}

// request answers one request and reports whether the connection lives on.
func (x *answer) request(q *request) bool {
	e := x.endpoint
	if q.target == "/health" {
		_, err := io.WriteString(x.conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err == nil
	}
	token := q.fields["x-token"]
	r, err := e.soak.find(token)
	if err != nil {
		e.soak.fail("%s: %v", e.name, err)
		return false
	}
	if r == nil { // the client left long ago
		e.soak.met.add("late requests")
		return false
	}
	first := r.heads.Add(1) == 1
	if wrong := e.wrong(q, r, first); wrong != "" {
		e.soak.fail("%s: %s\norder: %s", e.name, wrong, r.text)
		return false
	}
	if q.fields["upgrade"] != "" {
		return x.echo(q, r)
	}
	if r.act == resetHead && first && r.up < 0 {
		reset(x.raw)
		return false
	}
	if r.act == early {
		return x.early(q, r)
	}
	if r.expect && !x.write("HTTP/1.1 100 Continue\r\n\r\n") {
		return false
	}
	if !x.content(q, r) {
		return false
	}
	if r.act == resetHead && first {
		reset(x.raw)
		return false
	}
	return x.respond(r)
}

// wrong says what of a request is not as its client sent it.
func (e *endpoint) wrong(q *request, r *entry, first bool) string {
	switch {
	case !first && !r.idempotent():
		return "a request that must not be repeated came twice"
	case r.service != e.service:
		return "a request for " + r.service
	case q.method != r.method:
		return "method " + q.method
	case q.target != "/"+r.service+"/"+r.token:
		return "target " + q.target
	case q.fields["x-order"] != r.text:
		return "another order: " + q.fields["x-order"]
	case q.fields["x-pad"] != text(r.token, r.pad):
		return fmt.Sprintf("a field of %d bytes is another one", len(q.fields["x-pad"]))
	case r.up < 0 && (q.length > 0 || q.chunked), r.up >= 0 && r.upFrame == byLength && max(q.length, 0) != r.up, r.up >= 0 && r.upFrame == inChunks && !q.chunked:
		return fmt.Sprintf("content of length %d, in chunks: %t", q.length, q.chunked)
	case q.fields["x-forwarded-for"] != addressOf(r.client).String(), q.fields["x-forwarded-proto"] != scheme(r.client):
		return fmt.Sprintf("from %s by %s", q.fields["x-forwarded-for"], q.fields["x-forwarded-proto"])
	case (q.fields["expect"] != "") != r.expect:
		return "Expect: " + q.fields["expect"]
	}
	return ""
}

// content reads a request's content to its end and reports whether that came. Content
// that ends in good order must be whole.
func (x *answer) content(q *request, r *entry) bool {
	want := contentOf(r.token, upwards)
	n, trailers, err := readContent(x.in, want, q.length, q.chunked)
	if errors.Is(err, errBroken) {
		x.endpoint.soak.met.add("uploads cut")
		return false
	}
	if err == nil && n != max(r.up, 0) {
		err = fmt.Errorf("%d bytes of content", n)
	}
	if err == nil && q.chunked && trailers["x-end"] != r.token {
		err = fmt.Errorf("trailers %q", trailers)
	}
	if err != nil {
		x.endpoint.soak.fail("%s: %v\norder: %s", x.endpoint.name, err, r.text)
		return false
	}
	return true
}

// early answers before the content has come, and reads it then: a connection that is
// closed over unread bytes is reset, and the response with it.
func (x *answer) early(q *request, r *entry) bool {
	if !x.respond(r) {
		if c, ok := x.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
			io.Copy(io.Discard, x.in)
		}
		return false
	}
	if r.expect { // it will not come, or the connection is not used any more
		return false
	}
	return x.content(q, r)
}

// respond writes the response and reports whether the connection lives on.
func (x *answer) respond(r *entry) bool {
	r.begun.Store(true)
	pause := time.Duration(r.at) * time.Millisecond
	switch r.act {
	case late:
		time.Sleep(10 * pause)
	case hinting:
		if !x.write("HTTP/1.1 103 Early Hints\r\nX-Token: " + r.token + "\r\n\r\n") {
			return false
		}
	}
	ends := r.act == closing || r.downFrame == untilClose && !r.empty()
	head := x.head(r, ends)
	limit := -1
	if r.act == resetBody {
		limit = r.at
	}
	whole := x.send(head, r, limit)
	switch {
	case limit >= 0:
		reset(x.raw)
		return false
	case r.act == dropping:
		x.endpoint.soak.drops.now()
		return false
	}
	return whole && !ends
}

func (x *answer) head(r *entry, ends bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nX-Token: %s\r\nX-Endpoint: %s\r\n", r.status, "Whatever", r.token, x.endpoint.name)
	switch {
	case r.status == 204:
	case r.downFrame == byLength:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.down)
	case r.downFrame == inChunks:
		b.WriteString("Transfer-Encoding: chunked\r\nTrailer: X-End\r\n")
	}
	if r.downPad > 0 {
		fmt.Fprintf(&b, "X-Pad: %s\r\n", text(r.token, r.downPad))
	}
	if ends {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// surplus is what babblers say behind a response. No client may ever see it.
const surplus = "HTTP/1.1 200 OK\r\nX-Token: surplus\r\nContent-Length: 7\r\n\r\nsurplus"

// send writes head and content, all of it or so much, in pieces of many sizes.
func (x *answer) send(head string, r *entry, limit int) bool {
	buf := []byte(head)
	stream := contentOf(r.token, downwards)
	left := r.down
	if r.empty() {
		left = 0
	}
	if limit >= 0 {
		left = min(left, limit)
	}
	for piece := 1 + int(mix(stream.seed)%40_000); left > 0; piece = 1 + piece*7%60_000 {
		n := min(left, piece)
		if r.act == babbling {
			n = left
		}
		left -= n
		buf = appendContent(buf, stream, n, r.downFrame == inChunks)
		if r.act == babbling {
			break
		}
		if _, err := x.conn.Write(buf); err != nil {
			return false
		}
		buf = buf[:0]
		if r.act == slowly {
			time.Sleep(time.Duration(r.at) * time.Millisecond / 5)
		}
	}
	if r.downFrame == inChunks && !r.empty() && limit < 0 {
		buf = fmt.Appendf(buf, "0\r\nX-End: %s\r\n\r\n", r.token)
	}
	if r.act == babbling {
		buf = append(buf, surplus...)
	}
	if len(buf) == 0 {
		return true
	}
	_, err := x.conn.Write(buf)
	return err == nil
}

// appendContent appends the next n bytes of a stream, as a chunk if they come in chunks.
func appendContent(buf []byte, stream *content, n int, chunked bool) []byte {
	if chunked {
		buf = fmt.Appendf(buf, "%x\r\n", n)
	}
	from := len(buf)
	buf = append(buf, make([]byte, n)...)
	stream.read(buf[from:])
	if chunked {
		buf = append(buf, "\r\n"...)
	}
	return buf
}

// echo switches protocols and sends back what it reads, until the client has ended.
func (x *answer) echo(q *request, r *entry) bool {
	if q.fields["upgrade"] != "echo" || !strings.EqualFold(q.fields["connection"], "upgrade") {
		x.endpoint.soak.fail("%s: Upgrade: %s, Connection: %s", x.endpoint.name, q.fields["upgrade"], q.fields["connection"])
		return false
	}
	r.begun.Store(true)
	if x.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Token: " + r.token + "\r\n\r\n") {
		io.Copy(x.conn, x.in)
		if c, ok := x.conn.(interface{ CloseWrite() error }); ok {
			c.CloseWrite()
		}
	}
	return false
}

func (x *answer) write(text string) bool {
	_, err := io.WriteString(x.conn, text)
	return err == nil
}
