package poise

import (
	"io"

	"github.com/poise-lb/poise/metric"
)

// Collect calls v for every family of metrics and its series, at this moment: see package metric
// and docs/metrics.md. Counters belong to the names of routes and to the identities of endpoints,
// so they outlive Apply. Any goroutine may call it, several at a time.
func (p *Proxy) Collect(v metric.Visitor, o metric.Options) { p.server.Collect(v, o) }

// WriteMetrics writes the metrics in the text format of Prometheus, or of OpenMetrics. It
// returns the first error of w.
func (p *Proxy) WriteMetrics(w io.Writer, openMetrics bool, o metric.Options) error {
	t := metric.NewText(w, openMetrics)
	p.Collect(t, o)
	return t.Close()
}
