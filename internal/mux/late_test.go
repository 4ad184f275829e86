package mux

// A process that is short of CPU reads late, and writes to an endpoint that has left meanwhile. What
// the peer has sent in time counts all the same: here the test itself is the task that reads, and
// sleeps where that task would not run.

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
)

// lateWaits are those of the connections here.
var lateWaits = Timeouts{Head: 10 * time.Second, Idle: 10 * time.Second, Stall: 10 * time.Second, Silence: 10 * time.Second}

// response is the frames of a response with the content "whole".
func response(enc *http2.Encoder, id uint32) (head, data []byte) {
	r := message.Response{Status: 200, Fields: []message.Field{message.NewField("X-Stream", "a")}}
	head = http2.FinishHeaders(enc.Response(http2.BeginHeaders(nil), &r, false), 0, id, false, http2.FrameSizeMin)
	return head, http2.AppendData(nil, id, []byte("whole"), true)
}

// whole checks that a response has come; it does not wait.
func whole(t *testing.T, rt engine.Runtime, s *Stream) {
	t.Helper()
	var head message.Response
	if err := s.ReadHead(&head, rt.Now()); err != nil {
		t.Errorf("head: %v", err)
		return
	}
	data, err := s.Content(false, 0)
	content := string(data) // which the next Content takes back
	if _, end := s.Content(false, 0); content != "whole" || err != nil || end != io.EOF {
		t.Errorf("content %q, %v, and then %v", content, err, end)
	}
}

// openLate opens a connection to far, which has sent its SETTINGS, and sends n requests.
func openLate(t *testing.T, rt engine.Runtime, near, far engine.Stream, n int) (*Conn, []*Stream) {
	t.Helper()
	c := New(&Options{Runtime: rt, Stream: near, Spares: NewSpares(1), Timeouts: lateWaits})
	far.Write(http2.AppendSettings(nil))
	step(t, c)
	var all []*Stream
	for range n {
		s, err := c.Open(rt.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.SendRequest(&message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a.example")}, "http", true)
		all = append(all, s)
	}
	return c, all
}

// step is what the task that reads does once.
func step(t *testing.T, c *Conn) {
	t.Helper()
	c.Rest()
	if err := c.Fill(); err != nil {
		t.Fatalf("fill: %v", err)
	}
	if _, err := c.Next(); err != nil {
		t.Fatalf("next: %v", err)
	}
}

// inVirtualTime runs f as a task between the two ends of a connection.
func inVirtualTime(t *testing.T, f func(rt engine.Runtime, near, far engine.Stream)) {
	w := virtual.New(1)
	w.Go("test", func() {
		near, far := w.Pipe()
		f(w.Runtime(), near, far)
	})
	if err := w.Run(); err != nil {
		t.Error(err)
	}
}

// TestReadsBeforeItJudges: the task that reads runs only after the time is over for what it waits for,
// which has been here for long.
func TestReadsBeforeItJudges(t *testing.T) {
	var enc http2.Encoder
	head, data := response(&enc, 1)
	for name, cut := range map[string]int{"a sign of life": 0, "the rest of a head": 12, "the rest of content": len(head) + 11} {
		t.Run(name, func(t *testing.T) {
			all := slices.Concat(head, data)
			inVirtualTime(t, func(rt engine.Runtime, near, far engine.Stream) {
				c, streams := openLate(t, rt, near, far, 1)
				if cut > 0 {
					far.Write(all[:cut])
					step(t, c)
				}
				far.Write(all[cut:])
				for range pingsMost + 1 { // so often was a silent one asked
					c.Rest()
					rt.Sleep(rt.Now() + 2*lateWaits.Silence)
					if err := c.Fill(); err != nil {
						t.Fatalf("with bytes unread: %v", err)
					}
				}
				step(t, c)
				whole(t, rt, streams[0])
				streams[0].Close()
				c.Close()
			})
		})
	}
}

// TestARequestBeforeItIsIdle: the request of a client has come in time, and is read too late.
func TestARequestBeforeItIsIdle(t *testing.T) {
	inVirtualTime(t, func(rt engine.Runtime, near, far engine.Stream) {
		c := New(&Options{Runtime: rt, Stream: near, Spares: NewSpares(1), Server: true, Timeouts: lateWaits})
		far.Write(http2.AppendSettings([]byte(http2.Preface)))
		step(t, c)
		var enc http2.Encoder
		q := message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a.example")}
		far.Write(http2.FinishHeaders(enc.Request(http2.BeginHeaders(nil), &q, "http"), 0, 1, true, http2.FrameSizeMin))
		c.Rest()
		rt.Sleep(rt.Now() + 2*lateWaits.Idle)
		if err := c.Fill(); err != nil {
			t.Fatalf("with a request unread: %v", err)
		}
		c.Rest()
		if err := c.Fill(); err != nil {
			t.Fatal(err)
		}
		s, err := c.Next()
		if s == nil || err != nil {
			t.Fatalf("no request: %v", err)
		}
		s.Close()
		c.Rest()
		if err := c.Fill(); err != io.EOF { // and it is idle after that
			t.Errorf("%v, want the end of an idle connection", err)
		}
		c.Close()
	})
}

// TestReadsBeforeAWriteFails: an endpoint has answered two requests and has gone. The write that fails
// comes before what it has said is read, and cuts nothing; a request that it has not answered fails.
func TestReadsBeforeAWriteFails(t *testing.T) {
	for name, unread := range map[string]bool{"the endpoint has closed": false, "the endpoint has closed with bytes unread": true} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(rt engine.Runtime, near, far engine.Stream) {
				c, streams := openLate(t, rt, near, far, 3)
				pause := func() { rt.Sleep(rt.Now() + time.Second) }
				pause() // the requests leave
				if !unread {
					far.Read(make([]byte, 1<<16))
				}
				var enc http2.Encoder
				for id := range uint32(2) {
					head, data := response(&enc, 2*id+1)
					far.Write(slices.Concat(head, data))
				}
				far.Close()
				for range 2 { // a socket learns of a reset by the first of them
					c.lock.Lock()
					c.appendUpdate(0, 1)
					c.lock.Unlock()
					pause()
				}
				if _, err := c.Open(rt.Now()); err != ErrFull {
					t.Errorf("another request: %v, want %v", err, ErrFull)
				}
				if err := read(c, nil); err == nil || errors.Is(err, engine.ErrTimeout) {
					t.Errorf("the connection ends with %v", err)
				}
				whole(t, rt, streams[0])
				whole(t, rt, streams[1])
				if err := streams[2].ReadHead(new(message.Response), rt.Now()); err == nil || errors.Is(err, engine.ErrTimeout) {
					t.Errorf("without an answer: %v", err)
				}
				for _, s := range streams {
					s.Close()
				}
				c.Close()
			})
		})
	}
}
