package sched

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/engine"
)

// What tasks have goroutines do for them: Do for what blocks, Compute for what takes a
// processor. The task waits, and a message of the goroutine wakes it.

// A call is a Do or Compute under way, and the message that says that it has ended.
type call struct {
	loop  *Loop
	task  *Task
	cause any // of f's panic
	done  bool
}

// Receive implements Message.
func (c *call) Receive() {
	c.done = true
	c.loop.Wake(c.task)
}

// run is called on a goroutine.
func (c *call) run(f func()) {
	defer c.loop.Post(c)
	defer func() { c.cause = recover() }()
	f()
}

// await parks the calling task until the call has ended, and panics if it did.
func (c *call) await() {
	for !c.done {
		c.loop.Park()
	}
	if c.cause != nil {
		panic(c.cause)
	}
}

// Do runs f, which may block, on a goroutine, and waits for it.
func (l *Loop) Do(f func()) {
	c := &call{loop: l, task: l.caller()}
	l.group.side.Go(func() { c.run(f) })
	c.await()
}

// queueMost bounds the computations that wait for a goroutine. More would not be done in
// time for their handshakes: one goroutine signs with 2,048 bits of RSA 700 times a second.
const queueMost = 1024

// ErrBusy is the error of Compute when too many computations wait already.
var ErrBusy = fmt.Errorf("too many computations wait for a processor: %w", engine.ErrExhausted)

// Compute runs f, which computes for long, on one of few goroutines, and waits for it. It
// fails with ErrBusy, and does not run f, when too many wait already.
func (l *Loop) Compute(f func()) error {
	c := &call{loop: l, task: l.caller()}
	if !l.group.pool.give(&l.group.side, func() { c.run(f) }) {
		return ErrBusy
	}
	c.await()
	return nil
}

// A pool is a bounded number of goroutines that compute for loops, since the loops want the
// same processors. There are none when there is nothing to do.
type pool struct {
	most int // leaves half of the processors to the loops

	mu    sync.Mutex // held for a moment only
	queue []func()
	busy  int

	refused atomic.Uint64 // computations that found the queue full
}

// Computing is how many goroutines compute now, and how many may at once. It may be called
// from any goroutine.
func (g *Group) Computing() (now, most int) {
	p := &g.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy, p.most
}

// give reports whether f will run. group counts the goroutines.
func (p *pool) give(group *sync.WaitGroup, f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= queueMost {
		p.refused.Add(1)
		return false
	}
	p.queue = append(p.queue, f)
	if p.busy < p.most {
		p.busy++
		group.Go(p.work)
	}
	return true
}

// work ends when there is nothing more to do. Between two jobs the loops have a turn.
func (p *pool) work() {
	for f := p.next(); f != nil; f = p.next() {
		f()
		runtime.Gosched()
	}
}

func (p *pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.queue = nil
		p.busy--
		return nil
	}
	f := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return f
}
