package zookeeper

import (
	"cmp"
	"slices"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// set is the endpoints in the order of their IDs and the rejected nodes in theirs. Of
// several nodes with one address (an instance that came back under another name while its
// last session still runs) the one that was made last counts.
func set(nodes map[string]entry) ([]endpoint.Spec, []discovery.Reject) {
	newest := make(map[endpoint.ID]entry, len(nodes))
	var rejected []discovery.Reject
	for name, e := range nodes {
		if e.reason != "" {
			rejected = append(rejected, discovery.Reject{ID: name, Reason: e.reason})
			continue
		}
		if e.none {
			continue
		}
		if other, ok := newest[e.spec.ID]; !ok || later(e, other) {
			newest[e.spec.ID] = e
		}
	}
	specs := make([]endpoint.Spec, 0, len(newest))
	for _, e := range newest {
		specs = append(specs, e.spec)
	}
	slices.SortFunc(specs, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(rejected, func(a, b discovery.Reject) int { return cmp.Compare(a.ID, b.ID) })
	return specs, rejected
}

// later orders entries of one address, so that the order of a map never does.
func later(a, b entry) bool {
	return cmp.Or(
		cmp.Compare(a.created, b.created),
		cmp.Compare(a.modified, b.modified),
		cmp.Compare(a.spec.Weight, b.spec.Weight),
		cmp.Compare(a.spec.Zone, b.spec.Zone),
	) > 0
}

// tellEvery is how often an error is published that differs from the last one: with
// several servers they take turns.
const tellEvery = 30 * time.Second

// A reporter publishes what is news. It belongs to the goroutine of Run.
type reporter struct {
	publish  func(discovery.Update)
	specs    []endpoint.Spec
	rejected []discovery.Reject
	fresh    bool // specs is what was published last, rather than an error
	failure  string
	told     time.Time
}

// set publishes a set that is not what was published last. After an error it is news in
// any case: it is no longer stale.
func (r *reporter) set(specs []endpoint.Spec, rejected []discovery.Reject) {
	if r.fresh && slices.EqualFunc(specs, r.specs, endpoint.Spec.Equal) && slices.Equal(rejected, r.rejected) {
		return
	}
	r.specs, r.rejected, r.fresh, r.failure = specs, rejected, true, ""
	r.publish(discovery.Update{Endpoints: specs, Rejected: rejected})
}

// fail publishes an error, unless it is what everybody knows.
func (r *reporter) fail(err error) {
	text := err.Error()
	if text == r.failure || r.failure != "" && time.Since(r.told) < tellEvery {
		return
	}
	r.fresh, r.failure, r.told = false, text, time.Now()
	r.publish(discovery.Update{Err: err})
}
