package fair

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	neighbourRound  = 700 * time.Millisecond
	neighbourRounds = 3 // at least
	neighbourMost   = 10
	// What it is to find is a socket that no loop looks at for 10 ms, where an answer takes
	// less than one.
	neighbourGoal = 3
)

// TestNeighboursAreNotLate: what else a program serves, with net/http on goroutines, HTTP/2
// among it, is answered beside event loops that have something to do as it is beside
// goroutines. Else a program that embeds the proxy would pay for it.
func TestNeighboursAreNotLate(t *testing.T) {
	measuring(t)
	for _, load := range []struct {
		name  string
		conns int
		pause time.Duration
	}{{"a little", 4, 2 * time.Millisecond}, {"much", 32, 2 * time.Millisecond}, {"all that it can", 16, 0}} {
		t.Run(load.name, func(t *testing.T) {
			engines := []string{"loop", "goroutine"}
			var proxies, neighbours [2]string
			for i, engine := range engines {
				origin := rig.Address(t)
				proxies[i], neighbours[i] = rig.Address(t), rig.Address(t)
				begin(t, loadCore, "origin", origin).Listens(origin)
				begin(t, proxyCore, "host", engine, proxies[i], origin, neighbours[i]).Listens(neighbours[i])
			}
			var least [2]time.Duration
			for round := range neighbourMost {
				for i := range engines {
					p50 := besides(t, proxies[i], neighbours[i], load.conns, load.pause)
					if round == 0 || p50 < least[i] {
						least[i] = p50
					}
				}
				t.Logf("round %d: p50 of the neighbour is %v beside loops, %v beside goroutines", round, least[0], least[1])
				if round+1 >= neighbourRounds && least[0] <= neighbourGoal*least[1] {
					return
				}
			}
			t.Errorf("p50 of the neighbour is %v beside loops, %v beside goroutines: more than %v times as long", least[0], least[1], neighbourGoal)
		})
	}
}

// besides asks the neighbour every few milliseconds while the proxy is under load, and
// returns what half of the answers took at most.
func besides(t *testing.T, proxy, neighbour string, conns int, pause time.Duration) time.Duration {
	t.Helper()
	var over atomic.Bool
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	ask := func(address string, pause time.Duration, each func(time.Duration)) {
		c, err := rig.Dial(address)
		if err == nil {
			defer c.Close()
		}
		for err == nil && !over.Load() {
			began := time.Now()
			if _, err = c.Do([]byte("GET /load HTTP/1.1\r\nHost: x\r\n\r\n")); err == nil {
				each(time.Since(began))
				time.Sleep(pause)
			}
		}
		if err != nil {
			failed.Store(&err)
		}
	}
	for range conns {
		group.Go(func() { ask(proxy, pause, func(time.Duration) {}) })
	}
	var took []time.Duration
	group.Go(func() { ask(neighbour, 5*time.Millisecond, func(d time.Duration) { took = append(took, d) }) })
	time.Sleep(neighbourRound)
	over.Store(true)
	group.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	if len(took) == 0 {
		t.Fatal("the neighbour did not answer")
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// beHost is a program that embeds the proxy, on the engine that is named, at the first
// address, for what is at the second, and serves something itself at the third.
func beHost(args []string) error {
	l, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	p, err := poise.New(poise.Config{
		Engine:   args[0],
		Services: map[string]poise.Service{"load": {Endpoints: []poise.Endpoint{{URL: "http://" + args[2]}}}},
		Routes:   []poise.Route{{Service: "load"}},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- p.Serve(l) }()
	go func() {
		ended <- http.ListenAndServe(args[3], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello\n")
		}))
	}()
	return fmt.Errorf("it ended: %w", <-ended)
}
