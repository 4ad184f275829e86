// Package metric is the shape of a Proxy's metrics: which families there are (families.go), how
// they are read (a Visitor), and how they are written in the text formats of Prometheus and
// OpenMetrics (text.go). It has no state and counts nothing itself.
//
// Proxy.Collect calls a Visitor for one family after the other and for every series in it, so a
// scrape of thousands of series needs no structure for each of them:
//
//	Family(requests_total)
//	Value(["users", "users", "200"], 17)
//	Value(["users", "users", "502"], 1)
//	Family(request_duration_seconds)
//	Histogram(["users", "users"], ...)
package metric

import "time"

// A Kind is the type of a family.
type Kind uint8

// The kinds of families.
const (
	Counter Kind = iota
	Gauge
	Histogram
)

// String is the word of the text formats.
func (k Kind) String() string { return [...]string{"counter", "gauge", "histogram"}[k] }

// A Scope is what the series of a family are about.
type Scope uint8

// The scopes. A scrape can ask for some of them.
const (
	Process Scope = 1 << iota
	Route
	Service
	Endpoint
	Runtime // of Go and the operating system: go_* and process_*

	Everything = Process | Route | Service | Endpoint | Runtime
)

// ScopeOf is the scope of a word, as in ?scope=route.
func ScopeOf(word string) (Scope, bool) {
	for i, w := range [...]string{"process", "route", "service", "endpoint", "runtime"} {
		if w == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// A Family is all series of one name.
type Family struct {
	Name   string   // with the unit, and of a counter with _total
	Help   string   // one line
	Kind   Kind     //
	Unit   string   // seconds, bytes, or ""
	Labels []string // the names; a series has a value for each
	Scope  Scope
}

// Created is the moment from which a series counts; the zero Time: it is not known.
type Created = time.Time

// A Distribution is a histogram's counts.
type Distribution struct {
	Bounds []float64 // upper bounds, inclusive, in the family's unit; the last bucket has none
	Counts []uint64  // by bucket, not cumulative; one more than Bounds
	Sum    float64   // of all observations
}

// A Visitor is called for one family after the other, and after each for its series, by one
// goroutine. It must not keep what it is given beyond the call.
type Visitor interface {
	// Family begins a family. A family without series is not announced.
	Family(f *Family)
	// Value is one series of a counter or a gauge; labels are the values.
	Value(labels []string, v float64, created Created)
	// Histogram is one series of a histogram.
	Histogram(labels []string, d *Distribution, created Created)
}

// Options choose what a Visitor is called for. The zero value means everything.
type Options struct {
	Scopes   Scope    // 0: Everything
	Services []string // only series with these values of the label service; empty: all
}
