package h2

// What is legal and dear (RFC 9113 §10.5), each against its bound. Beside most attacks a client of
// another connection is served as if nothing happened.

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/config"
)

// attack plays f with a connection that has said hello.
func attack(t *testing.T, f func(w *world, c *peer) error) {
	t.Helper()
	attackWith(t, nil, f)
}

func attackWith(t *testing.T, change func(*config.Config), f func(w *world, c *peer) error) {
	t.Helper()
	inWorlds(t, change, greeted(f))
}

// attackInBulk is attack for those that send megabytes.
func attackInBulk(t *testing.T, f func(w *world, c *peer) error) {
	t.Helper()
	inWorldsOf(t, []int{0, 0}, nil, greeted(f))
}

func greeted(f func(w *world, c *peer) error) func(w *world) error {
	return func(w *world) error {
		c, err := dial(w, false)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		return f(w, c)
	}
}

// others is what is wrong with the service of another client meanwhile.
func (w *world) others() error {
	c, err := dial(w, false)
	if err != nil {
		return err
	}
	defer c.wire.Close()
	if err := c.alive(1); err != nil {
		return fmt.Errorf("another client: %w", err)
	}
	return nil
}

// enough is more of anything than one connection may do at once.
const enough = 3000

// flood sends until the connection does not take it any more, and wants ENHANCE_YOUR_CALM. It
// reads nothing meanwhile, unless send does.
func flood(c *peer, send func(i int) error) error {
	for i := range enough {
		if send(i) != nil {
			break
		}
	}
	return c.calm()
}

func TestRapidReset(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		err := flood(c, func(i int) error {
			id := uint32(2*i + 1)
			if i%100 == 50 {
				w.Sleep(time.Millisecond) // for what has been opened to reach the endpoint
			}
			return errors.Join(c.head(id, true, get("/never")...), c.framer.WriteRSTStream(id, http2.ErrCodeCancel))
		})
		if err != nil {
			return err
		}
		w.Sleep(time.Second)
		if now, most, _, asked := w.endpoint.counts(); now != 0 || most > 100 || asked > 1000 {
			return fmt.Errorf("%d requests are left at the endpoint, %d at once, %d in all", now, most, asked)
		}
		return w.others()
	})
}

// TestResetAtOnce: requests that were reset in the write that began them are not served at all. A
// connection to an endpoint for each would be dear, also where the bound on resets holds.
func TestResetAtOnce(t *testing.T) {
	attackInBulk(t, func(w *world, c *peer) error {
		var all bytes.Buffer
		framer := http2.NewFramer(&all, nil)
		for id := uint32(1); id < 100; id += 2 {
			if err := errors.Join(
				framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode(get("/never")...), EndStream: true, EndHeaders: true}),
				framer.WriteRSTStream(id, http2.ErrCodeCancel)); err != nil {
				return err
			}
		}
		if _, err := c.wire.Write(all.Bytes()); err != nil {
			return err
		}
		w.Sleep(time.Second)
		if n := w.endpoint.connections(); n > 0 {
			return fmt.Errorf("%d connections to the endpoint for 50 requests that were reset at once", n)
		}
		return c.alive(101)
	})
}

// TestResetsAreSlowedDown: a client whose connection is closed opens another one, at the price of a
// handshake for us. So it is made to wait before that: hundreds of resets are taken at once, hundreds
// more are not. The answer to a PING behind them says when they were read.
func TestResetsAreSlowedDown(t *testing.T) {
	for _, c := range []struct {
		resets      int
		least, most time.Duration
	}{
		{400, 0, 50 * time.Millisecond},
		{900, time.Second, 2 * time.Second},
	} {
		attackInBulk(t, func(w *world, p *peer) error {
			began := w.Now()
			for i := range c.resets {
				id := uint32(2*i + 1)
				if err := errors.Join(p.head(id, true, get("/never")...), p.framer.WriteRSTStream(id, http2.ErrCodeCancel)); err != nil {
					return err
				}
				if i%50 == 49 {
					w.Sleep(time.Millisecond) // or so many are open at once that some are refused
				}
			}
			p.framer.WritePing(false, [8]byte{1})
			asked := w.Now()
			if err := w.others(); err != nil {
				return err
			}
			if took := w.Now() - asked; took > 10*time.Millisecond {
				return fmt.Errorf("another client was served after %v", took)
			}
			if !p.read(patience, func() bool { return p.acks > 0 }) {
				return fmt.Errorf("the PING is not answered: %s", p)
			}
			if took := w.Now() - began; took < c.least || took > c.most {
				return fmt.Errorf("%d resets were taken in %v", c.resets, took)
			}
			return nil
		})
	}
}

