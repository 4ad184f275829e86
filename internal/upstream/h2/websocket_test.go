package h2

import (
	"io"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

var offer = http2.Setting{ID: http2.SettingConnect, Value: 1}

// respond sends a head of that status, with the fields that answers of HTTP/1.1 might have.
func (p *peer) respond(id uint32, status int, end bool) {
	r := &message.Response{Status: status, Fields: []message.Field{
		message.NewField("sec-websocket-protocol", "chat"), message.NewField("sec-websocket-accept", "forged")}}
	out := p.encode.Response(http2.BeginHeaders(nil), r, false)
	p.say(http2.FinishHeaders(out, 0, id, end, http2.FrameSizeMin))
}

// opening is what opens a WebSocket in HTTP/1.1.
func opening() *message.Request {
	return &message.Request{
		Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Upgrade: []byte("WebSocket"),
		Fields: []message.Field{message.NewField("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), message.NewField("Sec-WebSocket-Version", "13")},
	}
}

// socket opens a WebSocket; nil: the answer is r.
func (w *world) socket(r *message.Response) (upstream.Call, engine.Stream) {
	w.Helper()
	c, err := w.pool.Call(w.rt, 0, false, nil)
	if err != nil {
		w.Fatal(err)
	}
	q := opening()
	c.Head(q)
	c.Flush()
	if len(q.Fields) != 2 || string(q.Fields[0].Name) != "Sec-WebSocket-Key" {
		w.Errorf("the caller's request has become %v", q.Fields)
	}
	if err := c.ReadHead(r, q.Method, w.rt.Now()+time.Hour); err != nil {
		w.Fatal(err)
	}
	if r.Status != 101 {
		return c, nil
	}
	s, early := c.(upstream.Tunneler).Tunnel()
	if len(early) > 0 {
		w.Errorf("early %q", early)
	}
	return c, s
}

// TestAWebSocketIsAnExtendedCONNECT whose head has what HTTP/2 wants and nothing of HTTP/1.1.
func TestAWebSocketIsAnExtendedCONNECT(t *testing.T) {
	var asked message.Request
	play(t, upstream.Settings{}, func(p *peer) {
		p.settings(offer)
		f, err := p.until(http2.FrameHeaders)
		if err != nil {
			return
		}
		d := http2.Decoder{Connect: true}
		if _, err := d.Request(nil, f.Payload, f.EndStream(), &asked); err != nil || f.EndStream() {
			t.Errorf("the head: %v, END_STREAM %v", err, f.EndStream())
		}
		p.respond(f.Stream, 204, false) // any status of 2xx opens the tunnel (RFC 8441 §5)
		p.say(http2.AppendData(nil, f.Stream, []byte("early"), false))
		if f, err := p.until(http2.FrameData); err != nil || string(f.Payload) != "ping" || f.EndStream() {
			t.Errorf("%q, %v", f.Payload, err)
		}
		p.say(http2.AppendData(nil, f.Stream, []byte(", late"), true))
		if f, err := p.until(http2.FrameData); err != nil || len(f.Payload) > 0 || !f.EndStream() {
			t.Errorf("the client's end: %q, %v", f.Payload, err)
		}
		for { // nothing else of the stream follows
			switch f, err := p.next(); {
			case err != nil:
				return
			case f.Type == http2.FrameReset:
				t.Errorf("RST_STREAM %v", f.Code())
			}
		}
	}, func(w *world) {
		var r message.Response
		c, s := w.socket(&r)
		if s == nil {
			t.Fatalf("status %d", r.Status)
		}
		accept, _ := message.Get(r.Fields, "Sec-WebSocket-Accept")
		if string(accept) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || string(r.Upgrade) != "websocket" || len(r.Fields) != 2 {
			t.Errorf("the answer: %s, %v", r.Upgrade, r.Fields)
		}
		s.Write([]byte("ping"))
		if got, err := io.ReadAll(s); err != nil || string(got) != "early, late" {
			t.Errorf("%q, %v", got, err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		c.Done(false)
	})
	if string(asked.Method) != "CONNECT" || string(asked.Upgrade) != "websocket" || string(asked.Host) != "a" {
		t.Errorf("%s, %s, %s", asked.Method, asked.Upgrade, asked.Host)
	}
	if v, _ := message.Get(asked.Fields, "sec-websocket-version"); len(asked.Fields) != 1 || string(v) != "13" {
		t.Errorf("fields %v", asked.Fields)
	}
}

// TestAWebSocketThatIsDeclined has an ordinary response, and both sides of its stream end.
func TestAWebSocketThatIsDeclined(t *testing.T) {
	play(t, upstream.Settings{}, func(p *peer) {
		p.settings(offer)
		for {
			f, err := p.next()
			switch {
			case err != nil:
				return
			case f.Type == http2.FrameReset:
				t.Errorf("RST_STREAM %v", f.Code())
			case f.Type == http2.FrameHeaders:
				p.respond(f.Stream, 426, true)
			case f.Type == http2.FrameData && (len(f.Payload) > 0 || !f.EndStream()):
				t.Errorf("%q", f.Payload)
			}
		}
	}, func(w *world) {
		for range 3 {
			var r message.Response
			c, s := w.socket(&r)
			if _, err := c.Content(true, 0); s != nil || r.Status != 426 || r.Upgrade != nil || err != io.EOF {
				t.Errorf("status %d, content %v", r.Status, err)
			}
			c.Done(true)
		}
		w.connections(1)
	})
}

// TestAWebSocketThatFails is reset with CANCEL, the other way round fails the tunnel; the connection
// goes on.
func TestAWebSocketThatFails(t *testing.T) {
	var resets []http2.Code
	play(t, upstream.Settings{}, func(p *peer) {
		p.settings(offer)
		for {
			f, err := p.next()
			switch {
			case err != nil:
				return
			case f.Type == http2.FrameReset:
				resets = append(resets, f.Code())
			case f.Type == http2.FrameHeaders:
				if p.respond(f.Stream, 200, false); f.Stream == 1 {
					p.say(http2.AppendReset(nil, f.Stream, http2.Cancel))
				}
			}
		}
	}, func(w *world) {
		var r message.Response
		c, s := w.socket(&r)
		if _, err := io.ReadAll(s); err == nil {
			t.Error("a reset is no end")
		}
		c.Done(false)
		c, s = w.socket(&r)
		s.Interrupt(engine.ErrClientGone)
		if _, err := s.Read(make([]byte, 1)); err != engine.ErrClientGone {
			t.Error(err)
		}
		c.Done(false)
		w.rt.Sleep(w.rt.Now() + time.Millisecond)
		w.connections(1)
	})
	if len(resets) != 1 || resets[0] != http2.Cancel {
		t.Errorf("resets %v", resets)
	}
}

// TestAWebSocketThatIsNotOffered: the call says so. A caller that does not ask sends an ordinary
// request, as nothing else may be sent.
func TestAWebSocketThatIsNotOffered(t *testing.T) {
	play(t, upstream.Settings{}, ordinary, func(w *world) {
		c, err := w.pool.Call(w.rt, 0, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.(*call).Tunnels() {
			t.Error("an endpoint that has not offered extended CONNECT takes it")
		}
		c.Done(false)
		var r message.Response
		c, _ = w.socket(&r)
		if c.Done(true); r.Status != 200 {
			t.Errorf("status %d", r.Status)
		}
		w.connections(1)
	})
}
