package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// A line of requests at a service, and what became of them, in the order in which that happened.
type requests struct {
	*stage
	mu   sync.Mutex
	said []string
	all  sync.WaitGroup
	by   time.Duration // instant at which they have to end; 0: an hour from now
}

func (r *requests) say(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, what)
}

// are wants that these things have happened, and forgets them.
func (r *requests) are(want string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.said, ", "); got != want {
		r.t.Fatalf("%q, want %q", got, want)
	}
	r.said = nil
}

// send begins a request as package exchange does, in a task of its own, and waits until it waits or
// is served. It takes as long as given.
func (r *requests) send(name string, p Priority, takes time.Duration) (w *Waiter) {
	r.all.Add(1)
	joined := make(chan *Waiter, 1)
	go func() {
		defer r.all.Done()
		e := r.Pick(&policy.Attempt{Rand: r.rt.Rand(), Now: r.rt.Now()})
		if e != policy.Wait && r.Begin(e, r.rt.Now()) {
			close(joined)
		} else {
			w := r.Join(r.rt, p)
			joined <- w
			if w == nil {
				r.Refuse()
				r.say(name + " full")
				return
			}
			if e = r.await(w, name); e == nil {
				return
			}
		}
		r.say(name)
		time.Sleep(takes)
		r.end(e)
	}()
	synctest.Wait()
	return <-joined
}

// await waits in the queue, and begins an attempt at the result; nil: it has found none.
func (r *requests) await(w *Waiter, name string) *endpoint.Endpoint {
	by := r.by
	if by == 0 {
		by = r.rt.Now() + time.Hour
	}
	for {
		e, end := r.Await(w, by, func() *endpoint.Endpoint {
			return r.PickQueued(&policy.Attempt{Rand: r.rt.Rand(), Now: r.rt.Now()})
		})
		if e == nil {
			r.Leave(w, end)
			r.say(name + " " + end.String())
			return nil
		}
		if r.Begin(e, r.rt.Now()) {
			r.Leave(w, QueueServed)
			return e
		}
	}
}

// onQueue runs f with a service of two endpoints, and wants an empty queue afterwards.
func onQueue(t *testing.T, o Overload, f func(r *requests)) {
	onStage(t, Settings{Overload: o}, func(st *stage) {
		st.Update(specs(a, b))
		r := &requests{stage: st}
		f(r)
		r.all.Wait()
		q := &st.queue
		if got := st.Queue(); got.Waiting != 0 || got.InFlight != 0 || got.Newest || q.calls != 0 || q.lines != [classes]line{} {
			t.Errorf("left behind: %+v, %d calls, %v", got, q.calls, q.lines)
		}
		if st.load.open.Load() != q.most.Load() || st.Crowded() {
			t.Error("the way of newcomers is shut")
		}
	})
}

// As long as nothing is refused, the requests are served in the order of arrival.
func TestTheQueueServesInOrder(t *testing.T) {
	onQueue(t, Overload{InFlight: 1, Queue: 9}, func(r *requests) {
		r.send("A", Normal, 100*time.Millisecond)
		for _, name := range []string{"B", "C", "D"} {
			r.send(name, Normal, 100*time.Millisecond)
		}
		r.are("A")
		time.Sleep(150 * time.Millisecond)
		r.are("B")
		time.Sleep(200 * time.Millisecond)
		r.are("C, D")
		if got := r.Queue(); got.Waiting != 0 || got.Ends[QueueServed] != 3 || got.Waited.Sum != 600*time.Millisecond || got.Waited.Count() != 3 {
			r.t.Errorf("%+v", got)
		}
	})
}

// A newcomer does not pass those that wait, even where there is a place.
func TestNewcomersQueueUp(t *testing.T) {
	onQueue(t, Overload{EndpointInFlight: 1, Queue: 9}, func(r *requests) {
		r.send("A", Normal, 100*time.Millisecond)
		r.send("B", Normal, 150*time.Millisecond)
		w := r.send("C", Normal, 500*time.Millisecond)
		if w == nil {
			r.t.Fatal("C does not wait")
		}
		r.waits()
		time.Sleep(200 * time.Millisecond)
		r.are("A, B, C")
		r.pick(b) // nothing waits any more
	})
}

