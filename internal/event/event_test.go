package event

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine/goroutine"
)

// newBus returns a bus whose tasks are goroutines.
func newBus(t *testing.T) *Bus {
	rt := goroutine.New()
	t.Cleanup(rt.Close)
	return NewBus(rt)
}

// ledger is an observer that keeps what it gets.
type ledger struct {
	mu     sync.Mutex
	events []Event
	hold   chan struct{} // nil, or closed when Observe may go on
}

func (l *ledger) Observe(e Event) {
	if l.hold != nil {
		<-l.hold
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// missing counts the events that a ledger knows it has lost, and fails if any other
// event is missing, comes twice or out of order.
func (l *ledger) missing(t *testing.T, from, to uint64) (lost uint64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	next := from
	for _, e := range l.events {
		if gap, ok := e.Detail.(Lost); ok {
			lost += gap.Events
			next += gap.Events - 1
		}
		if e.Seq != next {
			t.Fatalf("event %d came where %d was due", e.Seq, next)
		}
		next++
	}
	if next != to+1 {
		t.Fatalf("the last event is %d, want %d", next-1, to)
	}
	return lost
}

func closeBus(t *testing.T, b *Bus) {
	t.Helper()
	if !b.Close(b.rt.Now() + time.Minute) {
		t.Error("an observer has not ended")
	}
}

// Several observers get every event once, in order, whatever task publishes.
func TestEveryObserverGetsEveryEventOnceInOrder(t *testing.T) {
	b := newBus(t)
	all := []*ledger{{}, {}, {}}
	for _, l := range all {
		b.Observe("ledger", l)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 1000 {
				b.Publish("web", RemovalTakenBack{i})
			}
		})
	}
	group.Wait()
	closeBus(t, b)
	for _, l := range all {
		if lost := l.missing(t, 1, 4000); lost != 0 {
			t.Errorf("%d lost", lost)
		}
		if !slices.IsSortedFunc(l.events, func(a, b Event) int { return int(a.At - b.At) }) {
			t.Error("the instants are out of order")
		}
	}
	if !slices.Equal(all[0].events, all[1].events) {
		t.Error("two observers have seen different events")
	}
	b.Publish("web", FaultEnded{})
	if len(all[0].events) != 4000 {
		t.Error("an event after Close")
	}
}

// One that hangs delays no other, and later gets the number of events it has missed.
func TestASlowObserverLosesTheOldestAndIsTold(t *testing.T) {
	b := newBus(t)
	b.max = 256
	slow, quick := &ledger{hold: make(chan struct{})}, &ledger{}
	b.Observe("slow", slow)
	b.Observe("quick", quick)
	const n = 5000
	for i := range uint64(n) {
		b.Publish("web", RemovalTakenBack{int(i)})
		for done := false; !done; { // the quick one keeps up
			quick.mu.Lock()
			done = uint64(len(quick.events)) > i
			quick.mu.Unlock()
			time.Sleep(0)
		}
	}
	close(slow.hold)
	closeBus(t, b)
	if lost := quick.missing(t, 1, n); lost != 0 {
		t.Errorf("the quick observer has lost %d", lost)
	}
	lost := slow.missing(t, 1, n)
	if lost < n-256-batchMax || lost > n-256 || b.Lost() != lost {
		t.Errorf("the slow observer has lost %d, the bus says %d", lost, b.Lost())
	}
}

// One that panics goes on, and the other observers learn of it the first time.
func TestAnObserverThatPanics(t *testing.T) {
	b := newBus(t)
	seen := 0
	b.Observe("bad", Func(func(Event) { seen++; panic("ouch") }))
	good := &ledger{}
	b.Observe("good", good)
	b.Publish("web", FaultEnded{})
	for told := false; !told; time.Sleep(time.Millisecond) { // no deadline: the test has one
		good.mu.Lock()
		told = len(good.events) == 2
		good.mu.Unlock()
	}
	closeBus(t, b)
	good.missing(t, 1, 2)
	failed, ok := good.events[1].Detail.(ObserverFailed)
	if !ok || failed.Observer != "bad" || failed.Value != "ouch" || !bytes.Contains(failed.Stack, []byte("TestAnObserverThatPanics")) {
		t.Errorf("%+v", good.events[1])
	}
	if seen != 2 {
		t.Errorf("it was told %d times, want 2", seen)
	}
}

// Close does not wait for one that hangs longer than it must, and an observer that wants no
// more is told nothing more.
func TestCloseAndStop(t *testing.T) {
	b := newBus(t)
	b.Publish("web", FaultEnded{}) // before there is an observer
	left, stopped := &ledger{hold: make(chan struct{})}, &ledger{}
	b.Observe("left", left)
	stop := b.Observe("stopped", stopped)
	stop()
	b.Publish("web", FaultEnded{})
	if b.Close(b.rt.Now() + 10*time.Millisecond) {
		t.Error("Close says that an observer has ended which hangs")
	}
	close(left.hold)
	b.Observe("late", left)
	stopped.mu.Lock()
	defer stopped.mu.Unlock()
	if len(stopped.events) != 0 {
		t.Errorf("told after stop: %v", stopped.events)
	}
}

// The ring is given back when a burst is over.
func TestTheRingShrinks(t *testing.T) {
	b := newBus(t)
	slow := &ledger{hold: make(chan struct{})}
	b.Observe("slow", slow)
	for range 10_000 {
		b.Publish("web", FaultEnded{})
	}
	if len(b.ring) < 8192 {
		t.Errorf("the ring has %d places", len(b.ring))
	}
	close(slow.hold)
	closeBus(t, b)
	if slow.missing(t, 1, 10_000) != 0 || len(b.ring) > eventsMin {
		t.Errorf("the ring has %d places after", len(b.ring))
	}
}

// Every kind that the log shows is one line, with the service first.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := Log(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	id := endpoint.ID{Scheme: "http", Address: "10.0.0.1:80"}
	for _, c := range []struct {
		service string
		detail  Detail
		want    string
	}{
		{"web", EndpointChanged{Endpoint: id, From: health.Healthy, To: health.Ejected, Cause: health.Attempts, Trigger: health.AttemptFailed},
			`level=WARN msg="endpoint ejected" service=web endpoint=http://10.0.0.1:80 from=healthy to=ejected why="attempts failed"`},
		{"web", SetChanged{Added: []endpoint.ID{id}, Members: 3}, `level=INFO msg="endpoints changed" service=web added=1 removed=0 members=3`},
		{"", Lost{Events: 7}, `level=WARN msg="events were not logged: too many at once" lost=7`},
		{"", ConnectionsFull{Open: 5, Limit: 5}, `connections=5 limit=5`},
		{"web", OverrideSet{endpoint.Override{Endpoint: id, Kind: endpoint.Weigh, Weight: 0.5, Who: "zhao", Why: "slow disk", Until: time.Minute}},
			`level=WARN msg="override: weight 0.5" service=web endpoint=http://10.0.0.1:80 who=zhao why="slow disk" for=1m0s`},
		{"web", OverrideEnded{Override: endpoint.Override{Endpoint: id, Kind: endpoint.Drain}, Reason: OverrideExpired},
			`level=INFO msg="override ended: drain" service=web endpoint=http://10.0.0.1:80 reason=expired who=""`},
		{"web", ProbeChanged{Endpoint: id}, ""},
		{"", ConfigApplied{}, ""},
	} {
		out.Reset()
		log.Observe(Event{Service: c.service, Detail: c.detail})
		if got := strings.TrimSpace(out.String()); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%T is logged as\n%s\nwant\n%s", c.detail, got, c.want)
		}
	}
}
