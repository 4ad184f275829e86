package soak

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience bounds every wait of a client: longer is a failure.
const patience = 90 * time.Second

// A conn is a client's connection.
type conn struct {
	raw    net.Conn
	conn   net.Conn // with TLS: over raw
	in     *bufio.Reader
	slowly *pacer
	before string // the last order on the connection
}

// A pacer reads with pauses if that is asked for.
type pacer struct {
	io.Reader
	every int // bytes
	pause time.Duration
	since int
}

func (p *pacer) Read(b []byte) (int, error) {
	if p.every > 0 {
		if p.since > p.every {
			p.since = 0
			time.Sleep(p.pause)
		}
		b = b[:min(len(b), p.every)]
	}
	n, err := p.Reader.Read(b)
	p.since += n
	return n, err
}

// addressOf is where a client connects from: the proxy passes it to endpoints.
func addressOf(client int) net.IP { return net.IPv4(127, 0, 1, byte(1+client)) }

// scheme is that of a client's requests: every second one TLS.
func scheme(client int) string { return [...]string{"http", "https"}[client%2] }

func (s *soak) dial(client int) (*conn, error) {
	address := s.front.plain
	secure := scheme(client) == "https"
	if secure {
		address = s.front.secure
	}
	from := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: addressOf(client)}}
	raw, err := from.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(patience))
	c := &conn{raw: raw, conn: raw}
	if secure {
		t := tls.Client(raw, s.trust)
		if err := t.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		c.conn = t
	}
	c.slowly = &pacer{Reader: c.conn}
	c.in = bufio.NewReaderSize(c.slowly, 8<<10)
	return c, nil
}

