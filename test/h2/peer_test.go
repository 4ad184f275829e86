package h2

// The client. It keeps no state of streams and no rule: tests say what it sends.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/poise-lb/poise/internal/engine"
)

// A wire is the client's end of a connection: an engine.Stream, or a socket.
type wire interface {
	io.ReadWriter
	SetReadDeadline(at time.Duration)
	CloseWrite() error
	Close() error
}

// A place is where a peer plays.
type place interface {
	Now() time.Duration
	Sleep(d time.Duration)
	Dial() (wire, error)
}

// A peer is one connection of a hostile client. One task uses it.
type peer struct {
	place  place
	wire   wire
	framer *http2.Framer // writes
	parser *http2.Framer // reads one frame from parsed
	parsed bytes.Reader
	unread []byte

	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder

	answers map[uint32]*answer
	acks    int // of PING
	goAways []*http2.GoAwayFrame
	silent  bool   // it sends nothing by itself
	offers  bool   // the proxy's SETTINGS offer extended CONNECT
	most    uint32 // requests at once, as the proxy's last SETTINGS say
	longest uint32 // head, likewise
	ended   error  // why the connection is over; nil: it is not, as far as was read

	server bool     // it is an endpoint's
	asks   []uint32 // requests that have come, as an endpoint; the oldest first
	note   func()   // is called when a frame was taken; nil: nothing is
}

// An answer is what has come on one stream.
type answer struct {
	status   string // of the final head
	interim  []string
	fields   []hpack.HeaderField // of the final head
	content  []byte
	trailers []hpack.HeaderField
	over     bool // END_STREAM
	reset    bool
	code     http2.ErrCode
	credit   int // of WINDOW_UPDATE
}

// patience is for what has to come.
const patience = 20 * time.Second

// dial connects, and says hello unless silent.
func dial(p place, silent bool) (*peer, error) {
	w, err := p.Dial()
	if err != nil {
		return nil, err
	}
	c := newPeer(p, w)
	if c.silent = silent; !silent {
		c.preface()
		c.framer.WriteSettings()
	}
	return c, nil
}

func newPeer(p place, w wire) *peer {
	c := &peer{place: p, wire: w, answers: map[uint32]*answer{}}
	c.framer = http2.NewFramer(w, nil)
	c.framer.AllowIllegalWrites = true
	c.parser = http2.NewFramer(nil, &c.parsed)
	c.encoder, c.decoder = hpack.NewEncoder(&c.block), hpack.NewDecoder(4096, nil)
	return c
}

func (c *peer) preface() { io.WriteString(c.wire, http2.ClientPreface) }

func (c *peer) answer(id uint32) *answer {
	a := c.answers[id]
	if a == nil {
		a = new(answer)
		c.answers[id] = a
	}
	return a
}

// encode makes a block of NAME, VALUE pairs.
func (c *peer) encode(fields ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return slices.Clone(c.block.Bytes())
}

// get is the head of a request, with further fields.
func get(path string, fields ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", path}, fields...)
}

func post(path string, fields ...string) []string {
	return append([]string{":method", "POST", ":scheme", "http", ":authority", "a.example", ":path", path}, fields...)
}

// head sends a head in one frame.
func (c *peer) head(id uint32, end bool, fields ...string) error {
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode(fields...), EndStream: end, EndHeaders: true})
}

// frame sends a frame that the Framer would not.
func (c *peer) frame(kind http2.FrameType, flags http2.Flags, id uint32, payload ...byte) error {
	return c.framer.WriteRawFrame(kind, flags, id, payload)
}

func (c *peer) number(kind http2.FrameType, id, n uint32) error {
	return c.frame(kind, 0, id, binary.BigEndian.AppendUint32(nil, n)...)
}

// read reads frames until done says so, the connection is over, or d has passed: then it returns false.
func (c *peer) read(d time.Duration, done func() bool) bool {
	by := c.place.Now() + d
	for !done() {
		if c.ended != nil {
			return false
		}
		if len(c.unread) >= 9 {
			if n := 9 + int(c.unread[0])<<16 + int(c.unread[1])<<8 + int(c.unread[2]); len(c.unread) >= n {
				c.take(c.unread[:n])
				c.unread = c.unread[n:]
				if c.note != nil {
					c.note()
				}
				continue
			}
		}
		c.wire.SetReadDeadline(by)
		room := make([]byte, 32<<10)
		n, err := c.wire.Read(room)
		c.unread = append(c.unread, room[:n]...)
		switch {
		case n > 0 || err == nil:
		case errors.Is(err, engine.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded):
			return false
		default:
			c.ended = err
		}
	}
	return true
}

