package admin

// What is wrong now: the lines on top of the page. Each says since when and why.

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/nearest"
)

// A Complaint is one thing that is wrong.
type Complaint struct {
	Kind     string    `json:"kind"`     // none, panic, last-resort, ejected, stale, fault, held, rejected, refused
	Severity int       `json:"severity"` // 2: requests fail, or may; 1: to be looked at
	Service  string    `json:"service,omitempty"`
	Count    int       `json:"count,omitempty"` // how many endpoints or entries
	Of       int       `json:"of,omitempty"`    // of how many
	Since    time.Time `json:"since,omitzero"`
	Text     string    `json:"text"` // in English; the page has its own words for Kind in other languages
	Detail   string    `json:"detail,omitempty"`
}

// complaints lists what is wrong, the worst first.
func complaints(s *poise.Status) []Complaint {
	all := make([]Complaint, 0)
	add := func(c Complaint) { all = append(all, c) }
	if s.Refusal != "" {
		add(Complaint{Kind: "refused", Severity: 1, Text: "the latest configuration was refused: the one before is in force", Detail: s.Refusal})
	}
	for i := range s.Services {
		ofService(&s.Services[i], add)
	}
	slices.SortStableFunc(all, func(a, b Complaint) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Service, b.Service))
	})
	return all
}

func ofService(s *poise.ServiceStatus, add func(Complaint)) {
	usable, out := 0, 0
	var since time.Time
	detail := ""
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if e.Usable {
			usable++
		}
		if e.State != "ejected" {
			continue
		}
		if out++; since.IsZero() || e.Since.Before(since) {
			since, detail = e.Since, e.URL+": "+e.Cause
			if e.Probe != nil && e.Probe.Error != "" {
				detail += ": " + e.Probe.Error
			}
			if e.Outlier != "" {
				detail += ": " + e.Outlier
			}
		}
	}
	n := len(s.Endpoints)
	switch {
	case usable == 0 && !s.Panic && !s.LastResort:
		add(Complaint{Kind: "none", Severity: 2, Service: s.Name, Of: n, Since: since, Detail: detail, Text: "no endpoint is usable"})
	case out > 0:
		add(Complaint{Kind: "ejected", Severity: 1, Service: s.Name, Count: out, Of: n, Since: since, Detail: detail, Text: fmt.Sprintf("%d of %d endpoints ejected", out, n)})
	}
	if s.Panic {
		add(Complaint{Kind: "panic", Severity: 2, Service: s.Name, Text: "panic mode: so few endpoints are usable that all are used"})
	}
	if s.LastResort {
		add(Complaint{Kind: "last-resort", Severity: 2, Service: s.Name, Text: "no endpoint is sound: ejected ones are tried"})
	}
	if s.Fault != "" {
		add(Complaint{Kind: "fault", Severity: 2, Service: s.Name, Text: "its policy fails: the last good picker stays in use", Detail: s.Fault})
	}
	if s.Source.Stale {
		add(Complaint{Kind: "stale", Severity: 1, Service: s.Name, Since: time.Now().Add(-s.Source.Age), Text: "its source cannot be asked: the last set stays in use", Detail: s.Source.Error})
	}
	if s.Source.Held > 0 {
		add(Complaint{Kind: "held", Severity: 1, Service: s.Name, Count: s.Source.Held, Of: n, Text: fmt.Sprintf("%d endpoints stay in use although the source left them out", s.Source.Held)})
	}
	if s.Source.Rejects > 0 {
		c := Complaint{Kind: "rejected", Severity: 1, Service: s.Name, Count: s.Source.Rejects, Text: fmt.Sprintf("%d entries of its source are no usable endpoints", s.Source.Rejects)}
		if len(s.Source.Rejected) > 0 {
			c.Detail = s.Source.Rejected[0].ID + ": " + s.Source.Rejected[0].Reason
		}
		add(c)
	}
}

// unknownService answers that there is no service of that name, and which is nearest.
func unknownService(w http.ResponseWriter, all []poise.ServiceStatus, name string) {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	answer(w, http.StatusNotFound, Problem{Status: http.StatusNotFound, Message: "there is no service " + clip(name), Near: nearest.Word(name, names)})
}
