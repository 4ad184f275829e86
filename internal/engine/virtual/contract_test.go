package virtual

import (
	"fmt"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/enginetest"
)

// TestContract: the promises of the engine, in virtual time, over networks that differ.
func TestContract(t *testing.T) {
	for name, shape := range map[string]func(*World){
		"plain":   func(*World) {},
		"delayed": func(w *World) { w.Delay = time.Millisecond },
		"in pieces": func(w *World) {
			w.SegmentMax = 1000
			w.Preempt = 3
			w.Delay = 50 * time.Microsecond
		},
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				enginetest.Run(t, func(t *testing.T) *enginetest.Driver {
					w := New(seed)
					shape(w)
					return &enginetest.Driver{
						Runtime: w.Runtime(),
						Network: &contractNetwork{w: w},
						Holds:   8 * bufferBytesDefault,
						Play: func(f func()) {
							w.Go("case", f)
							if err := w.Run(); err != nil {
								t.Error(err)
							}
						},
					}
				})
			})
		}
	}
}

// contractNetwork is the world's network for the suite.
type contractNetwork struct {
	w      *World
	serial int
}

func (n *contractNetwork) Pair() (engine.Stream, enginetest.Peer, error) {
	a, b := n.w.Pipe()
	return a, b, nil
}

func (n *contractNetwork) next() engine.Dial {
	n.serial++
	return engine.Dial{Network: "tcp", Address: fmt.Sprintf("10.0.0.1:%d", n.serial)}
}

func (n *contractNetwork) Listening() (engine.Dial, func(), error) {
	where := n.next()
	l := n.w.Listen(where.Address)
	n.w.Daemon("listener", func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	})
	return where, l.Close, nil
}

func (n *contractNetwork) Refusing() (engine.Dial, error) { return n.next(), nil }

func (n *contractNetwork) Silent() (*engine.Dial, func(), error) {
	where := n.next()
	n.w.BlackHole(where.Address)
	return &where, func() {}, nil
}

func (n *contractNetwork) Shortage() (end func()) {
	n.w.Shortage = true
	return func() { n.w.Shortage = false }
}

func (n *contractNetwork) Resets() bool { return true }
