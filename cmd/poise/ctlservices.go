package main

// poise ctl services and poise ctl endpoints. What only some services have gets a column only where one
// of them has it, so that a plain setup has a narrow table:
//
//	SERVICE  POLICY      ...  IN FLIGHT  ATTEMPTS   WAITING                   P50    P99
//	orders   least_time  ...  131        100 of 100  31 of 200, newest first  9.1ms  240ms
//	users    least_time  ...  12         -           -                        3.9ms  9.8ms

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

// A column shows one thing of every T.
type column[T any] struct {
	head string
	cell func(*T) string
	has  func(*T) bool // the T has it, else it is "-"; nil: every T does, so the column is always shown
}

// tabulate writes a table with the columns that a row needs.
func tabulate[T any](c *ctl, rows []T, columns []column[T]) error {
	columns = slices.DeleteFunc(columns, func(one column[T]) bool {
		return one.has != nil && !slices.ContainsFunc(rows, func(row T) bool { return one.has(&row) })
	})
	cells := make([]string, len(columns))
	for i, one := range columns {
		cells[i] = one.head
	}
	t := c.table(cells...)
	for k := range rows {
		for i, one := range columns {
			if cells[i] = "-"; one.has == nil || one.has(&rows[k]) {
				cells[i] = one.cell(&rows[k])
			}
		}
		t.row(cells...)
	}
	return t.Flush()
}

func (c *ctl) services() error {
	var all struct{ Services []admin.ServiceView }
	if show, err := c.get("/api/v1/services", &all); !show {
		return err
	}
	type row = admin.ServiceView
	if err := tabulate(c, all.Services, []column[row]{
		{head: "SERVICE", cell: func(s *row) string { return s.Name }},
		{head: "POLICY", cell: func(s *row) string { return s.Policy }},
		{head: "SOURCE", cell: func(s *row) string { return source(&s.Source) }},
		{head: "ENDPOINTS", cell: func(s *row) string { return usable(s.Endpoints) }},
		{head: "REQUESTS", cell: func(s *row) string { return number(s.Requests) }},
		{head: "ERRORS", cell: func(s *row) string { return number(s.Errors) }},
		{head: "IN FLIGHT", cell: func(s *row) string { return number(uint64(max(s.InFlight, 0))) }},
		{"ATTEMPTS", func(s *row) string { return of(s.Overload.InFlight, s.Overload.MaxInFlight) },
			func(s *row) bool { return s.Overload.MaxInFlight > 0 }},
		{"WAITING", func(s *row) string { return waiting(&s.Overload) },
			func(s *row) bool { return s.Overload.Queue > 0 }},
		{head: "P50", cell: func(s *row) string { return seconds(s.P50) }},
		{head: "P99", cell: func(s *row) string { return seconds(s.P99) }},
	}); err != nil {
		return err
	}
	for _, s := range all.Services {
		if s.Shadow != nil {
			say(c.stdout, "%s: %s\n", s.Name, shadowed(s.Shadow))
		}
	}
	return nil
}

func (c *ctl) endpoints(service string) error {
	var s admin.ServiceDetail
	if show, err := c.get("/api/v1/services/"+url.PathEscape(service), &s); !show {
		return err
	}
	if len(s.Places) > 0 {
		p := c.table("PLACE", "SHARE", "WHY")
		for _, one := range s.Places {
			p.row(one.Name, percent(one.Share), one.Why)
		}
		if err := p.Flush(); err != nil {
			return err
		}
		say(c.stdout, "\n")
	}
	type row = admin.EndpointView
	if err := tabulate(c, s.Endpoints, []column[row]{
		{head: "ENDPOINT", cell: func(e *row) string { return e.Label }},
		{"LANE", func(e *row) string { return e.Lane }, func(e *row) bool { return e.Lane != "" }},
		{"ZONE", func(e *row) string { return e.Zone }, func(e *row) bool { return e.Zone != "" }},
		{"PRIORITY", func(e *row) string { return strconv.Itoa(e.Priority) }, func(*row) bool { return ranked(s.Endpoints) }},
		{head: "CONDITION", cell: func(e *row) string { return e.Condition }},
		{head: "SINCE", cell: func(e *row) string { return since(e.Since) }},
		{head: "WEIGHT", cell: func(e *row) string { return fmt.Sprintf("%g", e.Weight) }},
		{head: "SHARE", cell: func(e *row) string { return percent(e.Share) }},
		{head: "EXPECTED", cell: func(e *row) string { return percent(e.Expected) }},
		{head: "IN FLIGHT", cell: func(e *row) string { return of(int(e.InFlight), int(e.Limit)) }},
		{"BASE", func(e *row) string { return seconds(e.BaseLatency.Seconds()) }, func(*row) bool { return s.Overload.EndpointLimitsFound }},
		{head: "P50", cell: func(e *row) string { return seconds(e.P50) }},
		{head: "P99", cell: func(e *row) string { return seconds(e.P99) }},
		{head: "WHY", cell: func(e *row) string { return why(&e.EndpointStatus) }},
	}); err != nil {
		return err
	}
	for _, line := range remarks(&s.ServiceStatus) {
		say(c.stdout, "%s\n", line)
	}
	return nil
}

