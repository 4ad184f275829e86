package h2

// What bounds a connection and changes while it is open: how old it becomes, how many requests it
// carries in all and at once.

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/config"
)

// leaves sends requests, two at a time, until GOAWAY comes, and returns how many pairs there were. All
// are answered, also one that has crossed GOAWAY.
func leaves(c *peer, between func()) (n int, err error) {
	for id := uint32(1); id < 1000; id += 4 {
		c.head(id, true, get("/fast")...)
		c.head(id+2, true, get("/fast")...)
		for _, id := range []uint32{id, id + 2} {
			if a := c.finished(id); a.status != "200" {
				return n, fmt.Errorf("stream %d: %s; %s", id, a, c)
			}
		}
		if n++; len(c.goAways) == 0 {
			between()
			continue
		}
		if !c.over(patience) || len(c.goAways) != 2 {
			return n, fmt.Errorf("it goes on: %s", c)
		}
		for i, last := range []uint32{1<<31 - 1, id + 2} {
			if g := c.goAways[i]; g.LastStreamID != last || g.ErrCode != http2.ErrCodeNo {
				return n, fmt.Errorf("step %d is not above %d: %s", i+1, last, c)
			}
		}
		return n, nil
	}
	return n, fmt.Errorf("no GOAWAY came: %s", c)
}

func TestRequestsOfAConnection(t *testing.T) {
	inWorlds(t, func(c *config.Config) { c.Limits.Requests = 5 }, func(w *world) error {
		for range 2 {
			c, err := dial(w, false)
			if err != nil {
				return err
			}
			if n, err := leaves(c, func() {}); n != 3 || err != nil {
				return fmt.Errorf("%d pairs, %v", n, err)
			}
			c.wire.Close()
		}
		return nil
	})
}

// TestAgeOfAConnection: those that were opened together do not end together.
func TestAgeOfAConnection(t *testing.T) {
	ages := map[int]bool{}
	inWorlds(t, func(c *config.Config) { c.Timeouts.MaxAge = time.Minute }, func(w *world) error {
		for range 3 {
			c, err := dial(w, false)
			if err != nil {
				return err
			}
			n, err := leaves(c, func() { w.Sleep(time.Second) })
			if n < 54 || n > 68 || err != nil {
				return fmt.Errorf("%d seconds, %v", n, err)
			}
			ages[n] = true
			c.wire.Close()
		}
		return nil
	})
	if len(ages) < 3 {
		t.Errorf("connections became %v seconds old", ages)
	}
}

// TestAgeIsAnnouncedInTime: a client that has one request open and sends nothing more is told to open
// another connection, and so is one that has none.
func TestAgeIsAnnouncedInTime(t *testing.T) {
	inWorlds(t, func(c *config.Config) { c.Timeouts.MaxAge, c.Timeouts.Idle = time.Minute, time.Hour }, func(w *world) error {
		for _, target := range []string{"/never", "/fast"} {
			c, err := dial(w, false)
			if err != nil {
				return err
			}
			began := w.Now()
			c.head(1, true, get(target)...)
			if !c.read(2*time.Minute, func() bool { return len(c.goAways) == 2 }) {
				return fmt.Errorf("%s: %s", target, c)
			}
			if took := w.Now() - began; took < 54*time.Second || took > 67*time.Second || c.goAways[1].LastStreamID != 1 {
				return fmt.Errorf("%s: GOAWAY after %v: %s", target, took, c)
			}
			if target == "/never" {
				if c.ended != nil || c.answer(1).reset {
					return fmt.Errorf("what was under way has ended: %s", c)
				}
				c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
			}
			if !c.over(patience) {
				return fmt.Errorf("%s: it goes on: %s", target, c)
			}
			c.wire.Close()
		}
		return nil
	})
}

