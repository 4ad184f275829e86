package h2

// The rules of gRPC (internal/exchange/grpc.go) with HTTP/2 on both sides, in virtual time.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/config"
)

const always = 24 * time.Hour // for what has to come, whenever

// TestCallsPass: fields, messages and trailers of every shape arrive as they were sent.
func TestCallsPass(t *testing.T) {
	inCalls(t, []string{serverA}, nil, func(w *world, c *peer) error {
		answers := []func(*callee){
			unary,
			func(c *callee) { c.refuse("5") },
			func(c *callee) { c.drain(); c.head(); c.end("3") },
			func(c *callee) { c.drain(); c.head(); c.send(""); c.send("x"); c.end("0") },
		}
		s := w.listen(serverA, func(c *callee) { answers[(c.id-1)/2](c) })
		a := c.unary(1, patience, "grpc-timeout", "5S", "x-meta-bin", "AAE")
		if got, _, _ := cutMessage(a.content); got != "hello" || a.rpcStatus() != "0" || field(a.trailers, "x-own") != "a" || field(a.trailers, "grpc-message") != "of the server" {
			return fmt.Errorf("unary: %s, %v", a, a.trailers)
		}
		call := s.calls[0]
		for name, want := range map[string]string{":method": "POST", ":path": "/shop.Cart/Add", "te": "trailers", "content-type": "application/grpc", "grpc-timeout": "5S", "x-meta-bin": "AAE"} {
			if got := call.field(name); got != want {
				return fmt.Errorf("the server got %s: %q, want %q", name, got, want)
			}
		}
		if got := string(call.in); got != "" || !call.ended {
			return fmt.Errorf("the server has %q left", got)
		}
		if a := c.unary(3, patience); a.trailersOnly("5", "") != nil || field(a.fields, "grpc-message") != "of the server" {
			return fmt.Errorf("trailers-only: %w", a.trailersOnly("5", ""))
		}
		if a := c.unary(5, patience); a.status != "200" || len(a.content) != 0 || a.trailers == nil || a.rpcStatus() != "3" {
			return fmt.Errorf("head and trailers without a message: %s", a)
		}
		if a := c.unary(7, patience); string(a.content) != string(append(messageOf(""), messageOf("x")...)) || a.rpcStatus() != "0" {
			return fmt.Errorf("an empty message: %s", a)
		}
		return nil
	})
}

// TestMessagesPassAtOnce: both sides send one message and wait for the other's before they send
// more, one of them for an hour; then the client ends its side, and the server a minute later.
func TestMessagesPassAtOnce(t *testing.T) {
	inCalls(t, []string{serverA}, nil, func(w *world, c *peer) error {
		w.listen(serverA, func(c *callee) {
			c.head()
			for {
				text, ok := c.next()
				if !ok {
					break
				}
				c.send("re " + text)
			}
			w.Sleep(time.Minute + time.Second)
			c.end("0")
		})
		c.call(1)
		a := c.answer(1)
		if !c.read(time.Second, func() bool { return a.status == "200" }) {
			return fmt.Errorf("no head while the request goes on: %s", a)
		}
		for i := range 5 {
			before := w.Now()
			c.send(1, fmt.Sprint(i))
			if got := c.message(1, patience); got != fmt.Sprint("re ", i) || w.Now()-before > 100*time.Millisecond {
				return fmt.Errorf("message %d: %q after %v", i, got, w.Now()-before)
			}
			if i == 2 {
				w.Sleep(time.Hour)
			}
		}
		c.close(1)
		if a := c.ends(1, always); a.rpcStatus() != "0" {
			return fmt.Errorf("at its end: %s", a.rpcStatus())
		}
		return nil
	})
}

// TestServersMaySayNothing: without a limit of the route or the client a head may take any time, as
// servers send theirs with the first message, and so may messages.
func TestServersMaySayNothing(t *testing.T) {
	inCalls(t, []string{serverA}, nil, func(w *world, c *peer) error {
		w.listen(serverA, func(c *callee) {
			c.drain()
			w.Sleep(time.Hour)
			c.head()
			w.Sleep(time.Hour)
			c.send("late")
			c.end("0")
		})
		if a := c.unary(1, always); a.rpcStatus() != "0" {
			return fmt.Errorf("%s, %s", a, a.rpcStatus())
		}
		return nil
	})
}

