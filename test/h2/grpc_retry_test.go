package h2

// What of gRPC is repeated, whom it is blamed on, and when a route's timeout begins.

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/grpc"
)

// retryOn has a service retry by these words.
func retryOn(words ...string) func(*config.Config) {
	return func(cfg *config.Config) {
		s := cfg.Services["s"]
		s.Retry = config.Retry{On: words, SameAfter: -1}
		cfg.Services["s"] = s
	}
}

// listenBoth starts two servers; the call that comes first, to whichever of them, is handled by first,
// and all others by second. It returns the calls in their order.
func (w *world) listenBoth(first, second func(*callee)) (calls *[]*callee) {
	calls = new([]*callee)
	handle := func(c *callee) {
		if *calls = append(*calls, c); len(*calls) == 1 {
			first(c)
		} else {
			second(c)
		}
	}
	w.listen(serverA, handle)
	w.listen(serverB, handle)
	return calls
}

// TestUnavailableIsRepeated: only where the configuration asks for it, only that status, and only if
// nothing else has come.
func TestUnavailableIsRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		words  []string
		first  func(*callee)
		status string
		calls  int
	}{
		"asked for":        {[]string{"unavailable"}, func(c *callee) { c.drain(); c.refuse("14") }, "0", 2},
		"not asked for":    {[]string{"connect", "reset", "timeout", "502", "503", "504"}, func(c *callee) { c.drain(); c.refuse("14") }, "14", 1},
		"another status":   {[]string{"unavailable"}, func(c *callee) { c.drain(); c.refuse("13") }, "13", 1},
		"behind a head":    {[]string{"unavailable"}, func(c *callee) { c.drain(); c.head(); c.end("14") }, "14", 1},
		"behind a message": {[]string{"unavailable"}, func(c *callee) { c.drain(); c.head(); c.send("x"); c.end("14") }, "14", 1},
		"a head with it that goes on": {[]string{"unavailable"}, func(c *callee) {
			c.drain()
			c.headers(false, ":status", "200", "content-type", "application/grpc", "grpc-status", "14")
			c.send("x")
			c.end("0")
		}, "0", 1},
		"unprocessed": {[]string{"connect"}, func(c *callee) { c.drain(); c.rst(http2.ErrCodeRefusedStream) }, "0", 2},
		"a reset":     {[]string{"unavailable", "reset"}, func(c *callee) { c.drain(); c.rst(http2.ErrCodeInternal) }, "14", 1},
	} {
		t.Run(name, func(t *testing.T) {
			inCalls(t, []string{serverA, serverB}, retryOn(test.words...), func(w *world, c *peer) error {
				calls := w.listenBoth(test.first, func(c *callee) {
					if text, _ := c.next(); text != "hi" {
						c.refuse("3")
						return
					}
					unary(c)
				})
				if a := c.unary(1, patience); a.rpcStatus() != test.status || len(*calls) != test.calls {
					return fmt.Errorf("status %s, %d calls", a.rpcStatus(), len(*calls))
				}
				return nil
			})
		})
	}
}

// TestUnavailableIsBlamed: a server that answers so is ejected like one that answers 503, and no
// other status of gRPC has it ejected.
func TestUnavailableIsBlamed(t *testing.T) {
	for code := range grpc.Codes {
		for _, only := range []bool{true, false} {
			inCalls(t, []string{serverA, serverB}, retryOn("connect"), func(w *world, c *peer) error {
				w.listen(serverA, func(c *callee) {
					c.drain()
					if status := fmt.Sprint(int(code)); only {
						c.refuse(status)
					} else {
						c.head()
						c.end(status)
					}
				})
				w.listen(serverB, unary)
				for i := range 20 {
					c.unary(uint32(2*i+1), patience)
				}
				attempts, failures := w.blamed(serverA)
				if code == grpc.Unavailable && (failures != attempts || attempts > 8 || w.state(serverA) != health.Ejected) ||
					code != grpc.Unavailable && (failures > 0 || attempts != 10) {
					return fmt.Errorf("%v, only a head %v: %d of %d attempts failed, it is %v", code, only, failures, attempts, w.state(serverA))
				}
				return nil
			})
			if t.Failed() {
				return
			}
		}
	}
}

// state is that of the endpoint at address.
func (w *world) state(address string) health.State {
	for _, s := range w.proxy.Services() {
		for _, e := range s.Snapshot() {
			if e.Spec.ID.Address == address {
				return e.State
			}
		}
	}
	return health.State(255)
}

