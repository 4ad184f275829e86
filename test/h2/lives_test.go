package h2

// Connections as they live: they are drained in two steps, idle, cancelled, reloaded, stopped.

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/config"
)

// TestDrain: GOAWAY in two steps (RFC 9113 §6.8). What the client has sent before it knew is
// served, what comes behind the second is refused, and the connection ends with the last response.
func TestDrain(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		c.head(1, true, get("/slow")...)
		c.read(100*time.Millisecond, func() bool { return false })
		w.proxy.Drain()
		if !c.read(patience, func() bool { return len(c.goAways) == 1 }) || c.goAways[0].LastStreamID != math.MaxInt32 {
			return fmt.Errorf("the first step: %s", c)
		}
		// peer answers the PING as soon as it reads it: this request is sent before.
		c.head(3, true, get("/slow")...)
		if !c.read(patience, func() bool { return len(c.goAways) == 2 }) || c.goAways[1].LastStreamID != 3 || c.goAways[1].ErrCode != http2.ErrCodeNo {
			return fmt.Errorf("the second step: %s", c)
		}
		c.head(5, true, get("/fast")...)
		if a := c.finished(5); !a.reset || a.code != http2.ErrCodeRefusedStream {
			return fmt.Errorf("a request behind it: %s", a)
		}
		for _, id := range []uint32{1, 3} {
			if a := c.finished(id); string(a.content) != "/slow" || !a.over {
				return fmt.Errorf("stream %d: %s; %s", id, a, c)
			}
		}
		if !c.over(patience) {
			return fmt.Errorf("it does not end: %s", c)
		}
		return nil
	})
}

// TestDrainOfAnIdleConnection: it is announced at once, and over when the client has heard of it.
func TestDrainOfAnIdleConnection(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		if err := c.alive(1); err != nil {
			return err
		}
		w.proxy.Drain()
		if !c.over(patience) || len(c.goAways) != 2 {
			return fmt.Errorf("%s", c)
		}
		return nil
	})
}

// TestDrainOfASilentClient: one that never answers the PING keeps nothing open but its own requests.
func TestDrainOfASilentClient(t *testing.T) {
	inWorlds(t, nil, func(w *world) error {
		c, err := dial(w, true)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		c.preface()
		c.framer.WriteSettings()
		c.head(1, true, get("/slow")...)
		w.Sleep(100 * time.Millisecond)
		from := w.Now()
		w.shut()
		if took := w.Now() - from; took > 5*time.Second {
			return fmt.Errorf("closing took %v", took)
		}
		if a := c.finished(1); string(a.content) != "/slow" {
			return fmt.Errorf("%s", a)
		}
		return nil
	})
}

// TestCloseAnswersWhatComesOverOpenConnections: while Close waits for an exchange, a request on its
// connection is answered; when Close has returned the connection is over.
func TestCloseAnswersWhatComesOverOpenConnections(t *testing.T) {
	inWorlds(t, nil, func(w *world) error {
		c, err := dial(w, true)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		c.preface()
		c.framer.WriteSettings()
		c.head(1, true, get("/slow")...)
		w.Sleep(100 * time.Millisecond)
		closed := false
		w.Go("close", func() { w.shut(); closed = true })
		if !c.read(patience, func() bool { return len(c.goAways) == 1 }) {
			return fmt.Errorf("it is not said: %s", c)
		}
		c.head(3, true, get("/fast")...)
		if a := c.finished(3); a.status != "200" || string(a.content) != "/fast" || closed {
			return fmt.Errorf("while closing: %s, closed %v", a, closed)
		}
		if a := c.finished(1); string(a.content) != "/slow" {
			return fmt.Errorf("what was under way: %s", a)
		}
		if !c.over(patience) {
			return fmt.Errorf("after the end: %s", c)
		}
		return nil
	})
}

// TestOneGoAwayAfterAnError: the reason is said once, and not taken back by a GOAWAY without one.
func TestOneGoAwayAfterAnError(t *testing.T) {
	for _, asks := range []bool{false, true} { // whether a stream was opened before
		inWorlds(t, nil, func(w *world) error {
			c, err := dial(w, true)
			if err != nil {
				return err
			}
			defer c.wire.Close()
			c.preface()
			c.framer.WriteSettings()
			if asks {
				c.head(1, true, get("/fast")...)
				c.finished(1)
			}
			c.framer.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) // RFC 9113 §6.7
			c.over(patience)
			if len(c.goAways) != 1 || c.goAways[0].ErrCode != http2.ErrCodeProtocol {
				return fmt.Errorf("%v; %s", c.goAways, c)
			}
			return nil
		})
	}
}

// TestIdle: a connection without a stream ends after timeouts.idle, in good order; one with a stream
// does not, and other frames do not keep it open.
func TestIdle(t *testing.T) {
	quick := func(c *config.Config) { c.Timeouts.Idle = 3 * time.Second }
	attackWith(t, quick, func(w *world, c *peer) error {
		c.head(1, true, get("/never")...)
		if c.over(10 * time.Second) {
			return fmt.Errorf("it ended beside a stream: %s", c)
		}
		c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
		from := w.Now()
		for c.ended == nil && w.Now()-from < 20*time.Second {
			c.framer.WritePing(false, [8]byte{})
			c.read(500*time.Millisecond, func() bool { return false })
		}
		if took := w.Now() - from; c.ended == nil || took < 2*time.Second || took > 5*time.Second || !c.saidGoAway(http2.ErrCodeNo) {
			return fmt.Errorf("%s after %v", c, took)
		}
		return nil
	})
}