// Once the queue has overflowed, the newest come first, until it is empty.
func TestTheNewestComeFirstInAFlood(t *testing.T) {
	onQueue(t, Overload{InFlight: 1, Queue: 2, QueueTimeout: 10 * time.Second}, func(r *requests) {
		r.send("A", Normal, 100*time.Millisecond)
		r.send("B", Normal, 100*time.Millisecond)
		r.send("C", Normal, 100*time.Millisecond)
		r.send("D", Normal, 100*time.Millisecond)
		r.are("A, D full")
		if !r.Queue().Newest {
			r.t.Error("no flood")
		}
		time.Sleep(150 * time.Millisecond)
		r.send("E", Normal, 100*time.Millisecond)
		r.are("C")
		time.Sleep(200 * time.Millisecond)
		r.are("E, B")
		time.Sleep(200 * time.Millisecond) // empty: calm again
		r.send("F", Normal, 100*time.Millisecond)
		r.send("G", Normal, 100*time.Millisecond)
		r.send("H", Normal, 100*time.Millisecond)
		time.Sleep(150 * time.Millisecond)
		r.are("F, G")
	})
}

// One that has waited for too long goes, and that is a flood as well.
func TestTheQueueHasATimeLimit(t *testing.T) {
	onQueue(t, Overload{InFlight: 1, Queue: 9, QueueTimeout: time.Second}, func(r *requests) {
		r.send("A", Normal, 1500*time.Millisecond)
		r.send("B", Normal, 100*time.Millisecond)
		time.Sleep(700 * time.Millisecond)
		r.send("C", Normal, 100*time.Millisecond)
		r.by = r.rt.Now() + 500*time.Millisecond // the limit of its route comes first
		r.send("D", Normal, 100*time.Millisecond)
		r.by = 0
		time.Sleep(400 * time.Millisecond)
		r.are("A, B timeout")
		r.send("E", Normal, 100*time.Millisecond)
		time.Sleep(450 * time.Millisecond)
		r.are("D timeout, E")
		time.Sleep(100 * time.Millisecond)
		r.are("C")
	})
}

// The priorities come in their order, and retries before all of them. When the queue is full, one
// that would be served last makes room.
func TestPrioritiesInTheQueue(t *testing.T) {
	onQueue(t, Overload{InFlight: 1, Queue: 4, QueueTimeout: 10 * time.Second}, func(r *requests) {
		r.send("A", Normal, 100*time.Millisecond)
		r.send("low 1", Low, 10*time.Millisecond)
		r.send("normal", Normal, 10*time.Millisecond)
		r.send("high", High, 10*time.Millisecond)
		r.send("low 2", Low, 10*time.Millisecond)
		r.are("A")
		r.send("low 3", Low, 10*time.Millisecond)
		r.are("low 3 full")
		r.send("retry", Again, 10*time.Millisecond) // in a flood the oldest of the low ones goes
		r.are("low 1 displaced")
		r.send("high 2", High, 10*time.Millisecond)
		r.are("low 2 displaced")
		r.send("low 4", Low, 10*time.Millisecond)
		r.are("low 4 full")
		time.Sleep(200 * time.Millisecond)
		r.are("retry, high 2, high, normal")
		want := [QueueEnds]uint64{QueueServed: 4, QueueFull: 2, QueueDisplaced: 2}
		if got := r.Queue().Ends; got != want {
			r.t.Errorf("%v", got)
		}
	})
}

// A client that leaves takes its request along, also when it was called: another one is served.
func TestClientsLeaveTheQueue(t *testing.T) {
	onQueue(t, Overload{InFlight: 1, Queue: 3, QueueTimeout: 10 * time.Second}, func(r *requests) {
		r.send("A", Normal, 100*time.Millisecond)
		first := r.send("B", Normal, 100*time.Millisecond)
		second := r.send("C", Normal, 100*time.Millisecond)
		r.send("D", Normal, 100*time.Millisecond)
		second.Interrupt(errors.New("gone"))
		r.are("A, C left")
		r.send("E", Normal, 100*time.Millisecond)
		if r.Queue().Waiting != 3 {
			r.t.Error("its place in the queue is not free")
		}
		time.Sleep(100*time.Millisecond - time.Nanosecond)
		first.gone.Store(true) // it leaves at the moment in which it is called
		time.Sleep(50 * time.Millisecond)
		r.are("B left, D")
	})
}

// What waits notices a limit that is raised, an endpoint that comes, and other settings.
func TestWhatMakesRoomForTheQueue(t *testing.T) {
	onQueue(t, Overload{EndpointInFlight: 1, Queue: 20, QueueTimeout: 10 * time.Second}, func(r *requests) {
		for i := range 14 {
			r.send(fmt.Sprint(i), Normal, time.Second)
		}
		r.are("0, 1")
		r.SetLimit(r.view.Load().usable[0], 3)
		r.are("2, 3")
		r.renew(a, b, c)
		r.are("4")
		r.Configure(r.with(Settings{Overload: Overload{EndpointInFlight: 3, Queue: 1}}))
		r.are("5, 6, 7, 8")
		r.Configure(r.with(Settings{}))
		r.are("9, 10, 11, 12, 13")
	})
}