// TestAgeFollowsAReload: of a connection that was opened while there was a bound, as soon as it is
// read. A bound that was taken away does not count any more.
func TestAgeFollowsAReload(t *testing.T) {
	inWorlds(t, func(c *config.Config) { c.Timeouts.MaxAge = time.Minute }, func(w *world) error {
		for _, age := range []time.Duration{10 * time.Second, 0} {
			c, err := dial(w, false)
			if err != nil {
				return err
			}
			cfg := configuration("http://10.0.0.1:80")
			cfg.Timeouts.MaxAge = age
			if err := w.proxy.Apply(cfg); err != nil {
				return err
			}
			if err := c.alive(1); err != nil {
				return err
			}
			c.head(3, true, get("/never")...)
			if got := c.read(15*time.Second, func() bool { return len(c.goAways) > 0 }); got != (age > 0) {
				return fmt.Errorf("max_age %v: %s", age, c)
			}
			c.wire.Close()
			cfg.Timeouts.MaxAge = time.Minute
			if err := w.proxy.Apply(cfg); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestSettingsFollowAReload: a client learns what is allowed now, on the connection that it has. What
// is lowered holds when the client knows of it.
func TestSettingsFollowAReload(t *testing.T) {
	inWorlds(t, func(c *config.Config) { c.Limits.Streams = 3 }, func(w *world) error {
		c, err := dial(w, false)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		next := uint32(1)
		// fill asks n times at once for what is never answered, and returns how many were refused.
		fill := func(n int) (refused int, err error) {
			first := next
			for ; next < first+2*uint32(n); next += 2 {
				c.head(next, true, get("/never")...)
			}
			c.read(100*time.Millisecond, func() bool { return false })
			for id := first; id < next; id += 2 {
				if a := c.answer(id); a.reset && a.code != http2.ErrCodeRefusedStream {
					return refused, fmt.Errorf("%s", a)
				} else if a.reset {
					refused++
				}
			}
			for id := first; id < next; id += 2 {
				c.framer.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			c.read(100*time.Millisecond, func() bool { return false })
			return refused, c.ended
		}
		apply := func(streams, head int) error {
			cfg := configuration("http://10.0.0.1:80")
			cfg.Limits.Streams, cfg.Limits.Head = streams, head
			return w.proxy.Apply(cfg)
		}
		for _, step := range []struct{ streams, head, refused int }{
			{3, 64 << 10, 7}, {8, 64 << 10, 2}, {8, 32 << 10, 2}, {2, 16 << 10, 8},
		} {
			if err := apply(step.streams, step.head); err != nil {
				return err
			}
			if err := c.alive(next); err != nil { // the request that brings the change
				return err
			}
			next += 2
			if !c.read(patience, func() bool { return c.most == uint32(step.streams) && c.longest == uint32(step.head) }) {
				return fmt.Errorf("SETTINGS say %d streams and heads of %d, want %v", c.most, c.longest, step)
			}
			if n, err := fill(10); n != step.refused || err != nil {
				return fmt.Errorf("%v: %d of 10 were refused, %v", step, n, err)
			}
		}
		// A client that has not acknowledged may go on as before.
		c.silent = true
		if err := apply(1, 16<<10); err != nil {
			return err
		}
		if err := c.alive(next); err != nil {
			return err
		}
		next += 2
		if n, err := fill(2); c.most != 1 || n != 0 || err != nil {
			return fmt.Errorf("before the acknowledgement: %d refused, most %d, %v", n, c.most, err)
		}
		c.framer.WriteSettingsAck()
		if n, err := fill(2); n != 1 || err != nil {
			return fmt.Errorf("after it: %d refused, %v", n, err)
		}
		return nil
	})
}

// TestTheEndOfARequestIsLate: the endpoint answers when it has all that content-length announces, and
// END_STREAM comes in a frame of its own, behind the response. No such stream is reset, however many
// there are.
func TestTheEndOfARequestIsLate(t *testing.T) {
	inWorlds(t, nil, func(w *world) error {
		c, err := dial(w, false)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		const most = 200
		for id := uint32(1); id < 2*most; id += 2 {
			c.head(id, false, post("/echo", "content-length", "4")...)
			c.framer.WriteData(id, false, []byte("late"))
			if a := c.finished(id); string(a.content) != "late" || !a.over {
				return fmt.Errorf("stream %d: %s", id, a)
			}
		}
		for id := uint32(1); id < 2*most; id += 2 {
			c.framer.WriteData(id, true, nil)
		}
		if err := c.alive(2*most + 1); err != nil {
			return err
		}
		for id := uint32(1); id < 2*most; id += 2 {
			if a := c.answer(id); a.reset {
				return fmt.Errorf("stream %d: %s", id, a)
			}
		}
		return nil
	})
}
