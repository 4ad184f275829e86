package record

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/reason"
)

// Counters are kept in cells. A cell belongs to one identity (a route by its name, an
// endpoint by its ID) and to one worker, so that workers do not write the same cache lines.
// An exchange finds its cell by two pointers that it holds anyway, the compiled route or the
// member, and its slot:
//
//	route.Cells.At(slot)      *RouteCell      of this worker, made on first use
//	member.Cells.At(slot)     *EndpointCell   likewise
//
// It adds with atomic instructions that no other processor competes for, about 2 ns each,
// and readers sum the cells of all slots up when they want to know. There is no map lookup
// and no lock on the way, and no allocation but the first one of each cell.
//
// Example: two event loops (workers 1 and 2) and goroutines (worker 0). The first exchange
// of loop 2 on a route makes the cell in slot 9; goroutines use the slots 0 to 7.

// lanes is the number of slots that worker 0 has: its tasks are goroutines that run on many
// processors at once. Every other worker is one thread and has one slot.
const lanes = 8

// A Lane chooses the slot of what one task at a time uses again and again, as an Exchange.
// The zero value is ready.
type Lane struct{ plusOne uint8 }

var nextLane atomic.Uint32

// Slot is where a task of that worker counts. Of worker 0 it is always the same one for
// this Lane: objects that are pooled stay with a processor, most of the time.
func (l *Lane) Slot(worker int) int {
	if worker > 0 {
		return lanes - 1 + worker
	}
	if l.plusOne == 0 {
		l.plusOne = 1 + uint8(nextLane.Add(1)%lanes)
	}
	return int(l.plusOne - 1)
}

// Cells are the cells of one identity, one a slot. All methods may be called by any
// goroutine. The zero value has room for nothing: make one with NewCells.
type Cells[C any] struct {
	slots []atomic.Pointer[C]
}

// NewCells returns cells for so many workers, worker 0 included.
func NewCells[C any](workers int) *Cells[C] {
	return &Cells[C]{slots: make([]atomic.Pointer[C], lanes+workers-1)}
}

// At is the cell of a slot.
func (c *Cells[C]) At(slot int) *C {
	if one := c.slots[slot].Load(); one != nil {
		return one
	}
	one := new(C)
	if !c.slots[slot].CompareAndSwap(nil, one) {
		return c.slots[slot].Load() // another goroutine of worker 0 was first
	}
	return one
}

// Each calls f for the cells that exist.
func (c *Cells[C]) Each(f func(*C)) {
	for i := range c.slots {
		if one := c.slots[i].Load(); one != nil {
			f(one)
		}
	}
}

// A RouteCell counts the exchanges of one route on one slot. Its size is a multiple of a
// cache line, in a size class of the allocator, so that no other cell shares a line of it.
type RouteCell struct {
	begun    atomic.Uint64
	codes    codes
	bytesOut atomic.Uint64

	took     Histogram
	bytesIn  atomic.Uint64
	failures failures // of exchanges
	retried  failures // of attempts that were followed by another
	refused  atomic.Pointer[[NoRetries]atomic.Uint64]
	rpcs     atomic.Pointer[[grpc.Codes]atomic.Uint64] // calls of gRPC, by status; nil: there were none
	_        [4]uint64
}

// A NoRetry is why an attempt that failed was not followed by another.
type NoRetry uint8

const (
	NotRepeatable  NoRetry = iota // the request could be done twice, or its content was not kept
	AttemptsUsedUp                // the configuration allows no more
	NoTimeLeft                    // the deadline of the exchange
	NoOtherLeft                   // no endpoint is left that could do better
	OverBudget                    // the service has had as many extra attempts as it may have

	NoRetries = int(iota) // how many there are
)

// String is the value of the label cause.
func (n NoRetry) String() string {
	return [...]string{"not-repeatable", "attempts", "time", "no-endpoint", "budget"}[n]
}

// Begin counts an exchange that has found its route.
func (c *RouteCell) Begin() { c.begun.Add(1) }

// TakeBack takes back what Begin has counted: the exchange counts for another cell.
func (c *RouteCell) TakeBack() { c.begun.Add(^uint64(0)) }

// NoRetry counts an attempt that failed and was not followed by another.
func (c *RouteCell) NoRetry(why NoRetry) {
	counts := c.refused.Load()
	if counts == nil {
		counts = new([NoRetries]atomic.Uint64)
		if !c.refused.CompareAndSwap(nil, counts) {
			counts = c.refused.Load()
		}
	}
	counts[why].Add(1)
}