// TestOwnErrorsOfCalls: what Poise answers by itself is trailers-only, with a status of gRPC.
func TestOwnErrorsOfCalls(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*config.Config)
		handle  func(*callee) // nil: nothing listens
		fields  []string
		status  string
		reason  string
		alsoRaw string // status of the same request without a content type
	}{
		"nothing listens":            {nil, nil, nil, "14", "connect-failed", "502"},
		"no route":                   {func(c *config.Config) { c.Routes[0].Match.Path = "/other" }, nil, nil, "12", "no-route", "404"},
		"another method":             {func(c *config.Config) { c.Routes[0].Match.Methods = []string{"GET"} }, nil, nil, "12", "method-not-allowed", "405"},
		"too much":                   {func(c *config.Config) { c.Limits.InFlight = 1 }, func(c *callee) { c.gone() }, nil, "14", "overloaded", "503"},
		"a reset":                    {nil, func(c *callee) { c.rst(http2.ErrCodeInternal) }, nil, "14", "endpoint-reset", "502"},
		"route's timeout":            {func(c *config.Config) { c.Routes[0].Timeout = time.Second }, func(c *callee) { c.gone() }, nil, "4", "endpoint-timeout", "504"},
		"no HTTP":                    {nil, func(c *callee) { c.headers(true, "a", "b") }, nil, "14", "bad-status-line", "502"},
		"dies, and the client waits": {nil, func(c *callee) { c.s.w.Sleep(time.Minute); c.rst(http2.ErrCodeInternal) }, nil, "14", "endpoint-reset", ""},
		"bad timeout":                {nil, unary, []string{"grpc-timeout", "soon"}, "13", "bad-grpc-timeout", ""},
		"two timeouts":               {nil, unary, []string{"grpc-timeout", "1S", "grpc-timeout", "2S"}, "13", "bad-grpc-timeout", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inCalls(t, []string{serverA}, func(cfg *config.Config) {
				s := cfg.Services["s"]
				s.Retry = config.Retry{SameAfter: -1}
				cfg.Services["s"] = s
				if test.change != nil {
					test.change(cfg)
				}
			}, func(w *world, c *peer) error {
				if test.handle != nil {
					w.listen(serverA, test.handle)
				}
				if test.reason == "overloaded" {
					c.call(1)
					c.read(time.Second, func() bool { return false })
				}
				if strings.Contains(name, "client waits") {
					c.call(3)
					c.send(3, "hi")
					return c.ends(3, always).trailersOnly(test.status, test.reason)
				}
				if err := c.unary(3, always, test.fields...).trailersOnly(test.status, test.reason); err != nil {
					return err
				}
				c.head(5, true, post("/shop.Cart/Add", "content-type", "application/grpc-web")...)
				if a := c.ends(5, always); test.alsoRaw != "" && (a.status != test.alsoRaw || field(a.fields, "grpc-status") != "") {
					return fmt.Errorf("a request that is not gRPC: %s, %v", a, a.fields)
				}
				return nil
			})
		})
	}
}

// TestStreamsThatBreak: behind its head a call ends with trailers that say what has happened.
func TestStreamsThatBreak(t *testing.T) {
	inCalls(t, []string{serverA}, nil, func(w *world, c *peer) error {
		broken := []func(*callee){
			func(c *callee) { c.rst(http2.ErrCodeInternal) },
			func(c *callee) { w.Sleep(time.Second); c.conn.stream.Close() },
		}
		w.listen(serverA, func(c *callee) {
			c.head()
			c.send("one")
			w.Sleep(time.Second)
			broken[(c.id-1)/2%2](c)
		})
		for i, reason := range []string{"endpoint-reset", "endpoint-closed"} {
			id := uint32(2*i + 1)
			c.call(id)
			if got := c.message(id, patience); got != "one" {
				return fmt.Errorf("message %q", got)
			}
			if a := c.ends(id, patience); a.rpcStatus() != "14" || field(a.trailers, "poise-reason") != reason {
				return fmt.Errorf("it ends with %s, %v", a.rpcStatus(), a.trailers)
			}
		}
		return nil
	})
}

// TestDeadlinesOfClients: grpc-timeout ends a call, before its head and behind it, and the server
// sees CANCEL.
func TestDeadlinesOfClients(t *testing.T) {
	for name, test := range map[string]struct {
		timeout string
		after   time.Duration
		handle  func(*callee)
		head    bool
		blamed  uint64
	}{
		"short":           {"50m", 50 * time.Millisecond, func(c *callee) { c.gone() }, false, 0},
		"long":            {"2S", 2 * time.Second, func(c *callee) { c.gone() }, false, 1},
		"behind the head": {"3S", 3 * time.Second, func(c *callee) { c.head(); c.send("one"); c.gone() }, true, 0},
		"longest":         {"99999999H", time.Hour, func(c *callee) { c.s.w.Sleep(time.Hour); c.refuse("4") }, false, 0},
		"none":            {"0S", 0, func(c *callee) { c.gone() }, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inCalls(t, []string{serverA}, nil, func(w *world, c *peer) error {
				s := w.listen(serverA, test.handle)
				began := w.Now()
				a := c.unary(3, always, "grpc-timeout", test.timeout)
				if took := w.Now() - began; a.rpcStatus() != "4" || took < test.after || took > test.after+100*time.Millisecond {
					return fmt.Errorf("after %v: %s, %v, %v", took, a.rpcStatus(), a.fields, a.trailers)
				}
				if name == "longest" {
					return nil
				}
				if reason := field(append(a.fields, a.trailers...), "poise-reason"); reason != "deadline-exceeded" || (a.trailers != nil) != test.head {
					return fmt.Errorf("reason %q, %v", reason, a.trailers)
				}
				w.Sleep(time.Second)
				if name == "none" {
					return nil // no server was asked
				}
				if len(s.calls) != 1 || !s.calls[0].reset || s.calls[0].code != http2.ErrCodeCancel {
					return fmt.Errorf("the server does not see CANCEL: %+v", s.calls)
				}
				if _, n := w.blamed(serverA); n != test.blamed {
					return fmt.Errorf("%d failures of the endpoint, want %d", n, test.blamed)
				}
				return nil
			})
		})
	}
}
