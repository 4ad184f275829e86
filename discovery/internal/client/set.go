package client

import (
	"cmp"
	"iter"
	"slices"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// An Entry is what one key, node or instance of a registry is: an endpoint, the reason why
// it is none, or nothing at all.
type Entry struct {
	Spec     endpoint.Spec
	Reason   string // not "": it is rejected
	None     bool   // it is left out without a word, and so is what is older at Spec's ID
	Created  int64  // when it was made and last changed, in whatever unit the registry counts
	Modified int64
}

// Parsed is the entry of what a reader of values returns: an endpoint, or why it is none.
func Parsed(s endpoint.Spec, err error) Entry {
	if err != nil {
		return Entry{Reason: err.Error()}
	}
	return Entry{Spec: s}
}

// Set is the endpoints of all entries in the order of their IDs, and the rejected entries
// in that of theirs. Of several entries with one address (an instance that came back under
// another name while its last lease still runs) the one that was made last counts.
func Set(entries iter.Seq2[string, Entry]) discovery.Update {
	type named struct {
		Entry
		name string
	}
	newest := make(map[endpoint.ID]named)
	u := discovery.Update{Endpoints: []endpoint.Spec{}}
	for name, e := range entries {
		switch other, twice := newest[e.Spec.ID]; {
		case e.Reason != "" && !e.None:
			u.Rejected = append(u.Rejected, discovery.Reject{ID: name, Reason: e.Reason})
		case e.Reason == "" && (!twice || cmp.Or(e.compare(other.Entry), cmp.Compare(other.name, name)) > 0):
			newest[e.Spec.ID] = named{e, name}
		}
	}
	for _, e := range newest {
		if !e.None {
			u.Endpoints = append(u.Endpoints, e.Spec)
		}
	}
	slices.SortFunc(u.Endpoints, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(u.Rejected, func(a, b discovery.Reject) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Reason, b.Reason))
	})
	return u
}

// compare orders entries of one address: the greater one counts. Entries that were made at
// once, and those of registries that do not say when, have the same times: then one that is
// in use counts, and then the heavier one. After that it is their names that decide, so that
// the order of a map never does.
func (e Entry) compare(other Entry) int {
	rank := func(e Entry) int {
		switch {
		case e.None:
			return 0
		case e.Spec.Out:
			return 1
		}
		return 2
	}
	return cmp.Or(
		cmp.Compare(e.Created, other.Created),
		cmp.Compare(e.Modified, other.Modified),
		cmp.Compare(rank(e), rank(other)),
		cmp.Compare(e.Spec.Weight, other.Spec.Weight),
	)
}
