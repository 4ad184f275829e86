package nacos

import (
	"sync"
)

// A gate counts what runs, as a WaitGroup does, but may be entered while somebody waits.
type gate struct {
	mu   sync.Mutex
	none sync.Cond
	n    int
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.none.L = &g.mu
	g.n++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		g.none.Broadcast()
	}
}

func (g *gate) run(f func()) {
	g.enter()
	go func() {
		defer g.leave()
		f()
	}()
}

func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n > 0 {
		g.none.Wait()
	}
}
