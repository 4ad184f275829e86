package script

// One stream of a serverConn, as an endpoint reads and writes it.

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// serverStream is a conn with one request. Its fields are guarded by the connection's mu; one task
// uses it.
type serverStream struct {
	x      *serverConn
	id     uint32
	method string
	moved  wakeup // something has changed that Read or Write waits for
	readBy time.Duration

	in      []byte // the request as HTTP/1.1, not yet read
	chunked bool
	tail    []field
	asked   bool // all of the request has come
	err     error

	text    []byte // of the response, not yet translated
	window  int
	headed  bool // the final head was sent
	framing string
	left    int  // content that is still to come
	over    bool // END_STREAM was sent
}

// fail has the tasks of the stream fail with err. The lock is held.
func (s *serverStream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.moved.Set()
}

// data makes text of content, and of the end. The lock is held.
func (s *serverStream) data(p []byte, end bool) {
	if s.chunked && len(p) > 0 {
		s.in = append(s.in, encodeChunk(string(p))...)
	} else {
		s.in = append(s.in, p...)
	}
	if s.asked = s.asked || end; end && s.chunked {
		s.in = append(s.in, encodeEnd(s.tail)...)
	}
	s.moved.Set()
}

func (s *serverStream) SetReadDeadline(at time.Duration) { s.readBy = at }

// Read reads the request, then waits for the end of the stream. What it takes is credited.
func (s *serverStream) Read(p []byte) (int, error) {
	for {
		s.x.mu.Lock()
		n, err := copy(p, s.in), s.err
		s.in = s.in[n:]
		if n > 0 && !s.asked && err == nil {
			s.x.framer.WriteWindowUpdate(s.id, uint32(n))
			s.x.written.Set()
		}
		over := s.over && s.asked
		s.x.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		case over:
			return 0, io.EOF
		}
		if err := s.moved.Wait(s.readBy); err != nil {
			return 0, err
		}
	}
}

// Write translates what is whole of the response.
func (s *serverStream) Write(p []byte) (int, error) {
	s.text = append(s.text, p...)
	for {
		more, err := s.translate()
		if err != nil {
			return 0, err
		}
		if !more {
			return len(p), nil
		}
	}
}

// translate sends a head, a piece of content or the end; false: none is whole.
func (s *serverStream) translate() (bool, error) {
	switch {
	case len(s.text) == 0 || s.over:
		return false, nil
	case !s.headed:
		return s.head()
	case s.framing == "until-close":
		return true, s.content(len(s.text), 0, false)
	case s.framing == "length":
		n := min(s.left, len(s.text))
		s.left -= n
		return true, s.content(n, 0, s.left == 0)
	}
	line, rest, ok := bytes.Cut(s.text, []byte("\r\n"))
	if !ok {
		return false, nil
	}
	size, err := strconv.ParseUint(string(line), 16, 31)
	if err != nil {
		return false, fmt.Errorf("chunk line %q", line)
	}
	if size > 0 {
		if len(rest) < int(size)+2 {
			return false, nil
		}
		s.text = rest
		return true, s.content(int(size), 2, false)
	}
	section, _, ok := bytes.Cut(s.text[len(line):], []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	s.text = nil
	if section = bytes.TrimPrefix(section, []byte("\r\n")); len(section) == 0 {
		return true, s.content(0, 0, true)
	}
	var trailers []field
	for l := range strings.SplitSeq(string(section), "\r\n") {
		f, err := parseField(l)
		if err != nil {
			return false, err
		}
		trailers = append(trailers, f)
	}
	return true, s.send(true, trailers)
}

// head translates a head, interim or final.
func (s *serverStream) head() (bool, error) {
	head, rest, ok := bytes.Cut(s.text, []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	lines := strings.Split(string(head), "\r\n")
	m := &message{start: lines[0]}
	for _, l := range lines[1:] {
		f, err := parseField(l)
		if err != nil {
			return false, err
		}
		m.fields = append(m.fields, f)
	}
	status, err := m.status()
	if err == nil {
		err = m.frame(s.method)
	}
	if err != nil {
		return false, err
	}
	s.text, s.headed = rest, status >= 200
	s.framing, s.left = m.framing, m.length
	fields := []field{{":status", strconv.Itoa(status)}}
	for _, f := range m.fields {
		switch strings.ToLower(f.name) {
		case "connection", "keep-alive", "transfer-encoding", "upgrade":
		default:
			fields = append(fields, f)
		}
	}
	return true, s.send(s.headed && m.ended, fields)
}

// send sends a head or trailers, in as many frames as it takes.
func (s *serverStream) send(end bool, fields []field) error {
	x := s.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	x.block.Reset()
	for _, f := range fields {
		x.encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(f.name), Value: f.value})
	}
	block := x.block.Bytes()
	n := min(len(block), 16<<10)
	x.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block)})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), 16<<10)
		x.framer.WriteContinuation(s.id, n == len(block), block[:n])
	}
	s.over = end
	x.written.Set()
	return nil
}

// content sends n bytes of text, as windows allow, and leaves out skip behind them.
func (s *serverStream) content(n, skip int, end bool) error {
	p := s.text[:n]
	s.text = s.text[n+skip:]
	for {
		s.x.mu.Lock()
		k, err := min(len(p), s.window, s.x.window, 16<<10), s.err
		if err == nil && (k > 0 || len(p) == 0) {
			s.over = end && k == len(p)
			if k > 0 || s.over {
				s.x.framer.WriteData(s.id, s.over, p[:k])
			}
			s.window -= k
			s.x.window -= k
			p = p[k:]
			s.x.written.Set()
		}
		s.x.mu.Unlock()
		switch {
		case err != nil:
			return err
		case len(p) == 0:
			return nil
		case k > 0:
			continue
		}
		if err := s.moved.Wait(0); err != nil {
			return err
		}
	}
}

// end ends the use of a stream of which all is over.
func (s *serverStream) end() {
	s.x.mu.Lock()
	s.x.drop(s)
	s.x.mu.Unlock()
}

// CloseWrite ends a response that has no other end.
func (s *serverStream) CloseWrite() error {
	if s.headed && s.framing == "until-close" && !s.over {
		return s.content(0, 0, true)
	}
	return nil
}

// Close ends the connection: see the head of endpoint_http2.go.
func (s *serverStream) Close() error {
	s.CloseWrite()
	x := s.x
	x.mu.Lock()
	cut := s.err == nil && !s.over
	switch {
	case s.err != nil, cut:
	case s.asked:
		x.leave()
	default:
		x.framer.WriteRSTStream(s.id, http2.ErrCodeNo)
	}
	x.drop(s)
	x.mu.Unlock()
	if cut {
		return x.conn.Close()
	}
	return nil
}

// Abort resets the connection.
func (s *serverStream) Abort() {
	s.x.conn.Abort()
}
