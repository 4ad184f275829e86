package plan

// Routes and entries of discover, by their identity: what is added, removed, and which keys of the
// others differ.

import (
	"maps"
	"slices"
	"strings"

	"github.com/poise-lb/poise/config"
)

// routes compares the lists of routes.
func routes(old, next []config.Route) (out []Change) {
	before := make(map[string]int)
	for i := range old {
		before[old[i].Identity()] = i
	}
	after := make(map[string]bool)
	for i := range next {
		r := &next[i]
		name, key := r.Identity(), config.Index("routes", i)
		after[name] = true
		j, known := before[name]
		if !known {
			out = append(out, Change{Do: Add, Name: name, About: about(r), Key: key})
			continue
		}
		if edits := diff(old[j], *r); len(edits) > 0 {
			out = append(out, Change{Do: Modify, Name: name, Edits: edits, Key: key})
		}
	}
	for i := range old {
		if name := old[i].Identity(); !after[name] {
			out = append(out, Change{Do: Remove, Name: name, About: about(&old[i]), Key: config.Index("routes", i)})
		}
	}
	sortByName(out, func(c *Change) string { return c.Name })
	return out
}

// reordered reports whether routes that both lists have stand in another order.
func reordered(old, next []config.Route) bool {
	names := func(list []config.Route, other []config.Route) (out []string) {
		known := make(map[string]bool)
		for i := range other {
			known[other[i].Identity()] = true
		}
		for i := range list {
			if name := list[i].Identity(); known[name] {
				out = append(out, name)
			}
		}
		return out
	}
	return !slices.Equal(names(old, next), names(next, old))
}

// about is a route for people: what it matches and where it leads.
func about(r *config.Route) string {
	match := *r
	match.Name = ""
	leads := r.Leads()
	if r.Discover != "" {
		leads = "discover " + r.Discover
	}
	return match.Identity() + " → " + leads
}

// discover compares the entries of discover.
func discover(old, next map[string]config.Discover) (out []Change) {
	all := maps.Clone(old)
	if all == nil {
		all = make(map[string]config.Discover)
	}
	maps.Copy(all, next)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		one := Change{Name: name, Key: config.Key("discover", name)}
		was, had := old[name]
		is, has := next[name]
		switch {
		case !had:
			one.Do = Add
		case !has:
			one.Do = Remove
		default:
			if one.Do, one.Edits = Modify, diff(was, is); len(one.Edits) == 0 {
				continue
			}
		}
		out = append(out, one)
	}
	return out
}

// sortByName sorts a list by the names of its elements, as people read them.
func sortByName[T any](list []T, name func(*T) string) {
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(name(&a), name(&b)) })
}
