package core

import (
	"sync/atomic"

	"github.com/poise-lb/poise/internal/engine"
)

// Count and Run make the Proxy the upstream.Workers of its pools.
func (p *Proxy) Count() int {
	if p.opts.Workers == nil {
		return 1
	}
	return 1 + p.opts.Workers.Most()
}

// Run runs f as a task of worker i. The Proxy's own tasks may take their time: for them f runs at
// once.
func (p *Proxy) Run(i int, f func()) {
	if i == 0 {
		f()
		return
	}
	p.opts.Workers.Start(i, func(engine.Runtime) { f() })
}

// Rehome has endpoints probed by workers that have been started since. Any goroutine may
// call it.
func (p *Proxy) Rehome() {
	for _, s := range p.Services() {
		s.Rehome()
	}
}

// prober starts f, a prober, with the worker whose turn it is. Beside workers that are busy
// all the time a task of the Proxy's own would be late, and so would its verdicts.
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

// workerJoin waits, in a task of the Proxy's own, for one of a worker.
type workerJoin struct {
	ended engine.Signal
	over  atomic.Bool
}

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
