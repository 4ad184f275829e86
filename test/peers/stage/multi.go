//go:build linux

package stage

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
)

// The endpoint as it speaks HTTP/2, with prior knowledge: the same paths on the same listeners.
// Everything that is here is answered before anything is written, so that the endpoint costs
// as little as it can.

const (
	multiIn    = 64 << 10 // what is read at once, above the longest frame
	multiOut   = 64 << 10 // what is written at once
	creditStep = 32 << 10 // content of a stream after which its window is opened again
)

// PathCall is answered as a gRPC server answers a call: a message, and grpc-status in trailers.
const PathCall = "/bench.Echo/Call"

// multi is one connection with HTTP/2.
type multi struct {
	e       *endpoint
	t       *task
	decoder http2.Decoder
	room    []byte
	request message.Request
	in, out []byte
	w       int // unread: in[:w]
	peer    http2.Settings
	window  int64
	taken   int // content since the connection's window was opened again
	open    map[uint32]*asked
	line    []*asked // have content to send, and a window
}

// asked is one request.
type asked struct {
	id     uint32
	target string
	window int64
	taken  int
	left   int  // content to send
	inLine bool // it is in multi.line
	gone   bool // reset by the peer
}

// multiply serves a connection that has begun with HTTP/2's preface; begun is what was read.
func (e *endpoint) multiply(t *task, begun []byte) {
	m := &multi{e: e, t: t, in: make([]byte, multiIn), peer: http2.DefaultSettings(), window: http2.WindowDefault, open: make(map[uint32]*asked)}
	m.w = copy(m.in, begun)
	m.out = http2.AppendSettings(m.out, http2.Setting{ID: http2.SettingMaxStreams, Value: 1000})
	m.out = http2.AppendWindowUpdate(m.out, 0, http2.WindowMax-http2.WindowDefault)
	for preface := false; ; {
		at := 0
		if !preface {
			ok, err := http2.HasPreface(m.in[:m.w])
			if err != nil {
				return
			}
			if preface = ok; ok {
				at = len(http2.Preface)
			}
		}
		for preface {
			f, n, err := http2.Next(m.in[at:m.w], http2.FrameSizeMin)
			if err != nil || n > 0 && !m.frame(&f) {
				return
			}
			if n == 0 {
				break
			}
			at += n
		}
		m.w = copy(m.in, m.in[at:m.w])
		if !m.send() {
			return
		}
		n, err := t.Read(m.in[m.w:])
		if err != nil {
			return
		}
		m.w += n
	}
}

// send writes what there is, as far as windows allow, each stream in turns of a frame.
func (m *multi) send() bool {
	for {
		for len(m.out) < multiOut && len(m.line) > 0 && m.window > 0 {
			a := m.line[0]
			m.line = m.line[1:]
			a.inLine = false
			if !a.gone {
				m.content(a)
			}
		}
		if len(m.out) == 0 {
			return true
		}
		_, err := m.t.Write(m.out)
		m.out = m.out[:0]
		if err != nil {
			return false
		}
	}
}

// content appends one frame of it.
func (m *multi) content(a *asked) {
	n := int(min(int64(a.left), m.window, a.window, int64(m.peer.FrameSize), int64(len(m.e.scratch))))
	if n <= 0 {
		return // a WINDOW_UPDATE puts it back in line
	}
	a.left -= n
	a.window -= int64(n)
	m.window -= int64(n)
	m.out = http2.AppendData(m.out, a.id, m.e.scratch[:n], a.left == 0)
	if a.left == 0 {
		delete(m.open, a.id)
		return
	}
	m.stand(a)
}

func (m *multi) stand(a *asked) {
	if !a.inLine && a.left > 0 && a.window > 0 {
		a.inLine = true
		m.line = append(m.line, a)
	}
}

// frame reports whether the connection goes on.
func (m *multi) frame(f *http2.Frame) bool {
	switch f.Type {
	case http2.FrameHeaders:
		return m.head(f)
	case http2.FrameData:
		m.data(f)
	case http2.FrameReset:
		if a := m.open[f.Stream]; a != nil {
			a.gone = true
			delete(m.open, f.Stream)
		}
	case http2.FrameSettings:
		return f.Ack() || m.settings(f)
	case http2.FramePing:
		if !f.Ack() {
			m.out = http2.AppendPing(m.out, f.Payload, true)
		}
	case http2.FrameWindowUpdate:
		if f.Stream == 0 {
			m.window += int64(f.Increment())
		} else if a := m.open[f.Stream]; a != nil {
			a.window += int64(f.Increment())
			m.stand(a)
		}
	case http2.FrameContinuation: // heads of a benchmark are short
		return false
	}
	return true
}