// ranked reports whether endpoints differ by priority.
func ranked(all []admin.EndpointView) bool {
	return slices.ContainsFunc(all, func(e admin.EndpointView) bool { return e.Priority != 0 })
}

// remarks are what stands below the endpoints of a service: what it has, and no endpoint alone.
func remarks(s *poise.ServiceStatus) (lines []string) {
	if o := &s.Overload; o.MaxInFlight > 0 || o.Queue > 0 {
		line := of(o.InFlight, o.MaxInFlight) + " attempts at once"
		if o.Queue > 0 {
			line += "; waiting: " + waiting(o)
		}
		lines = append(lines, line)
	}
	for _, l := range s.Lanes {
		if l.Value != "" && l.Usable == 0 {
			lines = append(lines, fmt.Sprintf("lane %s: %d of %d usable", l.Value, l.Usable, l.Endpoints))
		}
	}
	if s.LanesMissed > 0 {
		lines = append(lines, fmt.Sprintf("%s asked for a lane without a usable endpoint", counted(int(s.LanesMissed), "attempt")))
	}
	if b := s.Sticky; b != nil {
		lines = append(lines, fmt.Sprintf("sticky: %s bound, %s moved, %s unknown", number(b.New), number(b.Moved), number(b.Unknown)))
	}
	return lines
}

// of is how much there is, and how much there may be; most 0: any number.
func of(n, most int) string {
	if most > 0 {
		return fmt.Sprintf("%d of %d", n, most)
	}
	return strconv.Itoa(n)
}

// waiting is how many requests wait in the queue of a service.
func waiting(o *poise.OverloadStatus) string {
	if o.Flooded {
		return of(o.Waiting, o.Queue) + ", newest first"
	}
	return of(o.Waiting, o.Queue)
}

// usable is how many endpoints are.
func usable(all []poise.EndpointStatus) string {
	n := 0
	for i := range all {
		if all[i].Usable {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(all))
}

// source is the kind of a source, and whether it fails.
func source(s *poise.SourceStatus) string {
	if s.Stale {
		return s.Kind + ", stale for " + brief(s.Age)
	}
	return s.Kind
}

// why is what stands behind an endpoint's condition.
func why(e *poise.EndpointStatus) string {
	var words []string
	for _, o := range e.Overrides {
		word := o.Kind
		if o.Kind == "weight" {
			word += fmt.Sprintf(" %g", o.Weight)
		}
		if o.Who != "" {
			word += " by " + o.Who
		}
		if !o.Until.IsZero() {
			word += " for " + brief(time.Until(o.Until))
		}
		if o.Why != "" {
			word += ": " + o.Why
		}
		words = append(words, word)
	}
	if e.Outlier != "" {
		words = append(words, "outlier: "+e.Outlier)
	}
	if r := e.Load; r != nil && !r.Stale {
		words = append(words, "reports "+reported(r))
	}
	if e.Probe != nil && e.Probe.Error != "" {
		words = append(words, "probe: "+e.Probe.Error)
	}
	return strings.Join(words, "; ")
}