// TestMadeYouReset (CVE-2025-8671): the proxy is made to reset, which costs the same.
func TestMadeYouReset(t *testing.T) {
	ways := map[string]func(c *peer, id uint32) error{
		"update of zero":      func(c *peer, id uint32) error { return c.number(http2.FrameWindowUpdate, id, 0) },
		"window overflow":     func(c *peer, id uint32) error { return c.number(http2.FrameWindowUpdate, id, 1<<31-1) },
		"data behind the end": func(c *peer, id uint32) error { return c.frame(http2.FrameData, 0, id, 'x') },
		"depends on itself": func(c *peer, id uint32) error {
			return c.frame(http2.FramePriority, 0, id, byte(id>>24), byte(id>>16), byte(id>>8), byte(id), 1)
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			attack(t, func(w *world, c *peer) error {
				err := flood(c, func(i int) error {
					id := uint32(2*i + 1)
					return errors.Join(c.head(id, true, get("/never")...), way(c, id))
				})
				if err != nil {
					return err
				}
				w.Sleep(time.Second)
				if now, most, _, asked := w.endpoint.counts(); now != 0 || most > 100 || asked > 1000 {
					return fmt.Errorf("%d requests are left at the endpoint, %d at once, %d in all", now, most, asked)
				}
				return w.others()
			})
		})
	}
}

// TestRefusedStreams: a client that opens more streams than it may is refused each, in the end for good.
func TestRefusedStreams(t *testing.T) {
	attack(t, func(w *world, c *peer) error {
		for i := range 120 {
			c.head(uint32(2*i+1), true, get("/never")...)
		}
		a := c.finished(2*119 + 1)
		if !a.reset || a.code != http2.ErrCodeRefusedStream {
			return fmt.Errorf("the 120th stream: %s", a)
		}
		w.Sleep(time.Second)
		if now, most, _, _ := w.endpoint.counts(); now != 100 || most != 100 {
			return fmt.Errorf("%d requests at the endpoint, %d at most", now, most)
		}
		if err := flood(c, func(i int) error { return c.head(uint32(2*i+1001), true, get("/never")...) }); err != nil {
			return err
		}
		w.Sleep(time.Second)
		if now, _, _, _ := w.endpoint.counts(); now != 0 {
			return fmt.Errorf("%d requests are left at the endpoint", now)
		}
		return w.others()
	})
}

func TestFloods(t *testing.T) {
	floods := map[string]func(c *peer, i int) error{
		"SETTINGS": func(c *peer, _ int) error { return c.framer.WriteSettings() },
		"SETTINGS, read": func(c *peer, _ int) error {
			c.read(time.Microsecond, func() bool { return false })
			return c.framer.WriteSettings()
		},
		"SETTINGS of 100 entries": func(c *peer, _ int) error {
			return c.frame(http2.FrameSettings, 0, 0, []byte(strings.Repeat("\x00\x04\x00\x00\x10\x00", 100))...)
		},
		"PING": func(c *peer, _ int) error { return c.framer.WritePing(false, [8]byte{}) },
		"PING, read": func(c *peer, _ int) error {
			c.read(0, func() bool { return false })
			return c.framer.WritePing(false, [8]byte{})
		},
		"PING answers":  func(c *peer, _ int) error { return c.framer.WritePing(true, [8]byte{}) },
		"SETTINGS acks": func(c *peer, _ int) error { return c.framer.WriteSettingsAck() },
		"PRIORITY": func(c *peer, i int) error {
			return c.framer.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 3})
		},
		"unknown frames": func(c *peer, _ int) error { return c.frame(0x77, 0, 0, 1, 2, 3) },
		"GOAWAY":         func(c *peer, _ int) error { return c.framer.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"WINDOW_UPDATE":  func(c *peer, _ int) error { return c.number(http2.FrameWindowUpdate, 0, 1) },
		"empty HEADERS": func(c *peer, i int) error {
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndHeaders: true})
		},
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			attackInBulk(t, func(w *world, c *peer) error {
				if err := flood(c, func(i int) error { return send(c, i) }); err != nil {
					return err
				}
				return w.others()
			})
		})
	}
}

// TestFloodsOnAStream are those that need an open one.
func TestFloodsOnAStream(t *testing.T) {
	floods := map[string]func(c *peer) error{
		"empty DATA":           func(c *peer) error { return c.frame(http2.FrameData, 0, 1) },
		"DATA of padding only": func(c *peer) error { return c.frame(http2.FrameData, http2.FlagDataPadded, 1, 3, 0, 0, 0) },
		"WINDOW_UPDATE of 1":   func(c *peer) error { return c.number(http2.FrameWindowUpdate, 1, 1) },
		"RST_STREAM of a stream that has ended": func(c *peer) error {
			return c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
		},
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			attack(t, func(w *world, c *peer) error {
				c.head(1, false, post("/echo")...)
				return flood(c, func(int) error { return send(c) })
			})
		})
	}
}

