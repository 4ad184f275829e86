package exchange_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/message"
)

// A panic in an exchange is answered with 500, or ends a response that has begun; the log
// has its stack, and the counters have the exchange.

// client is the client's side of an exchange; what the test does not need panics.
type client struct {
	downstream.Client
	status int
	reason string
	began  bool // a response head was sent before the panic
	cut    bool
}

func (c *client) Protocol() string          { return "a test" }
func (c *client) Skip()                     {}
func (c *client) Sent() bool                { return c.began }
func (c *client) Cut()                      { c.cut = true }
func (c *client) Write([]byte) error        { return nil }
func (c *client) End([]message.Field) error { return nil }

func (c *client) Head(r *message.Response) error {
	c.status = r.Status
	reason, _ := message.Get(r.Fields, exchange.ReasonField)
	c.reason = string(reason)
	return nil
}

// runtime does at once what may wait elsewhere.
type runtime struct{ *goroutine.Runtime }

func (runtime) Do(f func()) { f() }

var _ engine.Runtime = runtime{}

func TestPanicInAnExchange(t *testing.T) {
	rt := runtime{goroutine.New()}
	defer rt.Close()
	for name, began := range map[string]bool{"before the response": false, "within the response": true} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			table := &exchange.Table{ // without a Tree: the search for a route panics
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}
			c := &client{began: began}
			var x exchange.Exchange
			x.Request.Method, x.Request.Path = []byte("GET"), []byte("/")
			*x.Client() = downstream.Client{RequestContent: c, ResponseWriter: c, Connection: c}
			x.Run(rt, table, &exchange.Peer{})
			switch {
			case began && (!c.cut || c.status != 0):
				t.Errorf("cut %v, status %d", c.cut, c.status)
			case !began && (c.status != 500 || c.reason != "internal-error" || c.cut):
				t.Errorf("status %d, reason %q, cut %v", c.status, c.reason, c.cut)
			}
			if s := log.String(); !strings.Contains(s, "panic in an exchange") || !strings.Contains(s, "match") {
				t.Errorf("the log has no panic with its stack: %s", s)
			}
		})
	}
}
