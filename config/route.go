package config

import (
	"slices"
	"strings"
)

// Identity is what tells a route from all others, whatever index it has: its Name or, if it
// has none, what it matches, as "GET,PUT shop.example.com/cart/**". No two routes of a
// valid configuration have the same, because no two may match the same, and a name has no
// slash.
func (r *Route) Identity() string {
	if r.Name != "" {
		return r.Name
	}
	path := r.Match.Path
	if path == "" {
		path = "/**"
	}
	if len(r.Match.Methods) == 0 {
		return r.Match.Host + path
	}
	methods := slices.Clone(r.Match.Methods)
	slices.Sort(methods)
	return strings.Join(methods, ",") + " " + r.Match.Host + path
}
