package fair

import (
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/engine/loop"
	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	loops       = 8
	connections = 1000
	shareMax    = 1.25
)

// workers are event loops as the library has them, and which serves which client.
type workers struct {
	engine *loop.Engine
	mu     sync.Mutex
	of     map[netip.AddrPort]int // the worker, by the client's address
}

func (w *workers) Most() int { return loops }

func (w *workers) Start(i int, f func(engine.Runtime)) bool {
	return w.engine.Start(i-1, func() { f(w.engine.Runtime(i - 1)) }) == nil
}

func (w *workers) note(client netip.AddrPort, worker int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[client] = worker - 1
}

// share is the connections of the loop that has most, as a multiple of its share.
func (w *workers) share(open []*client) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var n [loops]int
	for _, c := range open {
		n[w.of[c.from]]++
	}
	most := 0
	for _, one := range n {
		most = max(most, one)
	}
	return float64(most) * loops / float64(len(open))
}

// A client is a connection that has been answered once.
type client struct {
	*rig.Conn
	from netip.AddrPort
}

// TestEveryLoopHasItsShare: of a thousand connections that come and go no loop has more
// than a quarter above its share, also after all those of some loops have left.
func TestEveryLoopHasItsShare(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	e, err := loop.NewBeside(rt.Epoch(), loops, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := &workers{engine: e, of: make(map[netip.AddrPort]int)}
	proxy, err := core.New(rt, config.Config{
		Services: map[string]config.Service{"all": {Endpoints: []config.Endpoint{{URL: "http://" + listenOrigin(t)}}}},
		Routes:   []config.Route{{Service: "all"}},
	}, core.Options{Logger: slog.New(slog.DiscardHandler), Workers: w})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	defer proxy.Close()
	defer proxy.Hurry()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Serve(l, nil, func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		w.note(remote, rt.Worker())
		proxy.ServeStream(rt, s, core.Peer{Remote: remote})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()

	var open []*client
	defer func() { leave(open) }()
	for _, at := range []int{1, 8, 50} { // how many come at a time
		leave(open)
		open = come(t, l.Addr().String(), at, connections)
		if share := w.share(open); share > shareMax {
			t.Errorf("%d connections, %d at a time: a loop has %.2f times its share", connections, at, share)
		}
		for range 2 {
			open = depart(w, open)
			open = append(open, come(t, l.Addr().String(), at, connections-len(open))...)
			if share := w.share(open); share > shareMax {
				t.Errorf("%d connections, %d at a time, after some loops were empty: a loop has %.2f times its share", connections, at, share)
			}
		}
	}
}

// listenOrigin starts an endpoint that answers every request alike, until the test ends.
func listenOrigin(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				for readHead(c) == nil {
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// come has n clients connect, so many at a time, and be answered.
func come(t *testing.T, address string, at, n int) []*client {
	t.Helper()
	all := make([]*client, n)
	var next, failed atomic.Int64
	var group sync.WaitGroup
	for range at {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				c, err := net.DialTimeout("tcp", address, 15*time.Second)
				if err != nil {
					failed.Add(1)
					return
				}
				all[i] = &client{rig.NewConn(c), c.LocalAddr().(*net.TCPAddr).AddrPort()}
				if a, err := all[i].Do([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil || a.Status != 200 {
					failed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if failed.Load() > 0 {
		t.Fatalf("%d clients were not answered", failed.Load())
	}
	return all
}

// depart has all clients of some loops leave and returns the others.
func depart(w *workers, open []*client) (rest []*client) {
	var empty [loops]bool
	for range loops / 2 {
		empty[rand.IntN(loops)] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var gone []*client
	for _, c := range open {
		if empty[w.of[c.from]] {
			gone = append(gone, c)
		} else {
			rest = append(rest, c)
		}
	}
	leave(gone)
	return rest
}

func leave(all []*client) {
	for _, c := range all {
		c.Close()
	}
}
