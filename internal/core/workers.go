package core

// The workers of a Proxy, by number: 0 is its own runtime, 1 to Most are those of
// Options.Workers. On Linux with 2 event loops:
//
//	worker 0    goroutines: services, sources, Apply, mounted handlers, HTTP/2
//	worker 1    event loop: its connections, every second prober
//	worker 2    event loop: its connections, the other probers
//
// A connection, of a client or to an endpoint, is touched by tasks of its worker only. A task of
// another worker that wants to close one uses Run.

import (
	"sync/atomic"

	"github.com/poise-lb/poise/internal/engine"
)

// Count is the number of workers, the Proxy's own runtime included. Count and Run, with Connect,
// Disconnect and Shed, make the Proxy the upstream.Workers of its pools.
func (p *Proxy) Count() int {
	if p.opts.Workers == nil {
		return 1
	}
	return 1 + p.opts.Workers.Most()
}

// Run runs f as a task of worker i. For worker 0 it runs f at once, in the calling goroutine: tasks
// of the Proxy's own runtime may take their time. For others it does not wait, and f does not run
// if the worker has ended: its connections are closed then.
func (p *Proxy) Run(i int, f func()) {
	if i == 0 {
		f()
		return
	}
	p.opts.Workers.Start(i, func(engine.Runtime) { f() })
}

// Rehome moves probers to workers that have started since the probers did. Any goroutine may call
// it; it does not wait.
func (p *Proxy) Rehome() {
	for _, s := range p.Services() {
		s.Rehome()
	}
}

// prober starts f, a prober, as a task of the next worker in turn, or of the Proxy's own runtime if
// that worker does not run. It prefers workers because the Proxy's own tasks get little time
// beside busy event loops, so their verdicts would be late.
func (p *Proxy) prober(f func(rt engine.Runtime)) engine.Join {
	if w := p.opts.Workers; w != nil {
		j := &workerJoin{ended: p.rt.NewSignal()}
		i := 1 + int(p.placed.Add(1)%uint64(w.Most()))
		if w.Start(i, func(rt engine.Runtime) { j.run(rt, f) }) {
			return j
		}
	}
	return p.rt.Fork(func() { f(p.rt) })
}

// workerJoin is the engine.Join with which a task of the Proxy's own runtime waits for a task of a
// worker.
type workerJoin struct {
	ended engine.Signal
	over  atomic.Bool
}

// run is the worker's task. It ends the wait also if f panics.
func (j *workerJoin) run(rt engine.Runtime, f func(engine.Runtime)) {
	defer j.ended.Set()
	defer j.over.Store(true)
	f(rt)
}

// Wait implements engine.Join.
func (j *workerJoin) Wait() {
	for !j.over.Load() {
		j.ended.Wait(0)
	}
}
