package demo

// The table on the terminal: drawn over itself where there is a terminal, line by line where
// there is none.

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Row is what the table says about one endpoint.
type Row struct {
	Name     string
	State    string
	Attempts uint64 // since the start
	InFlight int64
	Latency  time.Duration // 0: not known yet
}

// A Table writes rows to a terminal, over those it wrote before.
type Table struct {
	Out    io.Writer
	Colour bool

	lines int      // written by the last Draw
	last  []uint64 // attempts of the last Draw
}

const barWidth = 20

// Draw replaces the table on the screen. Shares are those since the last Draw. notes are
// lines below the rows.
func (t *Table) Draw(rows []Row, notes ...string) {
	lines := append(t.render(rows), notes...)
	var b strings.Builder
	if t.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.lines)
	}
	for _, line := range lines {
		b.WriteString("\x1b[2K" + line + "\n")
	}
	b.WriteString("\x1b[J") // what a longer table left below
	t.lines = len(lines)
	io.WriteString(t.Out, b.String())
}

func (t *Table) render(rows []Row) []string {
	recent := make([]uint64, len(rows))
	total := uint64(0)
	if len(t.last) != len(rows) {
		t.last = make([]uint64, len(rows))
	}
	for i, r := range rows {
		recent[i] = r.Attempts - min(t.last[i], r.Attempts)
		t.last[i] = r.Attempts
		total += recent[i]
	}
	lines := []string{t.dim(fmt.Sprintf("  %-8s %-*s %6s %10s %9s  %s", "endpoint", barWidth, "share", "", "in flight", "latency", "state"))}
	for i, r := range rows {
		share := 0.0
		if total > 0 {
			share = float64(recent[i]) / float64(total)
		}
		latency := "-"
		if r.Latency > 0 {
			latency = fmt.Sprintf("%.1f ms", float64(r.Latency)/float64(time.Millisecond))
		}
		full := int(share*barWidth + 0.5)
		bar := strings.Repeat("█", full) + strings.Repeat("·", barWidth-full)
		lines = append(lines, fmt.Sprintf("  %-8s %s %4.0f %% %10d %9s  %s", r.Name, bar, 100*share, r.InFlight, latency, t.state(r.State)))
	}
	return lines
}

func (t *Table) dim(s string) string { return t.paint("2", s) }

// state is green where requests go and red where they do not; the word says it as well.
func (t *Table) state(s string) string {
	if s == "healthy" {
		return t.paint("32", s)
	}
	return t.paint("31", s)
}

func (t *Table) paint(code, s string) string {
	if !t.Colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
