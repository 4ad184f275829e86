package scrape

import (
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/poise-lb/poise/metric"
)

// What every program in Go is asked for: its runtime, by package runtime/metrics, and its process,
// by /proc. Reading them takes about 50 µs, and stops nothing.

// samples are what is read of the runtime, in the order of the constants below.
var samples = [...]string{
	goroutines: "/sched/goroutines:goroutines", threads: "/sched/threads/total:threads", maxProcs: "/sched/gomaxprocs:threads",
	collections: "/gc/cycles/total:gc-cycles", percent: "/gc/gogc:percent", memoryLimit: "/gc/gomemlimit:bytes",
	allocated: "/gc/heap/allocs:bytes", objectBytes: "/memory/classes/heap/objects:bytes", unused: "/memory/classes/heap/unused:bytes",
	released: "/memory/classes/heap/released:bytes", objects: "/gc/heap/objects:objects", goal: "/gc/heap/goal:bytes",
	stacks: "/memory/classes/heap/stacks:bytes", memory: "/memory/classes/total:bytes",
}

const (
	goroutines = iota
	threads
	maxProcs
	collections
	percent
	memoryLimit
	allocated
	objectBytes
	unused
	released
	objects
	goal
	stacks
	memory
)

// runtime visits the families of the Go runtime and of the process.
func (s *scrape) runtime() {
	var read [len(samples)]metrics.Sample
	for i, name := range samples {
		read[i].Name = name
	}
	metrics.Read(read[:])
	one := func(f *metric.Family, v float64) {
		s.visitor.Family(f)
		s.visitor.Value(nil, v, time.Time{}) // since the process started: that is a family of its own
	}
	sum := func(f *metric.Family, of ...int) {
		v := 0.0
		for _, i := range of {
			if read[i].Value.Kind() != metrics.KindUint64 {
				return // a version of Go that does not know it
			}
			v += float64(read[i].Value.Uint64())
		}
		one(f, v)
	}
	s.visitor.Family(&metric.GoInfo)
	s.visitor.Value([]string{runtime.Version()}, 1, time.Time{})
	sum(&metric.GoGoroutines, goroutines)
	sum(&metric.GoThreads, threads)
	sum(&metric.GoMaxProcs, maxProcs)
	sum(&metric.GoCollections, collections)
	sum(&metric.GoPercent, percent)
	sum(&metric.GoMemoryLimit, memoryLimit)
	sum(&metric.GoAllocated, allocated)
	sum(&metric.GoHeap, objectBytes)
	sum(&metric.GoHeapInUse, objectBytes, unused)
	sum(&metric.GoHeapReleased, released)
	sum(&metric.GoHeapObjects, objects)
	sum(&metric.GoHeapGoal, goal)
	sum(&metric.GoStacks, stacks)
	sum(&metric.GoMemory, memory)
	if h, ok := readHost(); ok {
		one(&metric.ProcessCPU, h.cpu.Seconds())
		one(&metric.ProcessFiles, float64(h.files))
		one(&metric.ProcessFilesMax, float64(h.filesMax))
		one(&metric.ProcessVirtual, float64(h.virtual))
		one(&metric.ProcessResident, float64(h.resident))
		one(&metric.ProcessStart, float64(h.started.UnixMilli())/1000)
	}
}

// host is what the operating system says of the process.
type host struct {
	cpu               time.Duration // in user and system mode
	virtual, resident uint64        // bytes
	files, filesMax   uint64        // descriptors
	started           time.Time
}
