package exchange

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream/h1"
)

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

// compete has v's request answered by one, which is hedged at two at once. It returns the exchange.
func (st *stage) compete(rt engine.Runtime, v *visitor) *Exchange {
	x := new(Exchange)
	v.request(x, "GET", "/")
	st.hedged()
	*x.Client() = v.parts()
	x.Run(rt, st.table, &Peer{})
	return x
}

// hedged has the service of the stage hedge after a millisecond, without a bound, and retry nothing.
func (st *stage) hedged() {
	s := st.table.Routes[0].Service
	s.Hedge = &Hedge{After: time.Millisecond}
	st.table.Routes[0].Hedge = HedgeIdempotent
	s.Retry = Retry{Attempts: 1, Extra: extra.Limits{Share: -1, Hedges: math.Inf(1)}}
}

// reasons are those of the attempts of x; that of the winner comes last.
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
				if r := reasons(x); len(r) != 2 || r[0] != reason.Overtaken || r[1] != "" {
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
			if d := st.endpoint(slow).Latency(st.rt.Now()); d != 0 {
				t.Errorf("the loser's latency is %v", d)
			}
			end := map[string]service.HedgeEnd{one: service.HedgeLost, two: service.HedgeWon}[fast]
			if h := st.svc.Extra(); h.Hedges[end] != 1 || h.Taken != [2]uint64{0, 1} {
				t.Errorf("counted: %+v", h)
			}
			if open(st, fast) != 1 || open(st, slow) != 0 || loser.ended != 1 || loser.received.Len() == 0 {
				t.Errorf("open: %d and %d; the loser saw %d bytes, %d ends", open(st, fast), open(st, slow), loser.received.Len(), loser.ended)
			}
		}
	}
}

// An attempt that is overtaken before it has sent anything leaves its connection in order.
func TestWhatWasNotSentIsKept(t *testing.T) {
	st := newStage(t, 1)
	winner, loser := &site{delay: 10 * time.Millisecond, body: "fast"}, &site{body: "slow"}
	winner.listen(st, one)
	loser.listen(st, two)
	st.serve(one, two)
	v := &visitor{}
	st.run(func() {
		x := st.compete(slowDial{st.rt, two, 100 * time.Millisecond}, v)
		if r := reasons(x); r[0] != reason.Overtaken || r[1] != "" {
			t.Errorf("in the log: %q", r)
		}
		st.rt.Sleep(st.rt.Now() + time.Second)
	})
	st.settled(two, 1, 0)
	if v.body.String() != "fast" || open(st, two) != 1 || loser.accepted != 1 || loser.ended != 0 || loser.received.Len() != 0 {
		t.Errorf("%q; %d open, %d accepted, %d ended, %d bytes sent", v.body.String(), open(st, two), loser.accepted, loser.ended, loser.received.Len())
	}
}

// hinted is a client that takes its time to read an interim response, and remembers what it was sent.
type hinted struct {
	*visitor
	rt    engine.Runtime
	slow  time.Duration
	lines []string
	busy  bool // an interim response is being written
}

func (h *hinted) Interim(r *message.Response) error {
	link, _ := message.Get(r.Fields, "Link")
	h.lines, h.busy = append(h.lines, string(link)), true
	h.rt.Sleep(h.rt.Now() + h.slow)
	h.busy = false
	return nil
}

func (h *hinted) Head(r *message.Response) error {
	if h.busy {
		h.lines = append(h.lines, "within")
	}
	h.lines = append(h.lines, "head")
	return h.visitor.Head(r)
}

// The client gets the interim responses of the attempt that has one first, while that may win; and the
// final head waits until such a response is written.
func TestOneAttemptOfARaceIsHeard(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name          string
		first, second site
		slow          time.Duration
		want, body    string
	}{
		{"the hedge alone", site{delay: time.Hour, body: "a"}, site{hints: 9 * ms, delay: 90 * ms, body: "b"}, 0, "b head", "b"},
		{"the first alone", site{hints: 20 * ms, delay: time.Hour, body: "a"}, site{delay: 90 * ms, body: "b"}, 0, "a head", "b"},
		{"the first before", site{hints: 20 * ms, delay: time.Hour, body: "a"}, site{hints: 50 * ms, delay: 90 * ms, body: "b"}, 0, "a head", "b"},
		{"the hedge before", site{hints: 50 * ms, delay: 20 * ms, body: "a"}, site{hints: 20 * ms, delay: time.Hour, body: "b"}, 0, "b head", "a"},
		{"the first ends", site{hints: 20 * ms, delay: 20 * ms, breaks: true, body: "a"}, site{hints: 80 * ms, delay: 90 * ms, body: "b"}, 0, "a b head", "b"},
		{"the first fails", site{hints: 20 * ms, delay: 20 * ms, status: 503, body: "a"}, site{hints: 80 * ms, delay: 90 * ms, body: "b"}, 0, "a b head", "b"},
		{"the hedge ends", site{hints: 80 * ms, delay: 90 * ms, body: "a"}, site{hints: 20 * ms, delay: 20 * ms, breaks: true, body: "b"}, 0, "b a head", "a"},
		{"a slow client", site{delay: 50 * ms, body: "a"}, site{hints: 20 * ms, delay: time.Hour, body: "b"}, time.Second, "b head", "a"},
	} {
		for seed := range uint64(5) {
			st := newStage(t, seed)
			first, second := c.first, c.second
			first.listen(st, one)
			second.listen(st, two)
			st.serve(one, two)
			v := &hinted{visitor: &visitor{}, rt: st.rt, slow: c.slow}
			st.run(func() {
				x := new(Exchange)
				v.request(x, "GET", "/")
				st.hedged()
				*x.Client() = downstream.Client{RequestContent: v, ResponseWriter: v, Connection: v}
				x.Run(st.rt, st.table, &Peer{})
			})
			if got := strings.Join(v.lines, " "); got != c.want || v.body.String() != c.body {
				t.Errorf("%s: the client was sent %q and %q, want %q and %q", c.name, got, v.body.String(), c.want, c.body)
			}
		}
	}
}

