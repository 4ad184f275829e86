package simulate

// Reports as text for a terminal, and as JSON.

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// quantiles are the columns of tables.
var quantiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}

// Show writes a duration as people compare them: three digits, and one unit for all.
//
//	950 µs   0.95 ms        23.587 ms   23.6 ms        48.2 s   48200 ms
func Show(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 99.95:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 9.995:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// ratio is a over b, as in 1.07.
func ratio(a, b time.Duration) string {
	if a <= 0 || b <= 0 {
		return "-"
	}
	if x := float64(a) / float64(b); x < 99.995 {
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", float64(a)/float64(b))
}

// A column is one that comparisons have only if there is something to say.
type column struct {
	name string
	some func(r *Report) bool
	cell func(r *Report) string
}

// further are those columns.
var further = []column{
	{"goodput", func(r *Report) bool { return r.Errors() > 0 }, func(r *Report) string { return fmt.Sprintf("%.0f/s", r.Goodput()) }},
	{"waited", func(r *Report) bool { return r.Waited > 0 }, func(r *Report) string { return r.share(r.Waited) }},
	{"dropped", func(r *Report) bool { return r.Outcomes[Dropped] > 0 }, func(r *Report) string { return r.share(r.Outcomes[Dropped]) }},
	{"hedged", func(r *Report) bool { return r.Hedges > 0 }, func(r *Report) string { return r.share(r.Hedges) }},
}

// further are the columns that the comparison has besides.
func (c *Comparison) further() (some []column) {
	for _, one := range further {
		if slices.ContainsFunc(c.Reports, one.some) {
			some = append(some, one)
		}
	}
	return some
}

// share is n by the number of requests.
func (r *Report) share(n int) string { return percent(float64(n) / float64(max(r.Requests, 1))) }

// heads are the columns of the comparison.
func (c *Comparison) heads() []string {
	row := []string{"policy"}
	for _, q := range quantiles {
		row = append(row, q.name)
	}
	row = append(row, "max", "p99 to best", "errors", "attempts", "busiest")
	for _, one := range c.further() {
		row = append(row, one.name)
	}
	return row
}

// rows are those of a comparison, without the heads.
func (c *Comparison) rows() (rows [][]string) {
	best := c.best(0.99)
	if c.Logged != nil {
		row := []string{"as logged"}
		for _, q := range quantiles {
			row = append(row, Show(c.Logged.Quantile(q.q)))
		}
		row = append(row, Show(c.Logged.Max()))
		rows = append(rows, append(row, make([]string, len(c.heads())-len(row))...))
	}
	for _, r := range c.Reports {
		row := append([]string{c.label(r)}, r.latencies()...)
		row = append(row, ratio(r.Latency.Quantile(0.99), best))
		row = append(row, r.failures(), fmt.Sprintf("%.3f", r.PerRequest()), fmt.Sprintf("%.2f", r.Busiest()))
		for _, one := range c.further() {
			row = append(row, one.cell(r))
		}
		rows = append(rows, row)
	}
	return rows
}

// latencies are the cells of the quantiles and of the longest; dashes if nothing was served.
func (r *Report) latencies() (cells []string) {
	for _, q := range quantiles {
		cells = append(cells, Show(r.Latency.Quantile(q.q)))
	}
	cells = append(cells, Show(r.Latency.Max()))
	if r.Latency.N() == 0 {
		for i := range cells {
			cells[i] = "-"
		}
	}
	return cells
}

// label is the policy, marked if it is that of the configuration.
func (c *Comparison) label(r *Report) string {
	if r.Policy == c.Usual {
		return r.Policy + " *"
	}
	return r.Policy
}

// failures is the number of errors, and their share if there are any.
func (r *Report) failures() string {
	n := r.Errors()
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", n, r.share(n))
}

// percent writes a share so that a small one is not 0 %.
func percent(share float64) string {
	if share > 0 && share < 0.0995 {
		digits := int(math.Min(4, math.Ceil(-math.Log10(share*100))+1))
		return fmt.Sprintf("%.*f %%", max(1, digits), share*100)
	}
	if share < 1 && share >= 0.995 { // not all
		return fmt.Sprintf("%.1f %%", math.Floor(share*1000)/10)
	}
	return fmt.Sprintf("%.0f %%", share*100)
}

// WriteText writes the comparison as a table.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	title := c.Scenario.Name
	if c.Scenario.About != "" {
		title += ": " + c.Scenario.About
	}
	fmt.Fprintf(&b, "%s\n%s\n\n", title, c.Setup)
	writeTable(&b, c.heads(), c.rows())
	c.writeClasses(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// lossHeads and lossRows are the table of losses.
func lossHeads() []string {
	return []string{"dies", "load of the others", "p50", "p99", "p99.9", "errors", "attempts"}
}

func lossRows(losses []Loss) (rows [][]string) {
	for _, l := range losses {
		r := l.Report
		rows = append(rows, []string{
			l.What, fmt.Sprintf("%.0f %%", 100*l.Left), Show(r.Latency.Quantile(0.5)), Show(r.Latency.Quantile(0.99)),
			Show(r.Latency.Quantile(0.999)), r.failures(), fmt.Sprintf("%.3f", r.PerRequest()),
		})
	}
	return rows
}

// WriteLosses writes what happens if endpoints die, as a table.
func WriteLosses(w io.Writer, policy string, losses []Loss) error {
	var b strings.Builder
	fmt.Fprintf(&b, "if endpoints die after a third of the time, with %s\n\n", policy)
	writeTable(&b, lossHeads(), lossRows(losses))
	_, err := io.WriteString(w, b.String())
	return err
}

// writeTable writes columns of which the first is set left and the others right.
func writeTable(b *strings.Builder, heads []string, rows [][]string) {
	all := append([][]string{heads}, rows...)
	widths := make([]int, len(heads))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&line, "%-*s", widths[i], cell)
			} else {
				fmt.Fprintf(&line, "  %*s", widths[i], cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// A Row is a report as JSON has it; times are milliseconds.
type Row struct {
	Policy    string             `json:"policy"`
	Requests  int                `json:"requests"`
	Errors    int                `json:"errors"`
	No        map[string]int     `json:"errors_by_kind,omitempty"`
	Attempts  int                `json:"attempts"`
	Waited    int                `json:"waited,omitempty"`
	Hedges    int                `json:"hedges,omitempty"`
	HedgesWon int                `json:"hedges_won,omitempty"`
	Latency   map[string]float64 `json:"latency_ms"`
	Goodput   float64            `json:"goodput"`
	Busiest   float64            `json:"busiest"`
	Classes   []RowClass         `json:"priorities,omitempty"`
	Endpoints []RowEndpoint      `json:"endpoints"`
}

// A RowEndpoint is an endpoint of a Row.
type RowEndpoint struct {
	Endpoint string `json:"endpoint"`
	Zone     string `json:"zone,omitempty"`
	Attempts int    `json:"attempts"`
	Failures int    `json:"failures"`
}

// Rows are the reports of the comparison for JSON.
func (c *Comparison) Rows() (rows []Row) {
	for _, r := range c.Reports {
		rows = append(rows, r.Row())
	}
	return rows
}

// Row is the report for JSON.
func (r *Report) Row() Row {
	row := Row{Policy: r.Policy, Requests: r.Requests, Errors: r.Errors(), Attempts: r.Attempts, Waited: r.Waited, Hedges: r.Hedges, HedgesWon: r.HedgesWon, Goodput: round(r.Goodput()), Busiest: round(r.Busiest())}
	row.Latency, row.Classes = r.Latency.figures(), r.classes()
	for i, name := range outcomeNames {
		if n := r.Outcomes[i]; n > 0 && outcome(i) != Served {
			if row.No == nil {
				row.No = make(map[string]int)
			}
			row.No[name] = n
		}
	}
	for _, e := range r.Endpoints {
		row.Endpoints = append(row.Endpoints, RowEndpoint{e.Name, e.Zone, e.Attempts, e.Failures})
	}
	return row
}

// figures are those of a histogram for JSON.
func (h *Histogram) figures() map[string]float64 {
	out := map[string]float64{"mean": ms(h.Mean()), "max": ms(h.Max())}
	for _, q := range quantiles {
		out[q.name] = ms(h.Quantile(q.q))
	}
	return out
}

// outcomeNames are the words for outcomes.
var outcomeNames = [outcomes]string{"served", "no-endpoint", "failed", "timeout", "dropped"}

func ms(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

func round(x float64) float64 { return math.Round(x*1000) / 1000 }
