package record

import (
	"maps"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/poise-lb/poise/internal/reason"
)

// named are routes that lead to services of the same names.
func named(names ...string) (out []RouteName) {
	for _, n := range names {
		out = append(out, RouteName{Name: n, Service: n})
	}
	return out
}

// Exchanges of all workers are counted once each, whatever their status.
func TestCellsOfManyWorkers(t *testing.T) {
	const loops = 3
	routes := NewRoutes(1 + loops)
	cells := routes.Name(named("shop"), 0)[0]
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			var lane Lane
			slot := lane.Slot(i % (1 + loops))
			for _, status := range []int{0, 101, 200, 204, 302, 404, 503, 504, 999, -1} {
				c := cells.At(slot)
				c.Begin()
				c.End(&Trace{Status: status, BytesIn: 10, BytesOut: 100}, time.Millisecond)
			}
			routes.Unmatched().At(slot).Begin()
			routes.Unmatched().At(slot).End(&Trace{Status: 404, Reason: reason.NoRoute}, 0)
		})
	}
	group.Wait()
	want := Totals{Classes: [6]uint64{120, 40, 80, 40, 80, 80}, BytesIn: 4000, BytesOut: 40000}
	if got := routes.Totals(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s := routes.Sums()[0]
	if s.Begun != 400 || s.Ended() != 400 || s.Took.Count() != 360 || s.Took.Buckets[3] != 360 || s.Took.Sum != 360*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

// Statuses are counted exactly, and what is none as none.
func TestCodes(t *testing.T) {
	var c codes
	for status := -1; status <= 700; status++ {
		c.add(status)
	}
	seen := 0
	c.each(func(status int, n uint64) {
		seen++
		if want := uint64(1); status == 0 && n != 202 || status != 0 && (n != want || status < 100 || status > 599) {
			t.Errorf("status %d: %d", status, n)
		}
	})
	if seen != 501 {
		t.Errorf("%d statuses", seen)
	}
}

func TestRouteCellCountsRetriesAndReasons(t *testing.T) {
	cells := NewCells[RouteCell](1)
	c := cells.At(0)
	c.Begin()
	failed := Trace{Status: 502, Reason: reason.ConnectFailed}
	failed.Add(&Attempt{Reason: reason.ConnectFailed})
	failed.Add(&Attempt{Reason: reason.EndpointReset})
	failed.Add(&Attempt{Reason: reason.ConnectFailed})
	c.End(&failed, time.Second)
	c.NoRetry(NoTimeLeft)
	c.Begin()
	var s RouteSums
	s.add(cells)
	retried := map[string]uint64{reason.ConnectFailed: 1, reason.EndpointReset: 1}
	if !maps.Equal(s.Retried, retried) || s.NoRetry != [NoRetries]uint64{NoTimeLeft: 1} || s.Begun != 2 || s.Ended() != 1 || !maps.Equal(s.Failures, map[string]uint64{reason.ConnectFailed: 1}) {
		t.Errorf("%+v", s)
	}
}

func TestEndpointCell(t *testing.T) {
	cells := NewCells[EndpointCell](2)
	cells.At(8).Attempt(&Attempt{Status: 200}, time.Millisecond, false)
	cells.At(8).Attempt(&Attempt{Reason: reason.EndpointReset}, 0, true)
	cells.At(0).Attempt(&Attempt{Reason: reason.ClientGone}, 0, false)
	cells.At(8).Open()
	var classes [6]uint64
	var headed Durations
	var failures, want Reasons
	var opened, replaced uint64
	some := false
	cells.Each(func(c *EndpointCell) {
		c.AddClasses(&classes)
		c.AddHeaded(&headed)
		some = c.AddFailures(&failures) || some
		o, r := c.Connections()
		opened, replaced = opened+o, replaced+r
	})
	want[reason.Index(reason.EndpointReset)] = 1
	if classes != [6]uint64{2, 0, 1} || headed.Count() != 1 || failures != want || !some || opened != 1 || replaced != 0 {
		t.Error(classes, headed, failures, opened, replaced)
	}
}

// A route keeps its counters as long as a configuration names it, and for a while after;
// what a dropped one has counted stays in the totals.
func TestRoutesOutliveConfigurations(t *testing.T) {
	r := NewRoutes(1)
	count := func(c *Cells[RouteCell]) {
		c.At(0).Begin()
		c.At(0).End(&Trace{Status: 200}, 0)
	}
	first := r.Name(named("a", "b"), 0)
	count(first[0])
	count(first[1])
	second := r.Name(named("b", "c"), time.Second)
	if second[0] != first[1] {
		t.Error("b has other cells because it has another index")
	}
	if back := r.Name(named("a"), time.Minute); back[0] != first[0] {
		t.Error("a was taken back and has other cells")
	}
	second[0].At(0).Begin() // in flight: b must not be dropped
	r.Name(named("a"), time.Minute+routeKept)
	if names := r.Sums(); len(names) != 2 || names[0].Name != "a" || names[1].Name != "b" {
		t.Errorf("%+v", names)
	}
	second[0].At(0).End(&Trace{Status: 200}, 0)
	r.Name(named("a"), time.Minute+routeKept)
	if names := r.Sums(); len(names) != 1 {
		t.Errorf("b stays: %+v", names)
	}
	if got := r.Totals().Classes[2]; got != 3 {
		t.Errorf("%d exchanges in all, want 3", got)
	}
}

// Every duration is in the bucket that a search through all bounds finds.
func TestBuckets(t *testing.T) {
	values := []time.Duration{-1, 0, 1, time.Hour, 1 << 62}
	for _, b := range bounds {
		values = append(values, b-1, b, b+1)
	}
	for n := range 62 {
		values = append(values, 1<<n-1, 1<<n, 1<<n+1)
	}
	for _, v := range values {
		var d Histogram
		d.Add(v)
		want := 0
		for want < len(bounds) && v > bounds[want] {
			want++
		}
		if d.buckets[want].Load() != 1 {
			t.Errorf("%v is not in bucket %d", v, want)
		}
	}
}

// Cells share no cache line: the allocator places objects of these sizes on line bounds.
func TestCellsShareNoCacheLine(t *testing.T) {
	const line = 64
	if s := unsafe.Sizeof(RouteCell{}); s != 320 {
		t.Errorf("a RouteCell has %d bytes", s)
	}
	if s := unsafe.Sizeof(EndpointCell{}); s != 256 {
		t.Errorf("an EndpointCell has %d bytes", s)
	}
	cells, ends := NewCells[RouteCell](20), NewCells[EndpointCell](20)
	for i := range 20 {
		if at := uintptr(unsafe.Pointer(cells.At(i))); at%line != 0 {
			t.Errorf("a RouteCell lies at %x", at)
		}
		if at := uintptr(unsafe.Pointer(ends.At(i))); at%line != 0 {
			t.Errorf("an EndpointCell lies at %x", at)
		}
	}
}

func TestCellsDoNotAllocate(t *testing.T) {
	cells, ends := NewCells[RouteCell](2), NewCells[EndpointCell](2)
	var lane Lane
	trace := Trace{Status: 200, BytesOut: 100}
	n := testing.AllocsPerRun(100, func() {
		c := cells.At(lane.Slot(1))
		c.Begin()
		ends.At(lane.Slot(1)).Attempt(&Attempt{Status: 200}, time.Millisecond, false)
		c.End(&trace, time.Millisecond)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkCells is all that an exchange with one attempt counts.
func BenchmarkCells(b *testing.B) {
	cells, ends := NewCells[RouteCell](2), NewCells[EndpointCell](2)
	var lane Lane
	trace, attempt := Trace{Status: 200, BytesOut: 100}, Attempt{Status: 200}
	b.ReportAllocs()
	for b.Loop() {
		slot := lane.Slot(1)
		c := cells.At(slot)
		c.Begin()
		ends.At(slot).Attempt(&attempt, 300*time.Microsecond, false)
		c.End(&trace, 400*time.Microsecond)
	}
}