// End counts the end of an exchange that began; t is what it leaves behind. A response that
// was upgraded has no duration: a tunnel may last for days.
func (c *RouteCell) End(t *Trace, took time.Duration) {
	c.codes.add(t.Status)
	if t.Status != 101 {
		c.took.Add(took)
	}
	if t.BytesOut > 0 {
		c.bytesOut.Add(uint64(t.BytesOut))
	}
	if t.BytesIn > 0 {
		c.bytesIn.Add(uint64(t.BytesIn))
	}
	for i := range t.n - 1 {
		if why := t.Attempts()[i].Reason; why != "" && why != reason.Overtaken { // else it was hedged
			c.retried.add(why)
		}
	}
	if t.Reason != "" {
		c.failures.add(t.Reason)
	}
	if t.RPC != 0 {
		c.rpc(grpc.Minus(t.RPC))
	}
}

// rpc counts a call of gRPC that has ended.
func (c *RouteCell) rpc(code grpc.Code) {
	counts := c.rpcs.Load()
	if counts == nil {
		counts = new([grpc.Codes]atomic.Uint64)
		if !c.rpcs.CompareAndSwap(nil, counts) {
			counts = c.rpcs.Load()
		}
	}
	counts[code].Add(1)
}

// An EndpointCell counts the attempts at one endpoint on one slot. As to its size see
// RouteCell.
type EndpointCell struct {
	classes  [6]atomic.Uint64 // by the first digit of the status; 0: no response head came
	opened   atomic.Uint64
	replaced atomic.Uint64

	headed   Histogram
	failures failures
}

// Open counts a new connection that an attempt uses.
func (c *EndpointCell) Open() { c.opened.Add(1) }

// Replace counts a connection that had been idle, turned out to be dead and was replaced.
func (c *EndpointCell) Replace() { c.replaced.Add(1) }

// Attempt counts one attempt that has ended. headed is how long its response head took; 0:
// none came. failed: it was the endpoint's fault, by that reason.
func (c *EndpointCell) Attempt(a *Attempt, headed time.Duration, failed bool) {
	c.classes[class(a.Status)].Add(1)
	if headed > 0 {
		c.headed.Add(headed)
	}
	if failed {
		c.failures.add(a.Reason)
	}
}

// class is the index of a status in classes.
func class(status int) int {
	if c := status / 100; c > 0 && c < 6 {
		return c
	}
	return 0
}

// codes count statuses exactly. Most exchanges have one of few statuses, so each hundred of
// them has a page of its own, made by the first.
type codes struct {
	none  atomic.Uint64 // no response head was sent
	pages [5]atomic.Pointer[[100]atomic.Uint64]
}

func (c *codes) add(status int) {
	hundred := status/100 - 1
	if hundred < 0 || hundred >= len(c.pages) {
		c.none.Add(1)
		return
	}
	page := c.pages[hundred].Load()
	if page == nil {
		page = new([100]atomic.Uint64)
		if !c.pages[hundred].CompareAndSwap(nil, page) {
			page = c.pages[hundred].Load()
		}
	}
	page[status%100].Add(1)
}

// each calls f for every status that was counted, in order; 0: no response head.
func (c *codes) each(f func(status int, n uint64)) {
	if n := c.none.Load(); n > 0 {
		f(0, n)
	}
	for i := range c.pages {
		page := c.pages[i].Load()
		if page == nil {
			continue
		}
		for j := range page {
			if n := page[j].Load(); n > 0 {
				f((i+1)*100+j, n)
			}
		}
	}
}

// failures count reasons. Most cells never have one, so the counters are made by the first.
type failures struct {
	counts atomic.Pointer[[reason.Count + 1]atomic.Uint64]
}

func (f *failures) add(why string) {
	counts := f.counts.Load()
	if counts == nil {
		counts = new([reason.Count + 1]atomic.Uint64)
		if !f.counts.CompareAndSwap(nil, counts) {
			counts = f.counts.Load()
		}
	}
	counts[reason.Index(why)].Add(1)
}

func (f *failures) sum(into *map[string]uint64) {
	counts := f.counts.Load()
	if counts == nil {
		return
	}
	if *into == nil {
		*into = make(map[string]uint64)
	}
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			(*into)[reason.At(i)] += n
		}
	}
}