// A hedge that gets no connection in 200 ms is given up, and its endpoint is not blamed.
func TestAHedgeConnectsSoonOrNotAtAll(t *testing.T) {
	st := newStage(t, 1)
	winner := &site{delay: 10 * time.Second, body: "ok"}
	winner.listen(st, one)
	st.w.BlackHole(two)
	st.serve(one, two)
	v := &visitor{}
	st.run(func() {
		x := st.compete(st.rt, v)
		if r := reasons(x); r[0] != reason.Overtaken || r[1] != "" {
			t.Errorf("in the log: %q", r)
		}
	})
	st.settled(two, 1, 0)
	if v.body.String() != "ok" {
		t.Errorf("status %d, %q", v.status, v.body.String())
	}
}

// An endpoint that fails while another one is asked is at fault, and does not end the race.
func TestWhoFailsFirstHasNotWon(t *testing.T) {
	for _, c := range []struct {
		first, hedge site
		status       int
		body         string
		reasons      [2]string
		end          service.HedgeEnd
	}{
		{site{delay: 1, breaks: true}, site{delay: 2, body: "ok"}, 200, "ok", [2]string{reason.EndpointClosed, ""}, service.HedgeWon},
		{site{delay: 2, body: "ok"}, site{delay: 1, breaks: true}, 200, "ok", [2]string{reason.EndpointClosed, ""}, service.HedgeLost},
		{site{delay: 1, status: 503}, site{delay: 2, body: "ok"}, 200, "ok", [2]string{reason.Status, ""}, service.HedgeWon},
		{site{delay: 2, body: "ok"}, site{delay: 1, status: 503}, 200, "ok", [2]string{reason.Status, ""}, service.HedgeLost},
		{site{delay: 2, status: 503, body: "a"}, site{delay: 1, status: 503, body: "b"}, 503, "a", [2]string{reason.Status, reason.Status}, service.HedgeLost},
		{site{delay: 1, status: 503, body: "a"}, site{delay: 2, status: 503, body: "b"}, 503, "b", [2]string{reason.Status, reason.Status}, service.HedgeWon},
		{site{delay: 1, status: 503, body: "a"}, site{delay: 2, breaks: true}, 503, "a", [2]string{reason.EndpointClosed, reason.Status}, service.HedgeLost},
		{site{delay: 2, breaks: true}, site{delay: 1, status: 503, body: "b"}, 503, "b", [2]string{reason.EndpointClosed, reason.Status}, service.HedgeWon},
		{site{delay: 2, breaks: true}, site{delay: 1, breaks: true}, 502, "", [2]string{reason.EndpointClosed, reason.EndpointClosed}, service.HedgeFailed},
		{site{delay: 1, breaks: true}, site{delay: 2, breaks: true}, 502, "", [2]string{reason.EndpointClosed, reason.EndpointClosed}, service.HedgeFailed},
		{site{delay: 1, status: 500, body: "a"}, site{delay: 2, body: "b"}, 500, "a", [2]string{reason.Overtaken, ""}, service.HedgeLost},
	} {
		st := newStage(t, 1)
		c.first.delay *= time.Second
		c.hedge.delay *= time.Second
		c.first.listen(st, one)
		c.hedge.listen(st, two)
		st.serve(one, two)
		v := &visitor{}
		st.run(func() {
			x := st.compete(st.rt, v)
			if r := reasons(x); len(r) != 2 || [2]string(r) != c.reasons || x.attempts != 2 {
				t.Errorf("%+v, %+v: in the log: %q, %d attempts", &c.first, &c.hedge, r, x.attempts)
			}
		})
		if v.status != c.status || v.status != 502 && v.body.String() != c.body || v.watched != nil || st.svc.Extra().Hedges[c.end] != 1 {
			t.Errorf("%+v, %+v: status %d, %q, still watched: %v, hedges %v", &c.first, &c.hedge, v.status, v.body.String(), v.watched != nil, st.svc.Extra().Hedges)
		}
		for _, s := range []*struct {
			at string
			site
		}{{one, c.first}, {two, c.hedge}} {
			failures := uint64(0)
			if s.breaks || s.status == 503 {
				failures = 1
			}
			st.settled(s.at, 1, failures)
		}
	}
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
						time.Sleep(rand.N(4 * time.Millisecond))
						fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				}()
			}
		}()
	}
	st := &stage{t: t, rt: rt}
	st.serve(addresses...)
	st.hedged()
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			x := new(Exchange)
			for range 100 {
				v := &visitor{}
				if i%2 == 0 {
					v.pieces = [][]byte{[]byte("some "), []byte("content")}
				}
				v.request(x, "PUT", "/")
				*x.Client() = v.parts()
				if x.Run(rt, st.table, &Peer{}); v.status != 200 || v.body.String() != "ok" {
					t.Errorf("status %d, %q", v.status, v.body.String())
				}
			}
		})
	}
	clients.Wait()
	for _, a := range addresses {
		e := st.endpoint(a)
		if s := e.Stats(rt.Now()); s.InFlight != 0 || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
		connections(e).(*h1.Pool).Close()
	}
	if h := st.svc.Extra(); h.Hedges[service.HedgeWon] == 0 || h.Hedges[service.HedgeLost] == 0 {
		t.Errorf("hedges: %v", h.Hedges)
	}
}
