package script

// HTTP/2 for the clients of scripts. A crossing looks to a client like the socket of a connection
// of HTTP/1.1: requests that the client writes leave as frames, and frames that come are read as
// responses of HTTP/1.1. So every script can be played by both protocols. It is made of x/net's
// Framer and hpack, so that mistakes of our own codec do not cancel out.
//
//	write    POST / HTTP/1.1 … 5\r\nhello\r\n0\r\n\r\n    →  HEADERS 1, DATA 1, DATA 1 (END_STREAM)
//	read     HTTP/1.1 200 … Transfer-Encoding: chunked    ←  HEADERS 1, DATA 1 …
//
// Responses are read in the order of the requests, as of a pipeline. A stream that is reset cuts
// its response short: reading fails.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// errStreamReset is what reading fails with after RST_STREAM.
var errStreamReset = errors.New("the stream was reset")

// crossing is a conn. One task uses it.
type crossing struct {
	conn
	now     func() time.Duration
	framer  *http2.Framer // writes
	parser  *http2.Framer // reads one frame from parsed
	parsed  bytes.Reader
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder

	readBy  time.Duration
	arrived []byte // frames that are not whole
	err     error  // of reading conn

	fragments []byte // of a head that has not come whole
	ends      bool   // which ends its stream

	// What the client writes.
	begun   bool   // the preface was sent
	text    []byte // not yet translated
	sending *crossed
	left    int // content of sending that is still to come; -1: it is chunked, 0: all has come
	window  int // of the connection
	first   int // window of a stream, as the peer has set it
	last    uint32
	away    bool // GOAWAY has come

	streams []*crossed // in the order of requests, until their response was read
}

// crossed is a request on its stream.
type crossed struct {
	id      uint32
	method  string
	last    bool // the client ends the connection behind it
	window  int
	content []byte // that no window has let through yet
	ends    bool   // END_STREAM follows content
	ended   bool   // and was sent
	tail    []field

	text    []byte // of the response, as HTTP/1.1
	headed  bool   // the final head has come
	chunked bool
	over    bool // all of the response has come
	err     error
}

func newCrossing(c conn, now func() time.Duration) *crossing {
	x := &crossing{conn: c, now: now, window: 65535, first: 65535}
	x.framer, x.parser = http2.NewFramer(c, nil), http2.NewFramer(nil, &x.parsed)
	x.framer.AllowIllegalWrites = true
	x.encoder, x.decoder = hpack.NewEncoder(&x.block), hpack.NewDecoder(4096, nil)
	return x
}

// SetReadDeadline is that of the next Read.
func (x *crossing) SetReadDeadline(at time.Duration) { x.readBy = at }

// Read reads what has come for the oldest request.
func (x *crossing) Read(p []byte) (int, error) {
	for {
		for len(x.streams) > 0 {
			s := x.streams[0]
			if len(s.text) > 0 {
				n := copy(p, s.text)
				s.text = s.text[n:]
				return n, nil
			}
			if s.err != nil {
				return 0, s.err
			}
			if !s.over {
				break
			}
			if x.streams = x.streams[1:]; s.last {
				x.err = io.EOF
			}
		}
		if x.err != nil {
			return 0, x.err
		}
		if err := x.frame(x.readBy); err != nil {
			return 0, err
		}
	}
}

// frame reads one frame.
func (x *crossing) frame(by time.Duration) error {
	for {
		if b := x.arrived; len(b) >= 9 {
			if n := 9 + int(b[0])<<16 + int(b[1])<<8 + int(b[2]); len(b) >= n {
				x.parsed.Reset(b[:n])
				f, err := x.parser.ReadFrame()
				if err == nil {
					err = x.take(f)
				}
				x.arrived = x.arrived[n:]
				return err
			}
		}
		if x.err != nil {
			return x.err
		}
		room := make([]byte, 16<<10)
		x.conn.SetReadDeadline(by)
		n, err := x.conn.Read(room)
		x.arrived = append(x.arrived, room[:n]...)
		if n == 0 && err != nil {
			if !timedOut(err) {
				x.err = err
			}
			return err
		}
	}
}

func (x *crossing) stream(id uint32) *crossed {
	for _, s := range x.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (x *crossing) take(f http2.Frame) error {
	s := x.stream(f.Header().StreamID)
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			for _, s := range x.streams {
				s.window += int(v) - x.first
			}
			x.first = int(v)
		}
		x.framer.WriteSettingsAck()
		x.flush()
	case *http2.PingFrame:
		if !f.IsAck() {
			x.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		x.away = true
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			x.window += int(f.Increment)
		} else if s != nil {
			s.window += int(f.Increment)
		}
		x.flush()
	case *http2.RSTStreamFrame:
		if s == nil {
			break
		}
		s.content, s.ends = nil, false
		if !s.over {
			s.err = fmt.Errorf("%w: %v", errStreamReset, f.ErrCode)
		}
	case *http2.HeadersFrame:
		x.fragments, x.ends = slices.Clone(f.HeaderBlockFragment()), f.StreamEnded()
		if f.HeadersEnded() {
			return x.head(s, x.fragments, x.ends)
		}
	case *http2.ContinuationFrame:
		x.fragments = append(x.fragments, f.HeaderBlockFragment()...)
		if f.HeadersEnded() {
			return x.head(s, x.fragments, x.ends)
		}
	case *http2.DataFrame:
		if s != nil {
			s.data(f.Data(), f.StreamEnded())
		}
	}
	return nil
}

// head makes text of a head or a trailer section. s is nil for a stream that nobody reads.
func (x *crossing) head(s *crossed, block []byte, end bool) error {
	fields, err := x.decoder.DecodeFull(block)
	if err != nil || s == nil {
		return err
	}
	var b strings.Builder
	if s.headed {
		for _, f := range fields {
			s.tail = append(s.tail, field{f.Name, f.Value})
		}
		s.data(nil, end)
		return nil
	}
	status := fields[0].Value
	fmt.Fprintf(&b, "HTTP/1.1 %s Status\r\n", status)
	length := false
	for _, f := range fields[1:] {
		length = length || f.Name == "content-length"
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	s.headed = status >= "200"
	if s.headed && !length && s.method != "HEAD" && status != "204" && status != "304" {
		s.chunked = true
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	s.text = append(s.text, b.String()+"\r\n"...)
	s.tail = nil
	if end {
		s.data(nil, true)
	}
	return nil
}

// data makes text of content, and of the end.
func (s *crossed) data(p []byte, end bool) {
	if s.chunked && len(p) > 0 {
		s.text = append(s.text, encodeChunk(string(p))...)
	} else {
		s.text = append(s.text, p...)
	}
	if s.over = s.over || end; end && s.chunked {
		s.text = append(s.text, encodeEnd(s.tail)...)
	}
}
