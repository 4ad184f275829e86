package exchange

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/upstream/h1"
)

// race.go has no caller but these tests until hedging is built: they prove that an exchange
// carries two attempts side by side.

const one, two = "10.0.0.1:80", "10.0.0.2:80"

// slowDial is a runtime that takes its time to connect to one address.
type slowDial struct {
	engine.Runtime
	address string
	by      time.Duration
}

func (s slowDial) Dial(d *engine.Dial) (engine.Stream, error) {
	if d.Address == s.address {
		s.Sleep(s.Now() + s.by)
	}
	return s.Runtime.Dial(d)
}

// compete has v's request answered by a race between one and two. It returns the exchange.
func (st *stage) compete(rt engine.Runtime, v *visitor) *Exchange {
	x := new(Exchange)
	v.request(x, "GET", "/")
	*x.Client() = v.parts()
	x.begin(rt, st.table, &Peer{})
	if err := x.match(); err != nil {
		st.t.Fatal(err)
	}
	x.prepare()
	if !x.mayRace() {
		st.t.Error("a GET may not race")
	}
	if a := x.race(st.endpoint(one), st.endpoint(two)); a.fault != nil {
		x.fail(a.fault)
	}
	return x
}

// reasons are those of the attempts of x, in the order they were begun.
func reasons(x *Exchange) (r []string) {
	for _, a := range x.log.Attempts() {
		r = append(r, a.Reason)
	}
	return r
}

func open(st *stage, address string) int {
	return connections(st.endpoint(address)).(*h1.Pool).Open()
}

func TestTheFirstResponseWins(t *testing.T) {
	for seed := range uint64(20) {
		for _, fast := range []string{one, two} {
			st := newStage(t, seed)
			st.w.Delay = time.Millisecond
			slow := map[string]string{one: two, two: one}[fast]
			winner, loser := &site{delay: 100 * time.Millisecond, body: "fast"}, &site{delay: time.Hour, body: "slow"}
			winner.listen(st, fast)
			loser.listen(st, slow)
			st.serve(one, two)
			v := &visitor{}
			st.run(func() {
				x := st.compete(st.rt, v)
				if now := st.rt.Now(); now > 2*time.Second {
					t.Errorf("the race took until %v", now)
				}
				want := map[string]string{fast: "", slow: reason.Overtaken}
				if r := reasons(x); len(r) != 2 || r[0] != want[one] || r[1] != want[two] {
					t.Errorf("in the log: %q", r)
				}
				if x.attempts != 2 || v.watched != nil {
					t.Errorf("%d attempts; still watched: %v", x.attempts, v.watched != nil)
				}
				st.rt.Sleep(st.rt.Now() + 2*time.Hour)
			})
			if v.status != 200 || v.body.String() != "fast" || !v.ended {
				t.Errorf("status %d, %q", v.status, v.body.String())
			}
			st.settled(fast, 1, 0)
			st.settled(slow, 1, 0)
			if open(st, fast) != 1 || open(st, slow) != 0 || loser.ended != 1 || loser.received.Len() == 0 {
				t.Errorf("open: %d and %d; the loser saw %d bytes, %d ends", open(st, fast), open(st, slow), loser.received.Len(), loser.ended)
			}
		}
	}
}

// An attempt that is overtaken before it has sent anything leaves its connection in order.
func TestWhatWasNotSentIsKept(t *testing.T) {
	st := newStage(t, 1)
	winner, loser := &site{body: "fast"}, &site{body: "slow"}
	winner.listen(st, one)
	loser.listen(st, two)
	st.serve(one, two)
	v := &visitor{}
	st.run(func() {
		x := st.compete(slowDial{st.rt, two, time.Second}, v)
		if r := reasons(x); r[0] != "" || r[1] != reason.Overtaken {
			t.Errorf("in the log: %q", r)
		}
		st.rt.Sleep(st.rt.Now() + time.Second)
	})
	st.settled(two, 1, 0)
	if v.body.String() != "fast" || open(st, two) != 1 || loser.accepted != 1 || loser.ended != 0 || loser.received.Len() != 0 {
		t.Errorf("%q; %d open, %d accepted, %d ended, %d bytes sent", v.body.String(), open(st, two), loser.accepted, loser.ended, loser.received.Len())
	}
}

