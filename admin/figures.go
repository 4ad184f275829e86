package admin

// Figures are read as a scrape reads them, by a visitor, and kept as sums: by service, by route
// and by endpoint. The difference of two readings is what happened between them.

import (
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/metric"
)

// Sums are what was counted of a service, a route or an endpoint.
type Sums struct {
	Requests uint64 // that ended; of an endpoint: attempts
	Errors   uint64 // of status 5xx, or without a response head; of an endpoint: its failures
	InFlight int64
	Buckets  []uint64 // by figures.bounds, not cumulative
}

// figures are one reading.
type figures struct {
	at        time.Time
	bounds    []float64 // seconds
	services  map[string]*Sums
	routes    map[string]*Sums      // by name
	leads     map[string]string     // of a route: its service
	endpoints map[endpointKey]*Sums // only those of the services that were asked for
	// attempts are those of services that no route names, as discover finds them: requests are
	// counted by the entry of discover, for all of its services at once.
	attempts map[string]*Sums
}

// An endpointKey is a service and the label of its endpoint.
type endpointKey struct{ service, endpoint string }

// read reads the figures of all services and routes, and of the endpoints of some.
func read(p *poise.Proxy, of ...string) *figures {
	f := &figures{
		at: time.Now(), services: make(map[string]*Sums), routes: make(map[string]*Sums),
		leads: make(map[string]string), endpoints: make(map[endpointKey]*Sums),
	}
	p.Collect(&reader{figures: f}, metric.Options{Scopes: metric.Route})
	if len(of) > 0 {
		p.Collect(&reader{figures: f}, metric.Options{Scopes: metric.Endpoint, Services: of})
	}
	return f
}

// readAttempts reads the attempts of those of all services that no route names.
func (f *figures) readAttempts(p *poise.Proxy, all []poise.ServiceStatus) {
	f.attempts = make(map[string]*Sums)
	var names []string
	for i := range all {
		if name := all[i].Name; f.services[name] == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	part := &figures{bounds: f.bounds, endpoints: make(map[endpointKey]*Sums)}
	p.Collect(&reader{figures: part}, metric.Options{Scopes: metric.Endpoint, Services: names})
	if f.bounds == nil {
		f.bounds = part.bounds
	}
	for key, s := range part.endpoints {
		at(f.attempts, key.service).add(s)
	}
}

// of is what was counted of a service; nil: nothing was.
func (f *figures) of(service string) *Sums {
	if s := f.services[service]; s != nil {
		return s
	}
	return f.attempts[service]
}

// A reader is the metric.Visitor of a reading.
type reader struct {
	*figures
	family *metric.Family
}

// Family implements metric.Visitor.
func (r *reader) Family(f *metric.Family) { r.family = f }

// sums are those that a series belongs to: of a route both its own and its service's.
func (r *reader) sums(labels []string) []*Sums {
	if r.family.Scope == metric.Endpoint {
		return []*Sums{at(r.endpoints, endpointKey{labels[0], labels[1]})}
	}
	r.leads[labels[0]] = labels[1]
	return []*Sums{at(r.routes, labels[0]), at(r.services, labels[1])}
}

func at[K comparable](m map[K]*Sums, key K) *Sums {
	s := m[key]
	if s == nil {
		s = new(Sums)
		m[key] = s
	}
	return s
}

// Value implements metric.Visitor.
func (r *reader) Value(labels []string, v float64, _ time.Time) {
	for _, s := range r.sums(labels) {
		switch r.family.Name {
		case metric.Requests.Name:
			s.Requests += uint64(v)
			if code := labels[2]; strings.HasPrefix(code, "5") || code == "none" {
				s.Errors += uint64(v)
			}
		case metric.EndpointAttempts.Name:
			s.Requests += uint64(v)
		case metric.EndpointFailures.Name:
			s.Errors += uint64(v)
		case metric.RequestsInFlight.Name, metric.EndpointInFlight.Name:
			s.InFlight += int64(v)
		}
	}
}

// Histogram implements metric.Visitor.
func (r *reader) Histogram(labels []string, d *metric.Distribution, _ time.Time) {
	if r.bounds == nil {
		r.bounds = slices.Clone(d.Bounds)
	}
	for _, s := range r.sums(labels) {
		if s.Buckets == nil {
			s.Buckets = make([]uint64, len(d.Counts))
		}
		for i, n := range d.Counts {
			s.Buckets[i] += n
		}
	}
}

// Rates are what happened between two readings.
type Rates struct {
	Requests float64 `json:"rps"`        // ended, a second
	Errors   float64 `json:"error_rate"` // part of them, 0 to 1
	P50      float64 `json:"p50"`        // seconds; 0: none ended
	P99      float64 `json:"p99"`        // seconds
	InFlight int64   `json:"in_flight"`
}

// since returns the rates between an older reading of the same thing and s; old nil: it is new.
func (s *Sums) since(old *Sums, took time.Duration, bounds []float64) Rates {
	if old == nil {
		old = new(Sums)
	}
	r := Rates{InFlight: s.InFlight}
	n := s.Requests - min(old.Requests, s.Requests)
	if seconds := took.Seconds(); seconds > 0 {
		r.Requests = float64(n) / seconds
	}
	if n > 0 {
		r.Errors = float64(s.Errors-min(old.Errors, s.Errors)) / float64(n)
	}
	counts := slices.Clone(s.Buckets)
	for i := range min(len(counts), len(old.Buckets)) {
		counts[i] -= min(counts[i], old.Buckets[i])
	}
	r.P50, r.P99 = quantile(bounds, counts, 0.5), quantile(bounds, counts, 0.99)
	return r
}

// quantile estimates a quantile of a histogram as Prometheus does: evenly within a bucket; what is
// beyond the last bound counts as that. 0: the histogram is empty.
func quantile(bounds []float64, counts []uint64, q float64) float64 {
	var all uint64
	for _, n := range counts {
		all += n
	}
	if all == 0 || len(bounds) == 0 {
		return 0
	}
	rank, below := q*float64(all), uint64(0)
	for i, n := range counts {
		if float64(below+n) < rank {
			below += n
			continue
		}
		if i == len(bounds) {
			break
		}
		low := 0.0
		if i > 0 {
			low = bounds[i-1]
		}
		return low + (bounds[i]-low)*(rank-float64(below))/float64(n)
	}
	return bounds[len(bounds)-1]
}
