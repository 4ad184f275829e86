package h1

import (
	"errors"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// onConn runs test on a Conn that has read the head of a request, and its peer.
func onConn(t *testing.T, request string, test func(c *Conn)) {
	t.Helper()
	w := virtual.New(1)
	a, b := w.Pipe()
	w.Go("test", func() {
		c := open(downstream.Opening{
			Runtime: w.Runtime(), Stream: b,
			Settings: &downstream.Settings{Head: time.Second, Idle: time.Second, Stall: time.Second, Limits: limits.Default()},
		}, nil).(*Conn)
		a.Write([]byte(request))
		var q message.Request
		_, awaited := c.Await(false)
		err := c.Next(&q, new(downstream.Client))
		if err := errors.Join(awaited, err); err != nil {
			t.Errorf("%q: %v", request, err)
			return
		}
		test(c)
	})
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
}

// TestSourceIsWhatIsStillToCome: of content with a length, behind what was read already.
func TestSourceIsWhatIsStillToCome(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\n"
	onConn(t, head+"Content-Length: 10\r\n\r\nabcd", func(c *Conn) {
		if from, left := c.Source(); from != nil || left != 0 {
			t.Errorf("%d bytes behind those that are buffered", left)
		}
		if data, err := c.Content(false); string(data) != "abcd" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		if from, left := c.Source(); from != c.stream || left != 6 {
			t.Errorf("%d bytes, not 6", left)
		}
		c.Taken(2, nil)
		if _, left := c.Source(); left != 4 || c.ContentRead() {
			t.Errorf("%d bytes, not 4; read: %v", left, c.ContentRead())
		}
		c.Taken(4, nil)
		if from, left := c.Source(); from != nil || left != 0 || !c.ContentRead() || c.Last() {
			t.Errorf("%d bytes left, read: %v, last: %v", left, c.ContentRead(), c.Last())
		}
	})
	onConn(t, head+"Content-Length: 10\r\n\r\n", func(c *Conn) {
		c.Taken(3, errors.New("broken"))
		if !c.Last() || c.ContentRead() {
			t.Errorf("last: %v, read: %v", c.Last(), c.ContentRead())
		}
	})
	for _, rest := range []string{"\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 0\r\n\r\n"} {
		onConn(t, head+rest, func(c *Conn) {
			if _, left := c.Source(); left != 0 {
				t.Errorf("%q: %d bytes", rest, left)
			}
		})
	}
}

// TestSinkTakesContentAsItIs: behind the head, and not in chunks.
func TestSinkTakesContentAsItIs(t *testing.T) {
	for body, want := range map[message.Body]bool{message.Length: true, message.Chunked: false, message.UntilClose: false, message.NoBody: false} {
		onConn(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", func(c *Conn) {
			if c.Sink() != nil {
				t.Error("before there is a head")
			}
			c.Head(&message.Response{Status: 200, Body: body, Length: 5})
			if c.Sink() != nil {
				t.Error("in front of the head")
			}
			c.Flush()
			if got := c.Sink(); (got == c.stream) != want || (got == nil) == want {
				t.Errorf("body %d: %v", body, got)
			}
		})
	}
}