// take notes what a frame says.
func (c *peer) take(b []byte) {
	c.parsed.Reset(b)
	f, err := c.parser.ReadFrame()
	if err != nil {
		c.ended = fmt.Errorf("the proxy has sent a frame that is none: % x: %w", b[:min(40, len(b))], err)
		return
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		c.fields(f.StreamID, slices.Clone(f.HeaderBlockFragment()), f.StreamEnded())
	case *http2.DataFrame:
		a := c.answer(f.StreamID)
		a.content = append(a.content, f.Data()...)
		a.over = a.over || f.StreamEnded()
	case *http2.RSTStreamFrame:
		a := c.answer(f.StreamID)
		a.reset, a.code = true, f.ErrCode
	case *http2.WindowUpdateFrame:
		c.answer(f.StreamID).credit += int(f.Increment)
	case *http2.PingFrame:
		if f.IsAck() {
			c.acks++
		} else {
			c.framer.WritePing(true, f.Data)
		}
	case *http2.SettingsFrame:
		if v, there := f.Value(http2.SettingEnableConnectProtocol); there {
			c.offers = v == 1
		}
		if v, there := f.Value(http2.SettingMaxConcurrentStreams); there {
			c.most = v
		}
		if v, there := f.Value(http2.SettingMaxHeaderListSize); there {
			c.longest = v
		}
		if !f.IsAck() && !c.silent {
			c.framer.WriteSettingsAck()
		}
	case *http2.GoAwayFrame:
		c.goAways = append(c.goAways, &http2.GoAwayFrame{LastStreamID: f.LastStreamID, ErrCode: f.ErrCode})
	}
}

// fields decodes a block: an interim head, the final one, or trailers; or the head of a request.
func (c *peer) fields(id uint32, block []byte, end bool) {
	a := c.answer(id)
	fields, err := c.decoder.DecodeFull(block)
	if err != nil {
		c.ended = fmt.Errorf("the proxy has sent a block that is none: %w", err)
		return
	}
	switch {
	case c.server && a.fields == nil:
		a.fields = fields
		c.asks = append(c.asks, id)
	case c.server, a.status != "":
		a.trailers = fields
	case len(fields) > 0 && fields[0].Name == ":status" && strings.HasPrefix(fields[0].Value, "1"):
		a.interim = append(a.interim, fields[0].Value)
	case len(fields) > 0 && fields[0].Name == ":status":
		a.status, a.fields = fields[0].Value, fields
	default:
		c.ended = fmt.Errorf("a head without a status: %v", fields)
	}
	a.over = a.over || end
}

func field(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// finished waits for the end of a stream.
func (c *peer) finished(id uint32) *answer {
	a := c.answer(id)
	c.read(patience, func() bool { return a.over || a.reset })
	return a
}

// over waits for the end of the connection.
func (c *peer) over(d time.Duration) bool {
	c.read(d, func() bool { return false })
	return c.ended != nil
}

// alive reports whether the connection still answers: a PING, and a request on a stream. What is wrong with it if not.
func (c *peer) alive(id uint32) error {
	acks := c.acks
	c.framer.WritePing(false, [8]byte{1})
	if !c.read(patience, func() bool { return c.acks > acks }) {
		return fmt.Errorf("PING is not answered: %s", c)
	}
	c.head(id, true, get("/fast")...)
	if a := c.finished(id); a.status != "200" || string(a.content) != "/fast" {
		return fmt.Errorf("a request behind it is answered with %s", a)
	}
	return nil
}

// calm reports whether the connection has ended with ENHANCE_YOUR_CALM.
func (c *peer) calm() error {
	if !c.over(patience) {
		return fmt.Errorf("the connection goes on: %s", c)
	}
	if !c.saidGoAway(http2.ErrCodeEnhanceYourCalm) {
		return fmt.Errorf("it ended otherwise: %s", c)
	}
	return nil
}

func (c *peer) saidGoAway(codes ...http2.ErrCode) bool {
	return slices.ContainsFunc(c.goAways, func(g *http2.GoAwayFrame) bool { return slices.Contains(codes, g.ErrCode) })
}

func (c *peer) String() string {
	s := fmt.Sprintf("ended %v", c.ended)
	for _, g := range c.goAways {
		s += fmt.Sprintf(", GOAWAY %v above %d", g.ErrCode, g.LastStreamID)
	}
	return s
}

func (a *answer) String() string {
	s := "status " + a.status + ", " + strconv.Itoa(len(a.content)) + " bytes"
	if len(a.content) < 200 {
		s += fmt.Sprintf(" %q", a.content)
	}
	if a.reset {
		s += ", reset " + a.code.String()
	}
	return s + fmt.Sprintf(", over %t", a.over)
}
