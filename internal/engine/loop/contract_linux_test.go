package loop

import (
	"log/slog"
	"net"
	"testing"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/enginetest"
)

// TestContract: the promises of the engine, on every kind of connection.
func TestContract(t *testing.T) {
	for _, network := range []string{"tcp", "tcp6", "unix"} {
		for _, accepted := range []bool{false, true} {
			name := network + " dialed"
			if accepted {
				name = network + " accepted"
			}
			t.Run(name, func(t *testing.T) {
				if network == "tcp6" && !enginetest.HasIPv6() {
					t.Skip("no IPv6")
				}
				enginetest.Run(t, func(t *testing.T) *enginetest.Driver { return driver(t, network, accepted) })
			})
		}
	}
}

func driver(t *testing.T, network string, accepted bool) *enginetest.Driver {
	e, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	e.Logger = slog.New(slog.DiscardHandler) // tasks panic on purpose
	var adopt func(net.Conn) engine.Stream
	if accepted {
		adopt = func(c net.Conn) engine.Stream {
			s, err := e.Stream(1, c)
			if err != nil {
				panic(err)
			}
			return s
		}
	}
	return &enginetest.Driver{
		Runtime: e.Runtime(1),
		Network: enginetest.Over(t, e.Runtime(1), network, adopt),
		Play:    func(f func()) { play(t, e, 1, f) },
		Close:   e.Close,
		Foreign: true,
	}
}

// play runs f as a task of loop i and waits for it.
func play(t *testing.T, e *Engine, i int, f func()) {
	t.Helper()
	done := make(chan struct{})
	err := e.Start(i, func() {
		defer close(done)
		f()
	})
	if err != nil {
		t.Error(err)
		return
	}
	<-done
}
