package live

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// A report gathers what is printed at the end.
type report struct {
	begun bool

	mu      sync.Mutex
	passed  []string
	failed  []string
	skipped [][2]string // name and reason
	rows    []row
	notes   []string
}

// count adds a load that is over.
func (x *row) count(l *load) {
	x.requests += l.total
	x.lost += l.lost
}

// A row is what was measured at one registry.
type row struct {
	name            string
	ours, official  []time.Duration // nil: there is none
	requests, lost  int             // through poise
	registered, all string          // 1,000 instances, and 200 services
}

func (r *report) end(name string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		r.passed = append(r.passed, name)
	} else {
		r.failed = append(r.failed, name)
	}
}

func (r *report) skip(name, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped = append(r.skipped, [2]string{name, reason})
}

// note adds a line: something that could not be judged.
func (r *report) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *report) add(x row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, x)
}

func (r *report) print(out io.Writer, took time.Duration) {
	r.table(out)
	for _, text := range r.notes {
		fmt.Fprintln(out, text)
	}
	for _, s := range r.skipped {
		fmt.Fprintf(out, "SKIP %s: %.300s\n", s[0], s[1])
	}
	for _, name := range r.failed {
		fmt.Fprintf(out, "FAIL %s\n", name)
	}
	fmt.Fprintf(out, "live: %d passed, ", len(r.passed))
	if len(r.failed) > 0 {
		fmt.Fprintf(out, "%d failed, ", len(r.failed))
	}
	fmt.Fprintf(out, "%d skipped (%.0f s)\n", len(r.skipped), took.Seconds())
}

// table prints what was measured, if anything was.
func (r *report) table(out io.Writer) {
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\nFrom a change in the registry to the proxy's next answer that shows it, in ms, beside its official client in the same run:\n\n")
	fmt.Fprintf(out, "%-10s %7s  %22s  %22s  %9s  %6s\n", "registry", "changes", "poise  p50   p99   max", "client p50   p99   max", "requests", "failed")
	for _, x := range r.rows {
		fmt.Fprintf(out, "%-10s %7d  %22s  %22s  %9d  %6d\n", x.name, len(x.ours), times(x.ours), times(x.official), x.requests, x.lost)
	}
	fmt.Fprintln(out)
	for _, x := range r.rows {
		fmt.Fprintf(out, "%-10s 1,000 instances: %s; 200 services: %s\n", x.name, x.registered, x.all)
	}
}

func times(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	return fmt.Sprintf("%4d  %4d  %4d", percentile(d, 50).Milliseconds(), percentile(d, 99).Milliseconds(), percentile(d, 100).Milliseconds())
}

// percentile is by the nearest rank: the 99th of fewer than a hundred is the largest.
func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[(len(s)*p+99)/100-1]
}