// When all endpoints are gone, what waits does not wait any more.
func TestNothingIsWaitedForInVain(t *testing.T) {
	onQueue(t, Overload{EndpointInFlight: 1, Queue: 20, QueueTimeout: 10 * time.Second}, func(r *requests) {
		r.send("A", Normal, time.Second)
		r.send("B", Normal, time.Second)
		r.send("C", Normal, time.Second)
		r.send("D", Normal, time.Second)
		r.renew()
		r.are("A, B, C no-endpoint, D no-endpoint")
	})
}

// A retry passes a place on that it cannot use: the only endpoint that it has not tried is full.
func TestARetryPassesThePlaceOn(t *testing.T) {
	onQueue(t, Overload{EndpointInFlight: 1, Queue: 20, QueueTimeout: 10 * time.Second}, func(r *requests) {
		r.send("A", Normal, 100*time.Millisecond)
		r.send("B", Normal, 300*time.Millisecond)
		tried := r.view.Load().usable[0]
		r.all.Add(1)
		go func() {
			defer r.all.Done()
			w := r.Join(r.rt, Again)
			e, _ := r.Await(w, r.rt.Now()+time.Hour, func() *endpoint.Endpoint {
				at := policy.Attempt{}
				at.Tried.Add(tried)
				return r.PickQueued(&at)
			})
			r.begin(e)
			r.Leave(w, QueueServed)
			r.say("retry")
			r.end(e)
		}()
		synctest.Wait()
		r.send("C", Normal, 100*time.Millisecond)
		time.Sleep(150 * time.Millisecond)
		r.are("A, B, C")
		time.Sleep(200 * time.Millisecond)
		r.are("retry")
	})
}

// A policy that says "wait" is asked again, also if no attempt ends.
func TestThePolicyIsAskedAgain(t *testing.T) {
	p := &patient{}
	onStage(t, Settings{Policy: p, Custom: true, Overload: Overload{Queue: 5}}, func(st *stage) {
		st.Update(specs(a))
		p.until = st.rt.Now() + 300*time.Millisecond
		r := &requests{stage: st}
		r.send("A", Normal, 0)
		r.send("B", Normal, 0)
		time.Sleep(200 * time.Millisecond)
		r.are("")
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if slices.Sort(r.said); len(r.said) != 2 {
			t.Errorf("%q", r.said)
		}
		r.all.Wait()
	})
}

// patient has requests wait until an instant.
type patient struct {
	firstPicker
	until time.Duration
}

func (p *patient) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	p.firstPicker = usable
	return p
}

func (p *patient) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if a.Now < p.until {
		return policy.Wait
	}
	return p.firstPicker.Pick(a)
}

// Many tasks at once: bounds hold at every moment, none is forgotten in the queue, and all that can
// be done at once is. A forgotten one would wait for its hour.
func TestManyWaitAndNoneIsForgotten(t *testing.T) {
	o := Overload{InFlight: 5, EndpointInFlight: 2, Queue: 1000, QueueTimeout: time.Hour}
	onStage(t, Settings{Policy: policy.LeastTime(), Overload: o}, func(st *stage) {
		st.Update(specs(addresses(4)...))
		r := &requests{stage: st}
		began := st.rt.Now()
		for i := range 400 {
			r.all.Add(1)
			go func() {
				defer r.all.Done()
				r.one(i)
			}()
		}
		r.all.Wait()
		if took := st.rt.Now() - began; took > 90*time.Millisecond {
			t.Errorf("it took %v, and 400 requests of 1 ms, five at once, take 80 ms", took)
		}
		if got := st.Queue(); got.Waiting != 0 || got.InFlight != 0 || got.Ends[QueueServed] == 0 {
			t.Errorf("%+v", got)
		}
	})
}

// one is one of many requests: some leave.
func (r *requests) one(i int) {
	e := r.Pick(&policy.Attempt{Rand: r.rt.Rand(), Now: r.rt.Now()})
	if e == policy.Wait || !r.Begin(e, r.rt.Now()) {
		w := r.Join(r.rt, Priority(i%3))
		if i%20 == 7 {
			w.Interrupt(nil)
		}
		if e = r.await(w, ""); e == nil {
			return
		}
	}
	if e.InFlight() > 2 || r.load.n.Load() > 5 {
		r.t.Errorf("%d in flight at an endpoint, %d in all", e.InFlight(), r.load.n.Load())
	}
	time.Sleep(time.Millisecond)
	r.end(e)
}