// TestAClientThatWaitsIsRepeated: the first server declines a call whose client waits for an answer
// before it sends more. The next server gets all of it, and nothing twice.
func TestAClientThatWaitsIsRepeated(t *testing.T) {
	for name, decline := range map[string]func(*callee){
		"refused":     func(c *callee) { c.next(); c.rst(http2.ErrCodeRefusedStream) },
		"unavailable": func(c *callee) { c.next(); c.refuse("14") },
	} {
		t.Run(name, func(t *testing.T) {
			inCalls(t, []string{serverA, serverB}, retryOn("connect", "unavailable"), func(w *world, c *peer) error {
				w.listenBoth(decline, func(c *callee) {
					c.head()
					for {
						text, ok := c.next()
						if !ok {
							break
						}
						c.send("re " + text)
					}
					c.end("0")
				})
				c.call(1)
				for _, text := range []string{"one", "two", "three"} {
					c.send(1, text)
					if got := c.message(1, time.Second); got != "re "+text {
						return fmt.Errorf("%q is answered with %q", text, got)
					}
					w.Sleep(2 * time.Minute) // longer than content may stall otherwise
				}
				c.close(1)
				if a := c.ends(1, patience); a.rpcStatus() != "0" {
					return fmt.Errorf("it ends with %s", a.rpcStatus())
				}
				return nil
			})
		})
	}
}

// TestTheRestOfADeadlineIsSent: an attempt that begins later has less time, and the server hears so.
func TestTheRestOfADeadlineIsSent(t *testing.T) {
	inCalls(t, []string{serverA, serverB}, retryOn("unavailable"), func(w *world, c *peer) error {
		calls := w.listenBoth(func(c *callee) { c.drain(); w.Sleep(300 * time.Millisecond); c.refuse("14") }, func(c *callee) { c.gone() })
		began := w.Now()
		a := c.unary(1, always, "grpc-timeout", "1S")
		if took := w.Now() - began; a.rpcStatus() != "4" || took > 1100*time.Millisecond {
			return fmt.Errorf("%s after %v", a.rpcStatus(), took)
		}
		if len(*calls) != 2 || (*calls)[0].field("grpc-timeout") != "1S" {
			return fmt.Errorf("%d calls, the first with %s", len(*calls), (*calls)[0].field("grpc-timeout"))
		}
		got, ok := grpc.ParseTimeout([]byte((*calls)[1].field("grpc-timeout")))
		if !ok || got > 700*time.Millisecond || got < 600*time.Millisecond {
			return fmt.Errorf("the second server is given %s", (*calls)[1].field("grpc-timeout"))
		}
		return nil
	})
}

// TestARoutesTimeoutBeginsAtTheEnd: a route's timeout bounds the time from the end of the request
// to the head, however long the request has taken, and however long the response takes.
func TestARoutesTimeoutBeginsAtTheEnd(t *testing.T) {
	whole := func(cfg *config.Config) { cfg.Routes[0].Timeout = 2 * time.Second }
	for name, test := range map[string]struct {
		think  time.Duration
		status string
		took   time.Duration // from the end of the request
	}{
		"in time": {time.Second, "0", 11 * time.Second},
		"late":    {3 * time.Second, "4", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inCalls(t, []string{serverA}, whole, func(w *world, c *peer) error {
				s := w.listen(serverA, func(c *callee) {
					c.drain()
					w.Sleep(test.think)
					c.head()
					for range 10 {
						c.send("x")
						w.Sleep(time.Second)
					}
					c.end("0")
				})
				c.call(1)
				for range 10 {
					c.send(1, "m")
					w.Sleep(time.Second)
				}
				c.close(1)
				ended := w.Now()
				a := c.ends(1, always)
				if took := w.Now() - ended; a.rpcStatus() != test.status || took < test.took || took > test.took+time.Second/10 {
					return fmt.Errorf("%s %v after the end of the request: %v", a.rpcStatus(), took, a.fields)
				}
				if w.Sleep(time.Second); test.status == "4" && !s.calls[0].reset {
					return fmt.Errorf("the server is not told")
				}
				return nil
			})
		})
	}
}

// TestAStallLimitOfARouteHolds: a route that says so bounds the silence of calls, too.
func TestAStallLimitOfARouteHolds(t *testing.T) {
	stall := func(cfg *config.Config) { cfg.Routes[0].Stall = 5 * time.Second }
	inCalls(t, []string{serverA}, stall, func(w *world, c *peer) error {
		w.listen(serverA, func(c *callee) { c.drain(); c.head(); c.send("one"); c.gone() })
		began := w.Now()
		a := c.unary(1, always)
		if took := w.Now() - began; a.rpcStatus() != "4" || field(a.trailers, "poise-reason") != "endpoint-timeout" || took > 6*time.Second {
			return fmt.Errorf("%s after %v, %v", a.rpcStatus(), took, a.trailers)
		}
		return nil
	})
}