// An endpoint that fails while another one is asked is at fault, and does not end the race.
func TestWhoFailsFirstHasNotWon(t *testing.T) {
	st := newStage(t, 1)
	winner := &site{delay: time.Second, body: "ok"}
	winner.listen(st, two)
	st.serve(one, two) // nothing listens at one
	v := &visitor{}
	st.run(func() {
		x := st.compete(st.rt, v)
		if r := reasons(x); r[0] != reason.ConnectFailed || r[1] != "" || x.attempts != 1 {
			t.Errorf("in the log: %q, %d attempts", r, x.attempts)
		}
	})
	if v.status != 200 || v.body.String() != "ok" {
		t.Errorf("status %d, %q", v.status, v.body.String())
	}
	st.settled(one, 1, 1)
	st.settled(two, 1, 0)
}

func TestARaceThatNobodyWins(t *testing.T) {
	st := newStage(t, 1)
	st.serve(one, two)
	v := &visitor{}
	st.run(func() { st.compete(st.rt, v) })
	if v.status != 502 || v.reason != reason.ConnectFailed || v.watched != nil {
		t.Errorf("status %d, reason %s", v.status, v.reason)
	}
	st.settled(one, 1, 1)
	st.settled(two, 1, 1)
}

func TestTheClientLeavesARace(t *testing.T) {
	st := newStage(t, 1)
	a, b := &site{delay: time.Hour, body: "a"}, &site{delay: time.Hour, body: "b"}
	a.listen(st, one)
	b.listen(st, two)
	st.serve(one, two)
	v := &visitor{}
	st.run(func() {
		j := st.rt.Fork(func() {
			st.rt.Sleep(st.rt.Now() + time.Second)
			v.watched.Interrupt(engine.ErrClientGone)
		})
		x := st.compete(st.rt, v)
		j.Wait()
		if r := reasons(x); r[0] != reason.ClientGone || r[1] != reason.ClientGone {
			t.Errorf("in the log: %q", r)
		}
		st.rt.Sleep(st.rt.Now() + 2*time.Hour)
	})
	if v.status != 0 || !v.cut {
		t.Errorf("status %d, cut %v", v.status, v.cut)
	}
	st.settled(one, 1, 0)
	st.settled(two, 1, 0)
	if open(st, one)+open(st, two) != 0 {
		t.Errorf("open: %d and %d", open(st, one), open(st, two))
	}
}

// TestRacesWhereTasksAreGoroutines: the attempts run at once; with the race detector it
// shows that they touch nothing of each other.
func TestRacesWhereTasksAreGoroutines(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	addresses := make([]string, 2)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
		go func() { // ends when l is closed
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { // ends when the proxy closes the connection
					defer c.Close()
					buf := make([]byte, 4096)
					for {
						if _, err := c.Read(buf); err != nil {
							return
						}
						fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				}()
			}
		}()
	}
	st := &stage{t: t, rt: rt}
	st.serve(addresses...)
	a, b := st.endpoint(addresses[0]), st.endpoint(addresses[1])
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			x := new(Exchange)
			for range 100 {
				v := &visitor{}
				v.request(x, "GET", "/")
				*x.Client() = v.parts()
				x.begin(rt, st.table, &Peer{})
				if err := x.match(); err != nil {
					t.Error(err)
				}
				x.prepare()
				if x.race(a, b); v.status != 200 || v.body.String() != "ok" {
					t.Errorf("status %d, %q", v.status, v.body.String())
				}
			}
		})
	}
	clients.Wait()
	st.settled(addresses[0], 400, 0)
	st.settled(addresses[1], 400, 0)
	connections(a).(*h1.Pool).Close()
	connections(b).(*h1.Pool).Close()
}
