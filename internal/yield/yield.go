// Package yield is for goroutines with much to do in one piece, on a processor that event loops and
// connections wait for. runtime.Gosched is not enough: as long as there is a goroutine that can run,
// and there is, the one that yields, Go looks at the goroutines whose sockets have become ready only
// every 10 ms.
//
//	a scrape    writes │Gosched│ writes │Gosched│ writes ...      10 ms
//	the loop    its socket is ready, and nothing has looked       ...   runs
//
//	a scrape    writes │Now│        writes │Now│
//	the loop               │ runs │            │ runs │
//
// Now waits in Go's poller for a descriptor that is ready already. So the poller is asked, and what is
// found there runs as well.
package yield

import "runtime"

// A Turn is a goroutine's piece of work. Begin makes one; it belongs to that goroutine, which calls End.
type Turn struct {
	done, most int
	detour     detour
}

// Begin begins a turn that lasts for so much work, in a unit of the caller's.
func Begin(most int) *Turn { return &Turn{most: most} }

// Did notes work that was done. When it was enough for a turn, others run before Did returns.
func (t *Turn) Did(work int) {
	if t.done += work; t.done >= t.most {
		t.done = 0
		t.Now()
	}
}

// Now lets others run, those included that wait for sockets which are ready.
func (t *Turn) Now() {
	if !t.detour.pass() {
		runtime.Gosched()
	}
}

// End frees what the turns have used.
func (t *Turn) End() { t.detour.close() }
