// Package metrics is for programs that embed a proxy and have a Prometheus registry of their own:
// a Collector of its metrics. A program that has none needs only poise.Proxy.WriteMetrics, which
// is ten times as fast.
//
//	registry.MustRegister(metrics.NewCollector(proxy, metrics.Options{}))
package metrics

import (
	"math"
	"time"

	"github.com/poise-lb/poise/metric"
	"github.com/prometheus/client_golang/prometheus"
)

// A Source is a *poise.Proxy.
type Source interface {
	Collect(v metric.Visitor, o metric.Options)
}

// Options choose what a Collector collects. The zero value means everything but go_* and process_*,
// with classic histograms.
type Options struct {
	// Scopes 0 means all but metric.Runtime: most registries have go_* and process_* from
	// collectors.NewGoCollector and collectors.NewProcessCollector, and refuse a second one of a
	// name. A registry without these gets them by metric.Everything.
	metric.Options

	// Native has histograms exported as native ones, which Prometheus scrapes by protobuf. A
	// proxy counts in buckets with fixed bounds, so each of them becomes the native bucket of
	// its middle: quantiles are as exact as the bounds are, not more.
	Native bool
}

// A Collector is a prometheus.Collector of a proxy. Several goroutines may use it.
type Collector struct {
	source  Source
	options Options
	descs   map[string]*prometheus.Desc
}

// NewCollector returns a Collector of what source counts.
func NewCollector(source Source, o Options) *Collector {
	if o.Scopes == 0 {
		o.Scopes = metric.Everything &^ metric.Runtime
	}
	c := &Collector{source: source, options: o, descs: make(map[string]*prometheus.Desc)}
	for _, f := range metric.Families() {
		if f.Scope&o.Scopes == 0 {
			continue
		}
		c.descs[f.Name] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	c.source.Collect(&visitor{Collector: c, out: out}, c.options.Options)
}

// A visitor makes one prometheus.Metric of each series.
type visitor struct {
	*Collector
	out  chan<- prometheus.Metric
	kind metric.Kind
	desc *prometheus.Desc
}

// Family implements metric.Visitor.
func (v *visitor) Family(f *metric.Family) { v.kind, v.desc = f.Kind, v.descs[f.Name] }

// Value implements metric.Visitor.
func (v *visitor) Value(labels []string, x float64, created time.Time) {
	switch {
	case v.kind == metric.Counter && created.IsZero():
		v.send(prometheus.NewConstMetric(v.desc, prometheus.CounterValue, x, labels...))
	case v.kind == metric.Counter:
		v.send(prometheus.NewConstMetricWithCreatedTimestamp(v.desc, prometheus.CounterValue, x, created, labels...))
	default:
		v.send(prometheus.NewConstMetric(v.desc, prometheus.GaugeValue, x, labels...))
	}
}

// Histogram implements metric.Visitor.
func (v *visitor) Histogram(labels []string, d *metric.Distribution, created time.Time) {
	var n uint64
	if v.options.Native {
		buckets := make(map[int]int64, len(d.Counts))
		for i, count := range d.Counts {
			if n += count; count > 0 {
				buckets[native(d.Bounds, i)] += int64(count)
			}
		}
		v.send(prometheus.NewConstNativeHistogram(v.desc, n, d.Sum, buckets, nil, 0, schema, 0, created, labels...))
		return
	}
	buckets := make(map[float64]uint64, len(d.Bounds))
	for i, bound := range d.Bounds {
		n += d.Counts[i]
		buckets[bound] = n
	}
	n += d.Counts[len(d.Bounds)]
	v.send(prometheus.NewConstHistogramWithCreatedTimestamp(v.desc, n, d.Sum, buckets, created, labels...))
}

// send sends a metric, or the error in its place, which then shows at the scrape.
func (v *visitor) send(m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(v.desc, err)
	}
	v.out <- m
}

// schema is the resolution of native histograms: bounds grow by 2^(1/8), 9 percent.
const schema = 3

// native is the index of the native bucket that the middle of bucket i is in. Bucket k reaches up
// to 2^(k/8).
func native(bounds []float64, i int) int {
	var middle float64
	switch {
	case len(bounds) == 0:
		middle = 1
	case i == 0:
		middle = bounds[0] / 2
	case i == len(bounds):
		middle = bounds[i-1] * 1.5
	default:
		middle = math.Sqrt(bounds[i-1] * bounds[i])
	}
	return int(math.Ceil(math.Log2(middle) * (1 << schema)))
}
