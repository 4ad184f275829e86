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
	None     bool   // it is left out without a word
	Created  int64  // when it was made and last changed, in whatever unit the registry counts
	Modified int64
}

// Set is the endpoints of all entries in the order of their IDs, and the rejected entries
// in that of theirs. Of several entries with one address (an instance that came back under
// another name while its last lease still runs) the one that was made last counts.
func Set(entries iter.Seq2[string, Entry]) ([]endpoint.Spec, []discovery.Reject) {
	newest := make(map[endpoint.ID]Entry)
	var rejected []discovery.Reject
	for name, e := range entries {
		if e.Reason != "" {
			rejected = append(rejected, discovery.Reject{ID: name, Reason: e.Reason})
		} else if other, twice := newest[e.Spec.ID]; !e.None && (!twice || e.later(other)) {
			newest[e.Spec.ID] = e
		}
	}
	specs := make([]endpoint.Spec, 0, len(newest))
	for _, e := range newest {
		specs = append(specs, e.Spec)
	}
	slices.SortFunc(specs, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(rejected, func(a, b discovery.Reject) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Reason, b.Reason))
	})
	return specs, rejected
}

// later orders entries of one address. Entries that were made at once have the same times;
// what they say decides then, so that the order of a map never does.
func (e Entry) later(other Entry) bool {
	return cmp.Or(
		cmp.Compare(e.Created, other.Created),
		cmp.Compare(e.Modified, other.Modified),
		cmp.Compare(e.Spec.Weight, other.Spec.Weight),
		cmp.Compare(e.Spec.Zone, other.Spec.Zone),
	) > 0
}
