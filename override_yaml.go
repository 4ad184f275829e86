package poise

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
)

// YAML is the override as configuration, so that it can be copied into the file and removed: see
// OverridesYAML.
func (o Override) YAML() string { return OverridesYAML([]Override{o}) }

// OverridesYAML are overrides as configuration: a fragment of services with the endpoints, each
// with a comment that says what an operator wanted, and why. Drain and weight are keys of an
// endpoint. What the configuration has no key for, as an ejection, is a comment only. Endpoints
// that a source other than a list names have their weights there.
//
//	services:
//	  users:
//	    endpoints:
//	      # weight 2: by zhao, until 2026-01-02T15:04:05Z: slow disk
//	      - {url: "http://10.0.0.1:8080", weight: 2}
func OverridesYAML(all []Override) string {
	if len(all) == 0 {
		return "# no overrides are in force\n"
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Override) int {
		if c := strings.Compare(a.Service, b.Service); c != 0 {
			return c
		}
		return strings.Compare(a.Endpoint, b.Endpoint)
	})
	var b strings.Builder
	b.WriteString("services:\n")
	for len(all) > 0 {
		n := prefix(all, func(o *Override) string { return o.Service })
		serviceYAML(&b, all[:n])
		all = all[n:]
	}
	return b.String()
}

// serviceYAML writes the overrides of one service.
func serviceYAML(b *strings.Builder, all []Override) {
	indent := "  "
	if config.CheckName(all[0].Service) != nil { // one that a request has named
		indent = "  # "
	}
	fmt.Fprintf(b, "%s%s:\n%s  endpoints:\n", indent, all[0].Service, indent)
	for len(all) > 0 {
		n := prefix(all, func(o *Override) string { return o.Endpoint })
		endpointYAML(b, indent+"    ", all[:n])
		all = all[n:]
	}
}

// endpointYAML writes the overrides of one endpoint, as one entry of the list.
func endpointYAML(b *strings.Builder, indent string, all []Override) {
	url, _, _ := strings.Cut(all[0].Endpoint, "#")
	if _, path, ok := strings.Cut(url, "://unix:"); ok {
		url = "unix:" + path
	}
	entry := "{url: " + quoted(url)
	keys := 0
	for i := range all {
		o := &all[i]
		fmt.Fprintf(b, "%s# %s\n", indent, o.comment())
		switch {
		case o.Kind == "drain":
			entry += ", drain: true"
			keys++
		case o.Kind == "weight" && o.Weight == math.Trunc(o.Weight):
			entry += fmt.Sprintf(", weight: %g", o.Weight)
			keys++
		}
	}
	if keys == 0 {
		indent += "# "
	}
	fmt.Fprintf(b, "%s- %s}\n", indent, entry)
}

// comment says in a line what was wanted.
func (o *Override) comment() string {
	s := o.Kind
	if o.Kind == "weight" {
		s = fmt.Sprintf("weight %g", o.Weight)
		if o.Weight != math.Trunc(o.Weight) {
			s += " (a configuration has whole weights: multiply those of all endpoints)"
		}
	}
	if o.Who != "" {
		s += ", by " + oneLine(o.Who)
	}
	if !o.Until.IsZero() {
		s += ", until " + o.Until.UTC().Format(time.RFC3339)
	}
	if o.Why != "" {
		s += ": " + oneLine(o.Why)
	}
	return s
}

// prefix is how many of the first overrides have the same word.
func prefix(all []Override, word func(*Override) string) int {
	n := slices.IndexFunc(all, func(o Override) bool { return word(&o) != word(&all[0]) })
	if n < 0 {
		return len(all)
	}
	return n
}

// quoted is a string as YAML reads it: JSON, which is YAML.
func quoted(s string) string {
	text, _ := json.Marshal(s) // a string can always be written
	return string(text)
}
