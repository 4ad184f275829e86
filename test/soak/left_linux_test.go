package soak

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

// A measure is what the process holds.
type measure struct {
	goroutines  int // those that are kept for work to come are not counted
	kept        int
	descriptors int
	heap        int64 // live bytes
}

func (m *measure) String() string {
	return fmt.Sprintf("%d goroutines and %d kept, %d descriptors, %.1f MiB of heap", m.goroutines, m.kept, m.descriptors, float64(m.heap)/(1<<20))
}

// take measures. Two collections empty the pools.
func take() *measure {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m := &measure{heap: int64(stats.HeapAlloc), goroutines: runtime.NumGoroutine()}
	for _, g := range bytes.Split(stacks(), []byte("\n\n")) {
		// An event loop keeps coroutines without work.
		if bytes.Contains(g, []byte("loop.(*task).live")) && !bytes.Contains(g, []byte("loop.(*task).work")) {
			m.kept++
		}
	}
	m.goroutines -= m.kept
	if all, err := os.ReadDir("/proc/self/fd"); err == nil {
		m.descriptors = len(all)
	}
	return m
}

func stacks() []byte {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return buf[:n]
		}
	}
}

// What may be more than before: a socket the kernel hands over late, an array that grew.
const (
	goroutinesMore  = 4
	descriptorsMore = 4
	heapMore        = 2 << 20
)

// settle waits until nothing is left of the load, compared with before (nil: whatever
// connections are still open), and says what is.
func (s *soak) settle(when string, before *measure) *measure {
	var now *measure
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		open := 0
		for _, e := range s.endpoints {
			open += e.open()
		}
		now = take()
		switch {
		case before == nil && open == 0:
		case before != nil && now.goroutines <= before.goroutines+goroutinesMore && now.descriptors <= before.descriptors+descriptorsMore &&
			now.heap <= before.heap+before.heap/10+heapMore && now.kept <= before.kept+4*clients:
		case time.Now().After(end):
			var all bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&all, 1)
			s.fail("%s: %v, and %d connections at endpoints, are left; before: %v\n%s", when, now, open, before, all.Bytes())
			return now
		default:
			continue
		}
		s.t.Logf("%s: %v", when, now)
		return now
	}
}
