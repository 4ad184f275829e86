package script

// The sending half of a crossing: what a client writes as HTTP/1.1 becomes frames, as soon as a head
// or a piece of content is whole, and as windows allow.

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// flushFor is how long Write waits for windows. What is left goes on its way while the client reads.
const flushFor = 100 * time.Millisecond

// Write translates what the client writes as soon as it is whole, or a piece of content.
func (x *crossing) Write(p []byte) (int, error) {
	if !x.begun {
		x.begun = true
		io.WriteString(x.conn, http2.ClientPreface)
		x.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}, http2.Setting{ID: http2.SettingEnablePush})
		x.framer.WriteWindowUpdate(0, 1<<30)
	}
	x.text = append(x.text, p...)
	for {
		more, err := x.translate()
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
	}
	if err := x.flush(); err != nil {
		return 0, err
	}
	for by := x.now() + flushFor; x.held(); {
		if err := x.frame(by); err != nil {
			break // Read says so
		}
	}
	return len(p), nil
}

// held reports whether content waits for a window.
func (x *crossing) held() bool {
	return slices.ContainsFunc(x.streams, func(s *crossed) bool { return len(s.content) > 0 })
}

// translate takes a head, a piece of content or the end of a request off text; false: none is whole.
func (x *crossing) translate() (bool, error) {
	s := x.sending
	switch {
	case len(x.text) == 0:
		return false, nil
	case s == nil || s.ends || s.ended || s.err != nil && x.left == 0:
		return x.request()
	case x.left > 0:
		n := min(x.left, len(x.text))
		s.content = append(s.content, x.text[:n]...)
		x.text = x.text[n:]
		x.left -= n
		s.ends = x.left == 0
		return true, nil
	}
	line, rest, ok := bytes.Cut(x.text, []byte("\r\n"))
	if !ok {
		return false, nil
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseUint(string(digits), 16, 31)
	if err != nil {
		return false, fmt.Errorf("chunk line %q", line)
	}
	if size > 0 {
		if len(rest) < int(size)+2 {
			return false, nil
		}
		s.content = append(s.content, rest[:size]...)
		x.text = rest[size+2:]
		return true, nil
	}
	section := x.text[len(line)+2:]
	if !bytes.HasPrefix(section, []byte("\r\n")) {
		before, _, ok := bytes.Cut(section, []byte("\r\n\r\n"))
		if !ok {
			return false, nil
		}
		for l := range strings.SplitSeq(string(before), "\r\n") {
			f, err := parseField(l)
			if err != nil {
				return false, err
			}
			s.tail = append(s.tail, f)
		}
		section = section[len(before)+2:]
	}
	x.text = section[2:]
	s.ends = true
	return true, nil
}

// request translates a head.
func (x *crossing) request() (bool, error) {
	head, rest, ok := bytes.Cut(x.text, []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	lines := strings.Split(string(head), "\r\n")
	start := strings.Split(lines[0], " ")
	if len(start) != 3 {
		return false, fmt.Errorf("%q is no request line", lines[0])
	}
	var fields []field
	for _, l := range lines[1:] {
		f, err := parseField(l)
		if err != nil {
			return false, err
		}
		fields = append(fields, f)
	}
	x.last = max(x.last+2, 1)
	if x.last == 2 {
		x.last = 1
	}
	s := &crossed{id: x.last, method: start[0], window: x.first}
	x.sending, x.text, x.left = s, rest, 0
	if v := values(fields, "Content-Length"); len(v) > 0 {
		x.left, _ = strconv.Atoi(v[0])
	}
	if len(values(fields, "Transfer-Encoding")) > 0 {
		x.left = -1
	}
	s.ended = x.left == 0
	s.last = slices.Contains(values(fields, "Connection"), "close")
	x.streams = append(x.streams, s)
	return true, x.send(s, s.ended, requestFields(start, fields))
}

// requestFields are those of HTTP/2.
func requestFields(start []string, fields []field) []field {
	host := strings.Join(values(fields, "Host"), "")
	out := []field{{":method", start[0]}, {":scheme", "http"}, {":authority", host}, {":path", start[1]}}
	for _, f := range fields {
		switch name := strings.ToLower(f.name); name {
		case "host", "transfer-encoding":
		case "connection":
			if f.value != "close" && f.value != "TE" { // which say nothing over HTTP/2
				out = append(out, field{name, f.value})
			}
		default:
			out = append(out, field{name, f.value})
		}
	}
	return out
}

// send sends a head or trailers, in as many frames as it takes.
func (x *crossing) send(s *crossed, end bool, fields []field) error {
	x.block.Reset()
	for _, f := range fields {
		x.encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(f.name), Value: f.value})
	}
	block := x.block.Bytes()
	n := min(len(block), 16<<10)
	err := x.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block)})
	for block = block[n:]; len(block) > 0 && err == nil; block = block[n:] {
		n = min(len(block), 16<<10)
		err = x.framer.WriteContinuation(s.id, n == len(block), block[:n])
	}
	return err
}

// flush sends the content that windows let through, and ends of requests.
func (x *crossing) flush() error {
	for _, s := range x.streams {
		for len(s.content) > 0 {
			n := min(len(s.content), s.window, x.window, 16<<10)
			if n <= 0 {
				break
			}
			end := s.ends && n == len(s.content) && s.tail == nil
			if err := x.framer.WriteData(s.id, end, s.content[:n]); err != nil {
				return err
			}
			s.content = s.content[n:]
			s.window -= n
			x.window -= n
			s.ended = s.ended || end
		}
		if !s.ends || s.ended || len(s.content) > 0 {
			continue
		}
		s.ended = true
		if s.tail == nil {
			if err := x.framer.WriteData(s.id, true, nil); err != nil {
				return err
			}
		} else if err := x.send(s, true, s.tail); err != nil {
			return err
		}
	}
	return nil
}