// TestContinuationFlood: a head of many frames, and one without an end.
func TestContinuationFlood(t *testing.T) {
	for _, size := range []int{0, 1, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			attackInBulk(t, func(w *world, c *peer) error {
				c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(get("/fast")...)})
				more := c.encode("x", strings.Repeat("y", size))[:min(size, 1)]
				if size > 1 {
					more = []byte(strings.Repeat("\x00\x01x\x01y", size/5))
				}
				return flood(c, func(int) error { return c.framer.WriteContinuation(1, false, more) })
			})
		})
	}
}

// TestLargeHeads are the stream's fault as long as they are decoded: 431, and the connection goes on.
func TestLargeHeads(t *testing.T) {
	many := get("/fast")
	for i := range 200 {
		many = append(many, fmt.Sprint("f", i), "v")
	}
	heads := map[string][]string{
		"many fields":    many,
		"large field":    get("/fast", "x", strings.Repeat("\xff", 70<<10)),
		"large path":     get("/" + strings.Repeat("a", 60<<10)),
		"many of a name": append(get("/fast"), strings.Split(strings.Repeat("cookie,a=b,", 300)+"z,z", ",")...),
	}
	for name, head := range heads {
		t.Run(name, func(t *testing.T) {
			attack(t, func(w *world, c *peer) error {
				block := c.encode(head...)
				n := min(len(block), 16<<10)
				c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:n], EndStream: true, EndHeaders: n == len(block)})
				for block = block[n:]; len(block) > 0; block = block[n:] {
					n = min(len(block), 16<<10)
					c.framer.WriteContinuation(1, n == len(block), block[:n])
				}
				a := c.finished(1)
				if c.saidGoAway(http2.ErrCodeEnhanceYourCalm) && len(head) < 20 {
					return nil // more bytes than a head may have on the wire
				}
				if a.status != "431" && a.status != "414" {
					return fmt.Errorf("%s; %s", a, c)
				}
				return c.alive(3)
			})
		})
	}
}

// TestBomb: a small block that decodes to much, by one large entry of the table that is named
// again and again.
func TestBomb(t *testing.T) {
	for _, times := range []int{20, 1000} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			attack(t, func(w *world, c *peer) error {
				block := c.encode(get("/fast", "bomb", strings.Repeat("b", 3900))...)
				last := c.encode("bomb", strings.Repeat("b", 3900))
				for range times {
					block = append(block, last...)
				}
				c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
				if a := c.finished(1); times < 60 {
					if a.status != "431" {
						return fmt.Errorf("%s; %s", a, c)
					}
					return c.alive(3)
				}
				if !c.over(patience) || len(c.goAways) == 0 || c.goAways[0].ErrCode == http2.ErrCodeNo {
					return fmt.Errorf("the connection: %s", c)
				}
				return w.others()
			})
		})
	}
}

// TestSlowBeginnings: what has begun has to come within the time limit of a head.
func TestSlowBeginnings(t *testing.T) {
	ways := map[string]func(c *peer){
		"nothing":             func(*peer) {},
		"half of the preface": func(c *peer) { c.wire.Write([]byte(http2.ClientPreface[:10])) },
		"no SETTINGS":         func(c *peer) { c.preface() },
		"half of SETTINGS":    func(c *peer) { c.preface(); c.wire.Write([]byte{0, 0, 6, 4, 0}) },
		"a head without end": func(c *peer) {
			c.preface()
			c.framer.WriteSettings()
			c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
		},
		"half of a head frame": func(c *peer) {
			c.preface()
			c.framer.WriteSettings()
			c.wire.Write([]byte{0, 0, 20, 1, 5, 0, 0, 0, 1, 0x82})
		},
	}
	for name, begin := range ways {
		t.Run(name, func(t *testing.T) {
			inWorlds(t, func(c *config.Config) { c.Timeouts.Head, c.Timeouts.Idle = 3*time.Second, 20*time.Second }, func(w *world) error {
				c, err := dial(w, true)
				if err != nil {
					return err
				}
				defer c.wire.Close()
				from := w.Now()
				begin(c)
				c.over(time.Minute)
				if took := w.Now() - from; c.ended == nil || took < 2*time.Second || took > 5*time.Second {
					return fmt.Errorf("%v after %v", c, took)
				}
				return nil
			})
		})
	}
	// A byte now and then does not help.
	t.Run("a head by bytes", func(t *testing.T) {
		attackWith(t, func(c *config.Config) { c.Timeouts.Head = 3 * time.Second }, func(w *world, c *peer) error {
			c.alive(1)
			from := w.Now()
			head := append([]byte{0, 0, 200, 1, 5, 0, 0, 0, 3}, make([]byte, 200)...)
			for i := 0; i < len(head) && c.ended == nil; i++ {
				c.wire.Write(head[i : i+1])
				c.read(time.Second, func() bool { return false })
			}
			if took := w.Now() - from; c.ended == nil || took > 5*time.Second {
				return fmt.Errorf("%v after %v", c, took)
			}
			return nil
		})
	})
}

