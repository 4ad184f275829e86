package compile

import (
	"slices"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/exchange"
)

// Tracing makes what exchanges need for traces and ids. Spans and Seed are the running proxy's to
// fill in. needed: the configuration asks for it, whether spans are made or not.
func Tracing(c *config.Config) (made *exchange.Tracing, needed bool) {
	t := &c.Tracing
	share, _ := t.Share() // valid
	return &exchange.Tracing{
		RequestID: []byte(c.RequestID.Field),
		Accept: map[string]exchange.Accept{
			"trusted": exchange.AcceptTrusted, "always": exchange.AcceptAlways, "never": exchange.AcceptNever,
		}[c.RequestID.Accept],
		B3:      slices.Contains(t.Propagation, "b3"),
		B3Multi: slices.Contains(t.Propagation, "b3multi"),
		Below:   uint64((1 - share) * (1 << 56)),
	}, t.On() || c.RequestID.Field != ""
}
