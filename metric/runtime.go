package metric

// The families that every program in Go has under the same names, which boards and alerts for
// processes go by: those that client_golang's collectors have by default, as far as they are cheap
// and mean the same here. Their scope is Runtime. A program with a registry has them from
// collectors.NewGoCollector and NewProcessCollector, so the Collector of module metrics leaves
// them out.

func common(kind Kind, name, unit, help string, labels ...string) Family {
	return Family{Name: name, Help: help, Kind: kind, Unit: unit, Labels: labels, Scope: Runtime}
}

// The Go runtime, from package runtime/metrics.
var (
	GoInfo         = common(Gauge, "go_info", "", "1; the version of Go that the program was built with.", "version")
	GoGoroutines   = common(Gauge, "go_goroutines", "", "Goroutines.")
	GoThreads      = common(Gauge, "go_threads", "", "Threads of the operating system that the Go runtime has.")
	GoMaxProcs     = common(Gauge, "go_sched_gomaxprocs_threads", "", "GOMAXPROCS: threads that may run Go code at once.")
	GoCollections  = common(Counter, "go_gc_cycles_total_gc_cycles_total", "", "Garbage collections.")
	GoPercent      = common(Gauge, "go_gc_gogc_percent", "", "GOGC: by how much the heap grows until it is collected.")
	GoMemoryLimit  = common(Gauge, "go_gc_gomemlimit_bytes", "bytes", "GOMEMLIMIT; 2^63-1: there is none.")
	GoAllocated    = common(Counter, "go_memstats_alloc_bytes_total", "bytes", "Memory that was allocated on the heap, garbage included.")
	GoHeap         = common(Gauge, "go_memstats_heap_alloc_bytes", "bytes", "Objects on the heap, those included that are not collected yet.")
	GoHeapInUse    = common(Gauge, "go_memstats_heap_inuse_bytes", "bytes", "Spans of the heap that have objects.")
	GoHeapReleased = common(Gauge, "go_memstats_heap_released_bytes", "bytes", "Memory of the heap that was given back to the operating system.")
	GoHeapObjects  = common(Gauge, "go_memstats_heap_objects", "", "Number of objects on the heap.")
	GoHeapGoal     = common(Gauge, "go_memstats_next_gc_bytes", "bytes", "Size of the heap at which the next collection ends.")
	GoStacks       = common(Gauge, "go_memstats_stack_inuse_bytes", "bytes", "Stacks of goroutines.")
	GoMemory       = common(Gauge, "go_memstats_sys_bytes", "bytes", "Memory that the Go runtime has from the operating system.")
)

// The process, from /proc. Where there is none these are left out.
var (
	ProcessCPU      = common(Counter, "process_cpu_seconds_total", "seconds", "Processor time, in user and system mode.")
	ProcessFiles    = common(Gauge, "process_open_fds", "", "Open file descriptors.")
	ProcessFilesMax = common(Gauge, "process_max_fds", "", "File descriptors that may be open at once.")
	ProcessVirtual  = common(Gauge, "process_virtual_memory_bytes", "bytes", "Virtual memory.")
	ProcessResident = common(Gauge, "process_resident_memory_bytes", "bytes", "Resident memory.")
	ProcessStart    = common(Gauge, "process_start_time_seconds", "seconds", "When the process started, in seconds since 1970.")
)

// runtimeFamilies lists them in the order in which they are visited.
func runtimeFamilies() []*Family {
	return []*Family{
		&GoInfo, &GoGoroutines, &GoThreads, &GoMaxProcs, &GoCollections, &GoPercent, &GoMemoryLimit, &GoAllocated,
		&GoHeap, &GoHeapInUse, &GoHeapReleased, &GoHeapObjects, &GoHeapGoal, &GoStacks, &GoMemory,
		&ProcessCPU, &ProcessFiles, &ProcessFilesMax, &ProcessVirtual, &ProcessResident, &ProcessStart,
	}
}