// TestCancel: RST_STREAM ends the exchange at the endpoint at once, and only that.
func TestCancel(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		c.head(1, true, get("/never")...)
		c.head(3, false, post("/never")...)
		c.head(5, true, get("/slow")...)
		c.read(100*time.Millisecond, func() bool { return false })
		c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
		c.framer.WriteRSTStream(3, http2.ErrCodeCancel)
		c.read(100*time.Millisecond, func() bool { return false })
		if _, most, gone, _ := w.endpoint.counts(); most != 2 || gone != 2 {
			return fmt.Errorf("%d requests, %d of them broken off", most, gone)
		}
		if a := c.finished(5); string(a.content) != "/slow" {
			return fmt.Errorf("beside them: %s", a)
		}
		return c.alive(7)
	})
}

// TestLeaving: a client that closes its connection ends all of its exchanges.
func TestLeaving(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		for i := range uint32(20) {
			c.head(2*i+1, i%2 == 0, get("/never")...)
		}
		c.read(100*time.Millisecond, func() bool { return false })
		c.wire.Close()
		w.Sleep(100 * time.Millisecond)
		if _, most, gone, _ := w.endpoint.counts(); most != 20 || gone != 20 || w.proxy.Connections() != 0 {
			return fmt.Errorf("%d requests, %d of them broken off, %d connections", most, gone, w.proxy.Connections())
		}
		return w.others()
	})
}

// TestReload changes the routes beside streams: they end by the configuration they began with, and the
// next request of the connection has the new one.
func TestReload(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		c.head(1, true, get("/slow")...)
		c.head(3, false, post("/echo")...)
		c.read(100*time.Millisecond, func() bool { return false })
		cfg := configuration("http://10.0.0.1:80")
		cfg.Routes[0].Match.Path = "/new/**"
		if err := w.proxy.Apply(cfg); err != nil {
			return err
		}
		c.head(5, true, get("/fast")...)
		if a := c.finished(5); a.status != "404" {
			return fmt.Errorf("behind the reload: %s", a)
		}
		c.head(7, true, get("/new/path")...)
		if a := c.finished(7); string(a.content) != "/new/path" {
			return fmt.Errorf("of the new route: %s", a)
		}
		c.framer.WriteData(3, true, []byte("late"))
		if a := c.finished(3); string(a.content) != "late" {
			return fmt.Errorf("the upload: %s", a)
		}
		if a := c.finished(1); string(a.content) != "/slow" {
			return fmt.Errorf("the response: %s", a)
		}
		return nil
	})
}

// TestStalledUpload: a client that stops sending is given up after stall, and the connection goes on.
func TestStalledUpload(t *testing.T) {
	quick := func(c *config.Config) { c.Timeouts.Stall = 3 * time.Second }
	attackWith(t, quick, func(w *world, c *peer) error {
		c.head(1, false, post("/echo")...)
		c.framer.WriteData(1, false, []byte("begun"))
		from := w.Now()
		a := c.answer(1)
		c.read(20*time.Second, func() bool { return a.over || a.reset })
		if took := w.Now() - from; a.status == "200" || took < 2*time.Second || took > 6*time.Second {
			return fmt.Errorf("%s after %v", a, took)
		}
		return c.alive(3)
	})
}

// TestFairness: a small response is not held up by large ones beside it that the client does not read.
func TestFairness(t *testing.T) {
	attackInBulk(t, func(w *world, c *peer) error {
		for i := range uint32(8) {
			c.head(2*i+1, true, get("/big/1000000")...)
		}
		c.number(http2.FrameWindowUpdate, 0, 1<<20) // the connection's; those of the streams stay 64 KiB
		if !c.read(patience, func() bool { return len(c.answer(15).content) == 65535 }) {
			return fmt.Errorf("the last download has %d bytes", len(c.answer(15).content))
		}
		return c.alive(17)
	})
}

// TestTurns: downloads beside each other get the same.
func TestTurns(t *testing.T) {
	attackInBulk(t, func(w *world, c *peer) error {
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		c.number(http2.FrameWindowUpdate, 0, 1<<30)
		for i := range uint32(8) {
			c.head(2*i+1, true, get("/big/1000000")...)
		}
		total := func() (sum, least int) {
			least = math.MaxInt
			for i := range uint32(8) {
				n := len(c.answer(2*i + 1).content)
				sum, least = sum+n, min(least, n)
			}
			return sum, least
		}
		c.read(patience, func() bool { sum, _ := total(); return sum >= 4_000_000 })
		if sum, least := total(); least < sum/8/2 {
			return fmt.Errorf("of %d bytes one of 8 has %d", sum, least)
		}
		for i := range uint32(8) {
			if a := c.finished(2*i + 1); len(a.content) != 1_000_000 || !strings.HasPrefix(string(a.content), "0123456789abcdef0") {
				return fmt.Errorf("%s", a)
			}
		}
		return c.alive(17)
	})
}
