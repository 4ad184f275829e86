package h2

// Sequences of frames that are drawn at random, most of them in good order. Whatever comes, no task
// panics or is left behind, what the proxy sends are frames, and another client is served. With
// the tag invariants the ledger of flow control is checked, too:
//
//	go test -tags invariants -run '^$' -fuzz FuzzFrames -fuzztime 10m -fuzzminimizetime 1x ./test/h2

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/config"
)

// stepsMost bounds the bytes of one play, which would take too long otherwise.
const stepsMost = 3 * 150

func FuzzFrames(f *testing.F) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 7))
		b := make([]byte, 20+r.IntN(400))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Add([]byte("\x00\x00\x01\x00\x08\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		quick := func(c *config.Config) { c.Timeouts.Stall, c.Timeouts.Idle = 2*time.Second, 5*time.Second }
		pieces := 0
		if len(steps) > 0 && steps[0]%2 == 0 {
			pieces = 1000
		}
		steps = steps[:min(len(steps), stepsMost)]
		inWorldsOf(t, []int{pieces}, quick, func(w *world) error { return playFrames(w, steps) })
	})
}

// playFrames takes three bytes a step: what, on which stream, how much.
func playFrames(w *world, steps []byte) error {
	c, err := dial(w, false)
	if err != nil {
		return err
	}
	next := uint32(1)
	for len(steps) >= 3 && c.ended == nil {
		kind, on, n := steps[0], uint32(steps[1]), int(steps[2])
		steps = steps[3:]
		id := next - min(next-1, 2*(on%8)) // one of the last, or the next
		if c.step(kind, id, &next, n) != nil {
			break
		}
		if on >= 128 {
			c.read(time.Duration(n)*10*time.Millisecond, func() bool { return false })
		}
	}
	c.read(10*time.Millisecond, func() bool { return false })
	if c.ended != nil && strings.Contains(c.ended.Error(), "that is none") {
		return c.ended
	}
	for id, a := range c.answers {
		if a.over && strings.HasPrefix(string(a.content), "0123") && a.status == "200" && len(a.content) != 30_000 {
			return fmt.Errorf("stream %d has ended with %d bytes", id, len(a.content))
		}
	}
	c.wire.Close()
	w.Sleep(time.Minute)
	if n := w.proxy.Connections(); n != 0 {
		return fmt.Errorf("%d connections are left", n)
	}
	if now, _, _, _ := w.endpoint.counts(); now != 0 {
		return fmt.Errorf("%d requests are left at the endpoint", now)
	}
	return w.others()
}

var fuzzed = [...]string{"/fast", "/slow", "/echo", "/big/30000", "/never", "/early", "/cut", "/interim"}

// step sends one frame. next is the stream that a request opens.
func (c *peer) step(kind byte, id uint32, next *uint32, n int) error {
	path := fuzzed[n%len(fuzzed)]
	f := c.framer
	switch kind % 16 {
	case 0, 1:
		*next += 2
		return c.head(*next-2, true, get(path)...)
	case 2, 3:
		*next += 2
		return c.head(*next-2, false, post(path, "te", "trailers")...)
	case 4:
		*next += 2
		return c.head(*next-2, false, post("/echo", "content-length", fmt.Sprint(n*10))...)
	case 5, 6:
		return f.WriteData(id, n%5 == 0, make([]byte, n*10))
	case 7:
		return f.WriteDataPadded(id, n%3 == 0, make([]byte, n), make([]byte, n))
	case 8:
		return c.head(id, n%4 != 0, "check", "1")
	case 9:
		return f.WriteRSTStream(id, http2.ErrCode(n%14))
	case 10:
		return c.number(http2.FrameWindowUpdate, id*uint32(n%2), uint32(n)<<(n%24))
	case 11:
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(n) << (n % 24)})
	case 12:
		return f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(n * 40)}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<14 + uint32(n)})
	case 13:
		return f.WritePing(n%2 == 0, [8]byte{byte(n)})
	case 14:
		block := c.encode(get(path)...)
		*next += 2
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: *next - 2, BlockFragment: block[:n%len(block)], EndStream: n%2 == 0})
		return f.WriteContinuation(*next-2, n%9 != 0, block[n%len(block):])
	}
	return c.frame(http2.FrameType(n%12), http2.Flags(n), id, make([]byte, n%20)...)
}
