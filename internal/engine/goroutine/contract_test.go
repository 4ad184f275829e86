package goroutine

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
		if testing.Short() && network == "tcp6" {
			continue
		}
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
	rt := New()
	rt.Log = slog.New(slog.DiscardHandler) // tasks panic on purpose
	var adopt func(net.Conn) engine.Stream
	if accepted {
		adopt = rt.Stream
	}
	return &enginetest.Driver{
		Runtime: rt,
		Network: enginetest.Over(t, rt, network, adopt),
		Play:    func(f func()) { rt.Fork(f).Wait() },
		Close:   rt.Close,
		Foreign: true,
	}
}
