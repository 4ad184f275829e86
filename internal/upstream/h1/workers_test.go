package h1

import (
	"errors"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// crew are workers that exist in name only: what is to run there is kept.
type crew struct {
	count int
	tasks map[int][]func()
}

func (c *crew) Count() int          { return c.count }
func (c *crew) Connect(int) bool    { return true }
func (c *crew) Disconnect(int)      {}
func (c *crew) Shed(int) bool       { return false }
func (c *crew) Run(i int, f func()) { c.tasks[i] = append(c.tasks[i], f) }

// as is a runtime whose tasks are a worker's.
type as struct {
	engine.Runtime
	worker int
	opened []*mute
	clock  time.Duration
}

func (a *as) Worker() int        { return a.worker }
func (a *as) Now() time.Duration { return a.clock }

func (a *as) Dial(*engine.Dial) (engine.Stream, error) {
	s := &mute{}
	a.opened = append(a.opened, s)
	return s, nil
}

// mute is a stream that is quiet, and knows whether it was closed.
type mute struct {
	engine.Stream
	closed bool
}

func (m *mute) Quiet() bool  { return true }
func (m *mute) Close() error { m.closed = true; return nil }

func team(s upstream.Settings, n int) (*Pool, *crew, []*as) {
	c := &crew{count: n, tasks: make(map[int][]func())}
	workers := make([]*as, n)
	for i := range workers {
		workers[i] = &as{worker: i, clock: time.Second}
	}
	s.IdleTimeout, s.ConnectTimeout = 4*time.Second, time.Second
	e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: address}})
	return NewPool(e, &s, c), c, workers
}

// use gets a connection and gives it back in good order.
func use(t *testing.T, p *Pool, rt *as) *Conn {
	t.Helper()
	c, err := p.Get(rt, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	c.finished, c.persist = true, true
	c.Done(true)
	return c
}

func TestWorkersShareNoConnection(t *testing.T) {
	p, _, w := team(upstream.Settings{MaxIdle: 10}, 3)
	a, b := use(t, p, w[0]), use(t, p, w[2])
	if a == b || p.Open() != 2 {
		t.Fatalf("one connection for two workers, %d open", p.Open())
	}
	if use(t, p, w[0]) != a || use(t, p, w[2]) != b {
		t.Error("a worker does not reuse its own connection")
	}
}

// A cap holds for all workers together. Idle connections of others give way, each by a task
// of its own worker; those in use do not.
func TestTheCapIsForAllWorkers(t *testing.T) {
	p, crew, w := team(upstream.Settings{Max: 2, MaxIdle: 10}, 3)
	use(t, p, w[0])
	use(t, p, w[1])
	held, err := p.Get(w[2], 0, false)
	if err != nil || p.Open() != 2 {
		t.Fatalf("%v, %d open", err, p.Open())
	}
	if len(crew.tasks[0]) != 1 || len(crew.tasks[1]) != 0 {
		t.Fatalf("who closes: %d and %d", len(crew.tasks[0]), len(crew.tasks[1]))
	}
	if w[0].opened[0].closed {
		t.Error("closed by a task of another worker")
	}
	crew.tasks[0][0]()
	if !w[0].opened[0].closed {
		t.Error("not closed")
	}
	if _, err := p.Get(w[2], 0, false); err != nil {
		t.Errorf("the other idle connection does not give way: %v", err)
	}
	if _, err := p.Get(w[0], 0, false); !errors.Is(err, upstream.ErrBusy) {
		t.Errorf("a third connection: %v", err)
	}
	held.Done(false)
	if _, err := p.Get(w[0], 0, false); err != nil {
		t.Errorf("after one was given back: %v", err)
	}
}

// What is closed for age, or because the endpoint left, is closed where it belongs.
func TestClosingIsEachWorkersOwn(t *testing.T) {
	p, crew, w := team(upstream.Settings{MaxIdle: 2}, 3)
	use(t, p, w[1])
	w[2].clock += 3 * time.Second
	use(t, p, w[2])
	p.Sweep(time.Second + 4*time.Second)
	if len(crew.tasks[1]) != 1 || len(crew.tasks[2]) != 0 || p.Open() != 1 {
		t.Fatalf("%v, %d open", crew.tasks, p.Open())
	}
	p.Close()
	for i, tasks := range crew.tasks {
		for _, f := range tasks {
			f()
		}
		if !w[i].opened[0].closed {
			t.Errorf("worker %d: not closed", i)
		}
	}
	if p.Open() != 0 || p.idle.Load() != 0 {
		t.Errorf("%d open, %d idle", p.Open(), p.idle.Load())
	}
}

func TestIdleIsBoundedForAllWorkers(t *testing.T) {
	p, _, w := team(upstream.Settings{MaxIdle: 2}, 4)
	for _, one := range w {
		use(t, p, one)
	}
	if p.idle.Load() != 2 || p.Open() != 2 {
		t.Errorf("%d idle, %d open", p.idle.Load(), p.Open())
	}
}

// An endpoint that says how long it keeps a connection is believed when that is less than
// ours.
func TestKeepAliveTimeout(t *testing.T) {
	for field, want := range map[string]time.Duration{
		"timeout=3":          2 * time.Second,
		"timeout=1":          500 * time.Millisecond,
		"timeout=0":          1,
		"max=5, Timeout = 2": time.Second,
		"timeout=60":         4 * time.Second,
		"timeout=-1":         4 * time.Second,
		"timeout=x, max=7":   4 * time.Second,
		"timeout":            4 * time.Second,
		"":                   4 * time.Second,
		"timeout=9999999999": 4 * time.Second,
	} {
		p, _, w := team(upstream.Settings{MaxIdle: 2}, 1)
		c := use(t, p, w[0])
		c.idleMost = promised([]message.Field{message.NewField("Keep-Alive", field)})
		if got := c.idleUntil(p.current.Load()) - c.idleSince; got != want {
			t.Errorf("Keep-Alive: %s: kept for %v, want %v", field, got, want)
		}
	}
}
