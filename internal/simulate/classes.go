package simulate

// Priorities of requests. A scenario says how many are high and low, because the value by which a
// service tells them apart is in no scenario; the service says whether it does. With
// load: {high: 20%, low: 40%} at 150 % of what the endpoints can do:
//
//	overload.priority   served: high   normal   low
//	yes                 all            all      a tenth
//	no                  two thirds of each
//
// What a priority is worth in the queue is said by package service.

import (
	"fmt"
	"strings"

	"github.com/poise-lb/poise/internal/service"
)

// class is the priority of a request, by its lot.
func (l *Load) class(lot uint64) service.Priority {
	if !l.ranked() {
		return service.Normal
	}
	switch at := int(mix(lot^3) % 100); {
	case at < l.High:
		return service.High
	case at < l.High+l.Low:
		return service.Low
	}
	return service.Normal
}

// ranked reports whether requests have different priorities.
func (l *Load) ranked() bool { return l.High+l.Low > 0 }

// A Class is what became of the requests of one priority.
type Class struct {
	Requests int
	Outcomes [outcomes]int // by Outcome
	Waited   int
	Latency  *Histogram // of those that were served
}

// byClass are the priorities in the order of tables.
var byClass = [...]service.Priority{service.High, service.Normal, service.Low}

func newClasses() []*Class {
	all := make([]*Class, len(byClass))
	for i := range all {
		all[i] = &Class{Latency: newHistogram()}
	}
	return all
}

// class is what became of the requests of a priority; nil: all are alike.
func (r *Report) class(p service.Priority) *Class {
	if r.Classes == nil {
		return nil
	}
	return r.Classes[p]
}

// classHeads and classRows are the table of priorities, which a comparison has if its load has some.
func classHeads() []string {
	return []string{"policy", "priority", "requests", "p50", "p99", "served", "waited", "dropped"}
}

func (c *Comparison) classRows() (rows [][]string) {
	if !c.Scenario.Load.ranked() {
		return nil
	}
	for _, r := range c.Reports {
		for _, p := range byClass {
			one := r.class(p)
			if one.Requests == 0 {
				continue
			}
			share := func(n int) string { return percent(float64(n) / float64(one.Requests)) }
			p50, p99 := "-", "-"
			if one.Latency.N() > 0 {
				p50, p99 = Show(one.Latency.Quantile(0.5)), Show(one.Latency.Quantile(0.99))
			}
			rows = append(rows, []string{c.label(r), p.String(), fmt.Sprint(one.Requests), p50, p99,
				share(one.Outcomes[Served]), share(one.Waited), share(one.Outcomes[Dropped])})
		}
	}
	return rows
}

// writeClasses writes the table of priorities, if there is one.
func (c *Comparison) writeClasses(b *strings.Builder) {
	if rows := c.classRows(); rows != nil {
		b.WriteString("\n")
		writeTable(b, classHeads(), rows)
	}
}

// A RowClass is what became of the requests of one priority, for JSON.
type RowClass struct {
	Priority string             `json:"priority"`
	Requests int                `json:"requests"`
	Served   int                `json:"served"`
	Waited   int                `json:"waited"`
	Dropped  int                `json:"dropped"`
	Latency  map[string]float64 `json:"latency_ms"`
}

// classes are the priorities of the report for JSON.
func (r *Report) classes() (rows []RowClass) {
	if r.Classes == nil {
		return nil
	}
	for _, p := range byClass {
		c := r.class(p)
		rows = append(rows, RowClass{p.String(), c.Requests, c.Outcomes[Served], c.Waited, c.Outcomes[Dropped], c.Latency.figures()})
	}
	return rows
}