func (m *multi) settings(f *http2.Frame) bool {
	before := int64(m.peer.Window)
	if m.peer.Apply(f.Payload, false) != nil {
		return false
	}
	for _, a := range m.open {
		a.window += int64(m.peer.Window) - before
		m.stand(a)
	}
	m.out = http2.AppendSettingsAck(m.out)
	return true
}

func (m *multi) head(f *http2.Frame) bool {
	if !f.EndHeaders() || m.open[f.Stream] != nil {
		return false
	}
	var err error
	if m.room, err = m.decoder.Request(m.room[:0], f.Payload, f.EndStream(), &m.request); err != nil {
		return false
	}
	a := &asked{id: f.Stream, window: int64(m.peer.Window), target: m.e.named(m.request.Path)}
	m.open[a.id] = a
	if f.EndStream() {
		m.answer(a)
	}
	return true
}

// data takes content, and opens windows again; that of a stream whose content is not read stays.
func (m *multi) data(f *http2.Frame) {
	if m.taken += f.Size; m.taken >= 1<<20 {
		m.out = http2.AppendWindowUpdate(m.out, 0, uint32(m.taken))
		m.taken = 0
	}
	a := m.open[f.Stream]
	if a == nil || a.target == PathStall {
		return
	}
	if f.EndStream() {
		m.answer(a)
		return
	}
	if a.taken += f.Size; a.taken >= creditStep {
		m.out = http2.AppendWindowUpdate(m.out, a.id, uint32(a.taken))
		a.taken = 0
	}
}

func (m *multi) answer(a *asked) {
	if strings.HasSuffix(a.target, PathWait) {
		return
	}
	if a.target == PathCall {
		m.block(a, callHead, false)
		m.out = http2.AppendData(m.out, a.id, callMessage, false)
		m.block(a, callEnd, true)
		delete(m.open, a.id)
		return
	}
	a.left = Small
	if _, number, ok := strings.Cut(a.target, PathSize); ok {
		a.left, _ = strconv.Atoi(number)
	}
	m.block(a, m.e.heads(a.left), a.left == 0)
	if a.left == 0 {
		delete(m.open, a.id)
		return
	}
	m.stand(a)
}

// block appends a head that was encoded before.
func (m *multi) block(a *asked, head []byte, end bool) {
	at := len(m.out)
	m.out = append(http2.BeginHeaders(m.out), head...)
	m.out = http2.FinishHeaders(m.out, at, a.id, end, m.peer.FrameSize)
}

// What a call is answered with. The Encoder's zero value uses no table but the static one, so that
// what it has made is good for every connection.
var (
	callHead = encoded(func(e *http2.Encoder) []byte {
		return e.Response(nil, &message.Response{Status: 200, Body: message.Chunked, Fields: fields("content-type", "application/grpc")}, false)
	})
	callEnd = encoded(func(e *http2.Encoder) []byte {
		return e.Trailers(nil, fields("grpc-status", "0"))
	})
	callMessage = append([]byte{0, 0, 0, 0, Small}, bytes.Repeat([]byte("x"), Small)...)
)

func encoded(f func(*http2.Encoder) []byte) []byte { return f(new(http2.Encoder)) }

func fields(namesAndValues ...string) (all []message.Field) {
	for i := 0; i < len(namesAndValues); i += 2 {
		name := []byte(namesAndValues[i])
		all = append(all, message.Field{Name: name, Value: []byte(namesAndValues[i+1]), Kind: message.KindOf(name)})
	}
	return all
}

// heads is the head of an answer of so many bytes, as HTTP/2 has it.
func (e *endpoint) heads(size int) []byte {
	if e.blocks[size] == nil {
		e.blocks[size] = encoded(func(c *http2.Encoder) []byte {
			return c.Response(nil, &message.Response{Status: 200, Body: message.Length, Length: int64(size),
				Fields: fields("date", "Tue, 04 Aug 2026 12:00:00 GMT", "content-type", "text/plain")}, false)
		})
	}
	return e.blocks[size]
}

// named is a path as a string that was made once.
func (e *endpoint) named(path []byte) string {
	name, ok := e.names[string(path)]
	if !ok {
		name = string(path)
		e.names[name] = name
	}
	return name
}
