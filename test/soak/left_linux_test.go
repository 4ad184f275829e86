package soak

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// A measure is what the process holds.
type measure struct {
	goroutines  int // without coroutines, and
	descriptors int // without pipes: event loops keep some of both for work to come
	coroutines  int
	pipes       int   // descriptors
	heap        int64 // live bytes
}

func (m *measure) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MiB of heap; kept: %d coroutines, %d ends of pipes",
		m.goroutines, m.descriptors, float64(m.heap)/(1<<20), m.coroutines, m.pipes)
}

// take measures. Two collections empty the pools.
func take() *measure {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m := &measure{heap: int64(stats.HeapAlloc), goroutines: runtime.NumGoroutine()}
	for _, g := range bytes.Split(stacks(), []byte("\n\n")) {
		if bytes.Contains(g, []byte("sched.(*Task).live")) && !bytes.Contains(g, []byte("sched.(*Task).work")) {
			m.coroutines++
		}
	}
	m.goroutines -= m.coroutines
	for _, kind := range descriptors() {
		if m.descriptors++; strings.HasPrefix(kind, "pipe:") {
			m.descriptors, m.pipes = m.descriptors-1, m.pipes+1
		}
	}
	return m
}

// descriptors are what the process has open.
func descriptors() (kinds []string) {
	const folder = "/proc/self/fd/"
	all, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, fd := range all {
		if kind, err := os.Readlink(folder + fd.Name()); err == nil { // else the folder itself
			kinds = append(kinds, kind)
		}
	}
	return kinds
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
	coroutinesMore  = 4 * clients
	pipesMore       = 2 * clients
)

// within reports whether m is what before was, nearly.
func (m *measure) within(before *measure) bool {
	return m.goroutines <= before.goroutines+goroutinesMore && m.descriptors <= before.descriptors+descriptorsMore &&
		m.heap <= before.heap+before.heap/10+heapMore && m.coroutines <= before.coroutines+coroutinesMore && m.pipes <= before.pipes+pipesMore
}

// settle waits until nothing is left of the load, compared with before (nil: whatever
// connections are still open), and says what is.
func (s *soak) settle(when string, before *measure) *measure {
	var now *measure
	for end := time.Now().Add(stall + 30*time.Second); ; time.Sleep(100 * time.Millisecond) {
		open := 0
		for _, e := range s.endpoints {
			open += e.open()
		}
		now = take()
		switch {
		case before == nil && open == 0:
		case before != nil && now.within(before):
		case time.Now().After(end):
			var all bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&all, 1)
			s.fail("%s: %v, and %d connections at endpoints, are left; before: %v\n%q\n%s", when, now, open, before, descriptors(), all.Bytes())
			return now
		default:
			continue
		}
		s.t.Logf("%s: %v", when, now)
		return now
	}
}
