package h2

// Frames of an endpoint that are drawn at random, most of them in good order, while several clients
// ask. Whatever comes, no task panics or is left behind, no client gets content of another's
// response, and when the endpoint behaves again the next request is answered:
//
//	go test -tags invariants -run '^$' -fuzz FuzzEndpoint -fuzztime 10m -fuzzminimizetime 1x ./test/h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

func FuzzEndpoint(f *testing.F) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 11))
		b := make([]byte, 20+r.IntN(400))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		w := &world{t: t, World: virtual.New(uint64(len(steps)))}
		if len(steps) > 0 && steps[0]%2 == 0 {
			w.SegmentMax = 1000
		}
		e := &erratic{world: w, steps: steps[:min(len(steps), stepsMost)]}
		cfg := configuration("h2c://10.0.0.1:80")
		quick(&cfg)
		cfg.Timeouts.Stall = 2 * time.Second
		w.play(uint64(len(steps)), cfg, func(s engine.Stream) { e.serve(s) }, func(w *world) error { return e.ask() })
	})
}

// An erratic is an endpoint that takes three bytes a step: what, on which stream, how much.
type erratic struct {
	world *world
	steps []byte // those that are left; without any it behaves
}

// askers is how many clients ask at once; each has a letter, of which its responses are made.
const askers = 6

func (e *erratic) ask() error {
	w, left := e.world, askers
	var wrong error
	for i := range askers {
		w.Go("client", func() {
			defer func() { left-- }()
			for range 3 {
				method, content := "GET", -1
				if i%2 == 1 {
					method, content = "POST", 1+i*i*i*1000
				}
				letter := string(rune('a' + i)) // frames of any kind carry NUL
				r := asks(w, method, "/"+letter, content, 10*time.Minute)
				if r.status == "200" && strings.Trim(r.body, letter+"\x00") != "" && r.body != "fine" {
					wrong = fmt.Errorf("client %s has got %.80q", letter, r.body)
				}
			}
		})
	}
	for left > 0 {
		w.Sleep(time.Second)
	}
	e.steps = nil
	if r := asks(w, "GET", "/next", 0, time.Minute); wrong == nil && (r.status != "200" || r.body != "fine") {
		wrong = fmt.Errorf("the next request: status %s %s, %q, %v", r.status, r.fields.Get("Poise-Reason"), r.body, r.err)
	}
	return wrong
}

// serve serves one connection.
func (e *erratic) serve(s wire) {
	defer s.Close()
	h := newPeer(e.world, s)
	h.server = true
	if h.skipPreface() != nil {
		return
	}
	h.framer.WriteSettings()
	for h.read(time.Hour, func() bool { return len(h.asks) > 0 }) {
		id := h.asks[0]
		h.asks = h.asks[1:]
		if len(e.steps) < 3 {
			respond2(h, id, "fine")
			continue
		}
		for n := 1 + int(e.steps[0]%7); n > 0 && len(e.steps) >= 3; n-- {
			kind, on, much := e.steps[0], uint32(e.steps[1]), int(e.steps[2])
			e.steps = e.steps[3:]
			at := id
			if on%4 == 0 {
				at = max(id, 2*(on%8)+1) - 2*(on%8) // one of the last
			}
			if h.stepOfEndpoint(kind, at, much) != nil {
				return
			}
			if on >= 192 {
				h.read(time.Duration(much)*10*time.Millisecond, func() bool { return false })
			}
		}
	}
}

// content is n bytes of the letter of the client whose request the stream is.
func (c *peer) content(id uint32, n int) []byte {
	letter := strings.TrimPrefix(field(c.answer(id).fields, ":path"), "/")
	if len(letter) != 1 {
		letter = "?"
	}
	return bytes.Repeat([]byte(letter), n)
}

// stepOfEndpoint sends one frame, or more that belong together.
func (c *peer) stepOfEndpoint(kind byte, id uint32, n int) error {
	f := c.framer
	switch kind % 20 {
	case 0, 1, 2:
		return c.head(id, n%7 == 0, ":status", "200", "n", fmt.Sprint(n))
	case 3:
		c.head(id, false, ":status", "200", "content-length", fmt.Sprint(n*10))
		return f.WriteData(id, true, c.content(id, n*10))
	case 4:
		return c.head(id, false, ":status", "103", "link", "</a>")
	case 5, 6, 7:
		return f.WriteData(id, n%3 == 0, c.content(id, n*60))
	case 8:
		return f.WriteDataPadded(id, n%2 == 0, c.content(id, n), make([]byte, n))
	case 9:
		return c.head(id, n%4 != 0, "check", "1")
	case 10:
		return f.WriteRSTStream(id, http2.ErrCode(n%14))
	case 11:
		return c.number(http2.FrameWindowUpdate, id*uint32(n%2), uint32(n)<<(n%24))
	case 12:
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(n) << (n % 24)})
	case 13:
		return f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(n % 5)}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(n * 40)})
	case 14:
		return f.WritePing(n%2 == 0, [8]byte{byte(n)})
	case 15:
		return f.WriteGoAway(id-2*uint32(n%3), http2.ErrCode(n%14), nil)
	case 16:
		block := c.encode(":status", "200", "split", "yes")
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:n%len(block)], EndStream: n%2 == 0})
		return f.WriteContinuation(id, n%9 != 0, block[n%len(block):])
	case 17:
		respond2(c, id, string(c.content(id, n)))
		return nil
	case 18:
		if n%4 == 0 {
			return c.wire.Close()
		}
		return f.WriteSettingsAck()
	}
	return c.frame(http2.FrameType(n%12), http2.Flags(n), id, make([]byte, n%20)...)
}
