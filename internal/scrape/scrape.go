// Package scrape reads the metrics of a running proxy: it visits the families of package metric
// with the figures of core. Figures are summed up when they are asked for; between two scrapes
// nothing runs here.
//
//	cells of routes, by worker     ─┐
//	cells of endpoints, by worker  ─┼─► families, one after the other ─► Visitor
//	states, sources, reloads       ─┘
//
// A family is written as a whole, as the text formats want it. Of endpoints, which may be thousands,
// there is no snapshot: each figure is read when its line is written, so a scrape holds no lock for
// longer than the figures of one endpoint take, and makes nearly no garbage. Two families may be apart
// by what happens while a scrape is written.
package scrape

import (
	"slices"
	"strconv"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/yield"
	"github.com/poise-lb/poise/metric"
)

// Process are the figures that core does not have.
type Process struct {
	Started       time.Time     // of the runtime: when its clock was 0
	Now           time.Duration // on that clock
	Engine        string
	Version       string
	AccessLogLost uint64
	LogLost       uint64
	SpansSent     uint64
	SpansLost     uint64
	Certificates  []Certificate
	Workers       []Worker
}

// A Certificate is one in use.
type Certificate struct {
	Name string // the first name that it is for
	Ends time.Time
}

// A Worker is an event loop.
type Worker struct {
	Number  int
	Busy    time.Duration // since it began
	Lag     record.Durations
	Clients int // connections that it serves
}

// Collect visits every family that o asks for.
func Collect(p *core.Proxy, about *Process, v metric.Visitor, o metric.Options) {
	if o.Scopes == 0 {
		o.Scopes = metric.Everything
	}
	s := scrape{core: p, about: about, visitor: v, options: o, config: &p.Config().Metrics, turn: yield.Begin(turnLines)}
	defer s.turn.End()
	s.chosen = chosen(s.config)
	if o.Scopes&metric.Route != 0 {
		s.routes()
	}
	if o.Scopes&(metric.Service|metric.Endpoint) != 0 {
		s.load()
	}
	if o.Scopes&metric.Service != 0 {
		s.ofServices()
	}
	if o.Scopes&metric.Endpoint != 0 {
		s.ofEndpoints()
	}
	if o.Scopes&metric.Process != 0 {
		s.process()
	}
	if o.Scopes&metric.Runtime != 0 {
		s.runtime()
	}
}

// A scrape is one visit.
type scrape struct {
	core    *core.Proxy
	about   *Process
	visitor metric.Visitor
	options metric.Options
	config  *config.Metrics

	chosen   buckets
	services []serviceFigures
	labels   [3]string // room for the labels of one series
	since    time.Duration
	wall     time.Time // of since: most series count from the same instant as those before
	turn     *yield.Turn
}

// value visits one series.
func (s *scrape) value(v float64, since time.Duration, labels ...string) {
	n := copy(s.labels[:], labels)
	s.visitor.Value(s.labels[:n], v, s.at(since))
	s.turn.Did(1)
}

// turnLines is how many lines a scrape writes, or endpoints it looks at, in a turn of a fraction of a
// millisecond. A scrape of thousands of endpoints takes milliseconds; event loops and connections on its
// processor run between its turns.
const turnLines = 256

// at is the wall-clock time of an instant.
func (s *scrape) at(since time.Duration) time.Time {
	if since != s.since || s.wall.IsZero() {
		s.since, s.wall = since, s.about.Started.Add(since)
	}
	return s.wall
}

// wanted reports whether the series of a service were asked for.
func (s *scrape) wanted(name string) bool {
	return len(s.options.Services) == 0 || slices.Contains(s.options.Services, name)
}

// buckets are the bounds that are shown, of those that are counted.
type buckets struct {
	shown metric.Distribution // Counts is room for one series
	upTo  []int               // of each shown bucket but the last: the index of its last counted one
}

// chosen finds the buckets of a configuration.
func chosen(c *config.Metrics) (b buckets) {
	all := record.Bounds()
	for i, bound := range all {
		if slices.Contains(c.Buckets, bound) {
			b.shown.Bounds = append(b.shown.Bounds, bound.Seconds())
			b.upTo = append(b.upTo, i)
		}
	}
	b.shown.Counts = make([]uint64, len(b.upTo)+1)
	return b
}

// histogram visits one series.
func (s *scrape) histogram(d *record.Durations, since time.Duration, labels ...string) {
	b, i := &s.chosen, 0
	clear(b.shown.Counts)
	for k, n := range d.Buckets {
		for i < len(b.upTo) && k > b.upTo[i] {
			i++
		}
		b.shown.Counts[i] += n
	}
	b.shown.Sum = d.Sum.Seconds()
	n := copy(s.labels[:], labels)
	s.visitor.Histogram(s.labels[:n], &b.shown, s.at(since))
	s.turn.Did(len(b.shown.Counts))
}

// codeOf is the label of a status.
func codeOf(status int) string {
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(status)
}

// serviceFigures are what is known of one service.
type serviceFigures struct {
	*service.Service
	name   string
	kind   string               // of its source
	source service.SourceStatus // but for Held
	extra  service.ExtraStatus
	queue  service.QueueStatus
	all    []service.Reading
	shown  int              // endpoints of all that have series of their own
	states [len(states)]int // endpoints by state
	held   int              // endpoints whose removal is held
}

// load takes the snapshot of the services, and counts their endpoints by states.
func (s *scrape) load() {
	left, services := s.config.EndpointsMax, s.core.Services()
	s.services = make([]serviceFigures, 0, len(services))
	for _, svc := range services {
		if !s.wanted(svc.Name()) {
			continue
		}
		f := serviceFigures{Service: svc, name: svc.Name(), kind: SourceKind(s.core.Config(), svc.Name()), source: svc.Heard(), extra: svc.Extra(), queue: svc.Queue(), all: svc.Readings()}
		f.shown = min(len(f.all), left)
		left -= f.shown
		if s.options.Scopes&metric.Service != 0 {
			s.count(&f)
		}
		s.services = append(s.services, f)
	}
}

// count counts the endpoints of a service by states.
func (s *scrape) count(f *serviceFigures) {
	for i := range f.all {
		if f.all[i].Gone() {
			continue
		}
		word, held := f.Word(&f.all[i])
		f.states[slices.Index(states[:], word)]++
		if held {
			f.held++
		}
		s.turn.Did(1)
	}
}

// flag is the value of a gauge that is on or off.
func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