// TestSlowReaders: windows that stay empty, and a socket that takes nothing. Both end by stall, and
// the endpoint is let go.
func TestSlowReaders(t *testing.T) {
	quick := func(c *config.Config) { c.Timeouts.Stall = 5 * time.Second }
	t.Run("window of zero", func(t *testing.T) {
		attackWith(t, quick, func(w *world, c *peer) error {
			c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			c.head(1, true, get("/big/100000")...)
			a := c.answer(1)
			if !c.read(20*time.Second, func() bool { return a.reset }) {
				return fmt.Errorf("%s; %s", a, c)
			}
			if len(a.content) > 0 || a.code == http2.ErrCodeNo {
				return fmt.Errorf("%s", a)
			}
			c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
			return c.alive(3)
		})
	})
	// A piece of content has to be taken within stall: a byte now and then holds nothing open.
	t.Run("window opened byte by byte", func(t *testing.T) {
		attackWith(t, quick, func(w *world, c *peer) error {
			c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			c.head(1, true, get("/big/100")...)
			a := c.answer(1)
			from := w.Now()
			for range 100 {
				c.number(http2.FrameWindowUpdate, 1, 1)
				if c.read(time.Second, func() bool { return a.reset }) {
					break
				}
			}
			if took := w.Now() - from; !a.reset || took > 10*time.Second {
				return fmt.Errorf("%s after %v; %s", a, took, c)
			}
			c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
			return c.alive(3)
		})
	})
	t.Run("socket", func(t *testing.T) {
		attackWith(t, quick, func(w *world, c *peer) error {
			c.number(http2.FrameWindowUpdate, 0, 1<<30)
			c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			for i := range uint32(50) {
				c.head(2*i+1, true, get("/big/1000000")...)
			}
			w.Sleep(30 * time.Second)
			if n := w.proxy.Connections(); n != 0 {
				return fmt.Errorf("%d connections are open after 30s", n)
			}
			return w.others()
		})
	})
}

// TestUploads that are not read, on all streams at once: what is held is bounded, and others of the connection go on.
func TestUploads(t *testing.T) {
	attackInBulk(t, func(w *world, c *peer) error {
		for i := range uint32(90) {
			c.head(2*i+1, false, post("/stuck")...)
		}
		piece := make([]byte, 8<<10)
		sent, window := 0, map[uint32]int{}
		for range 40 {
			c.read(10*time.Millisecond, func() bool { return false })
			for i := range uint32(90) {
				id := 2*i + 1
				if room := 16<<10 + c.answer(id).credit - window[id]; room >= len(piece) {
					if err := c.framer.WriteData(id, false, piece); err != nil {
						return fmt.Errorf("%w: %s", err, c)
					}
					window[id] += len(piece)
					sent += len(piece)
				}
			}
		}
		// The proxy's buffers are 90 × 16 KiB and the budget, the sockets of the virtual world hold 64 KiB each.
		if most := 90*(16<<10) + 1<<20 + 90*(64<<10+32<<10); sent > most {
			return fmt.Errorf("%d bytes were taken, at most %d may be", sent, most)
		}
		return c.alive(1001)
	})
}

// TestBeyondTheWindow: DATA that no window allows.
func TestBeyondTheWindow(t *testing.T) {
	attackInBulk(t, func(w *world, c *peer) error {
		c.head(1, false, post("/stuck")...)
		for range 200 {
			if c.framer.WriteData(1, false, make([]byte, 16<<10)) != nil {
				break
			}
		}
		a := c.answer(1)
		c.read(patience, func() bool { return a.reset })
		if !(a.reset && a.code == http2.ErrCodeFlowControl) && !c.saidGoAway(http2.ErrCodeFlowControl) {
			return fmt.Errorf("%s; %s", a, c)
		}
		return w.others()
	})
}