// head is a request's head as it goes over the wire.
func (e *entry) head() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /%s/%s HTTP/1.%d\r\nHost: soak.example\r\nX-Token: %s\r\nX-Order: %s\r\n", e.method, e.service, e.token, e.minor, e.token, e.text)
	if e.pad > 0 {
		fmt.Fprintf(&b, "X-Pad: %s\r\n", text(e.token, e.pad))
	}
	switch {
	case e.up >= 0 && e.upFrame == byLength:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", e.up)
	case e.up >= 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if e.expect {
		b.WriteString("Expect: 100-continue\r\n")
	}
	if e.last && e.minor == 1 {
		b.WriteString("Connection: close\r\n")
	} else if !e.last && e.minor == 0 {
		b.WriteString("Connection: keep-alive\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// pieces gives a request's content, as it goes over the wire, in pieces of random sizes.
func (e *entry) pieces(r *rand.Rand, most int, give func([]byte) error) error {
	stream, chunked := contentOf(e.token, upwards), e.upFrame == inChunks
	for left := e.up; left > 0; {
		n := min(left, 1+r.IntN(most))
		left -= n
		if err := give(appendContent(nil, stream, n, chunked)); err != nil {
			return err
		}
	}
	if e.up >= 0 && chunked {
		return give(fmt.Appendf(nil, "0\r\nX-End: %s\r\n\r\n", e.token))
	}
	return nil
}

// whole is the request in one piece.
func (e *entry) whole(r *rand.Rand) []byte {
	b := e.head()
	e.pieces(r, 40_000, func(p []byte) error { b = append(b, p...); return nil })
	return b
}

// A sending writes a request while another goroutine reads the response.
type sending struct {
	conn *conn
	goOn chan bool // 100 (Continue) has come, or a final response instead
	done sync.WaitGroup
	err  error
}

// send begins to write a request; pause is between pieces, and then the head comes in
// pieces as well.
func (c *conn) send(e *entry, r *rand.Rand, pause time.Duration) *sending {
	s := &sending{conn: c, goOn: make(chan bool, 1)}
	if !e.expect && pause == 0 && e.up < 8<<10 {
		_, s.err = c.conn.Write(e.whole(r))
		return s
	}
	r = rand.New(rand.NewPCG(r.Uint64(), 1)) // its own: the other task goes on drawing
	s.done.Go(func() { s.err = s.write(e, r, pause) })
	return s
}

func (s *sending) write(e *entry, r *rand.Rand, pause time.Duration) error {
	give := func(p []byte) error {
		time.Sleep(pause)
		_, err := s.conn.conn.Write(p)
		return err
	}
	head := e.head()
	for pause > 0 && len(head) > 40 {
		n := 1 + r.IntN(len(head)-1)
		if err := give(head[:n]); err != nil {
			return err
		}
		head = head[n:]
	}
	if err := give(head); err != nil {
		return err
	}
	if e.expect && !<-s.goOn {
		return errHeld
	}
	return e.pieces(r, 3000+r.IntN(60_000), give)
}

var errHeld = errors.New("the content was not asked for")

// end stops the writing and reports whether all was written.
func (s *sending) end() bool {
	select {
	case s.goOn <- false:
	default:
	}
	if stopped := time.AfterFunc(2*time.Second, func() { s.conn.raw.SetWriteDeadline(time.Now()) }); true {
		s.done.Wait()
		stopped.Stop()
	}
	return s.err == nil
}

// A result is a response as it came.
type result struct {
	status  int
	fields  map[string]string
	hints   int
	bytes   int
	whole   bool
	close   bool  // no further request
	err     error // why it is not whole
	corrupt error // it is not the response to this request
	reason  string
}

// receive reads the response to e, and calls goOn when 100 (Continue) comes.
func (c *conn) receive(e *entry, goOn func()) *result {
	r := &result{}
	for {
		line, err := readLine(c.in)
		if err != nil {
			r.err = err
			return r
		}
		r.fields = make(map[string]string)
		if err := c.readHead(r, line); err != nil {
			r.corrupt = err
			if errors.Is(err, errBroken) {
				r.err, r.corrupt = err, nil
			}
			return r
		}
		if r.status == 100 {
			goOn()
		} else if r.status == 103 {
			if r.hints++; r.fields["x-token"] != e.token {
				r.corrupt = fmt.Errorf("103 with token %q", r.fields["x-token"])
				return r
			}
		} else {
			break
		}
	}
	r.reason = r.fields["poise-reason"]
	r.close = strings.EqualFold(r.fields["connection"], "close") || e.last
	if r.reason == "" {
		switch {
		case r.fields["x-token"] != e.token:
			r.corrupt = fmt.Errorf("token %q", r.fields["x-token"])
		case r.status != 101 && r.fields["x-pad"] != text(e.token, e.downPad):
			r.corrupt = fmt.Errorf("a field of %d bytes is another one", len(r.fields["x-pad"]))
		}
	}
	if r.corrupt == nil && r.status != 101 {
		c.readBody(r, e)
	}
	return r
}

func (c *conn) readHead(r *result, line string) error {
	if len(line) < len("HTTP/1.1 200 ") || !strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.0 ") {
		return fmt.Errorf("not a status line: %.80q", line)
	}
	var err error
	if r.status, err = strconv.Atoi(line[9:12]); err != nil {
		return err
	}
	return readFields(c.in, r.fields)
}

// readBody reads the content; what the proxy itself says of a failure is not looked at.
func (c *conn) readBody(r *result, e *entry) {
	length, chunked := -2, r.fields["transfer-encoding"] == "chunked"
	if v, ok := r.fields["content-length"]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || chunked {
			r.corrupt = fmt.Errorf("Content-Length: %q, in chunks: %t", v, chunked)
			return
		}
		length = n
	}
	if e.method == "HEAD" || r.status == 204 || r.status == 304 {
		r.whole = true
		return
	}
	if r.reason != "" {
		_, err := io.CopyN(io.Discard, c.in, int64(length))
		r.whole, r.err = err == nil, err
		return
	}
	if length == -2 && !chunked && !r.close {
		if e.minor == 1 {
			r.corrupt = fmt.Errorf("content without an end")
			return
		}
		r.close = true
	}
	var err error
	var trailers map[string]string
	r.bytes, trailers, err = readContent(c.in, contentOf(e.token, downwards), length, chunked)
	switch {
	case errors.Is(err, errBroken):
		r.err = err
	case err != nil:
		r.corrupt = err
	case r.bytes > e.down || r.bytes < e.down && e.act != resetBody:
		r.corrupt = fmt.Errorf("%d bytes of content, which looks whole", r.bytes)
	case chunked && e.downFrame == inChunks && trailers["x-end"] != e.token:
		r.corrupt = fmt.Errorf("trailers %q", trailers)
	default:
		r.whole = true
	}
}

// quiet reports whether nothing lies behind the last response.
func (c *conn) quiet() bool { return c.in.Buffered() == 0 }
