package etcd

import (
	"cmp"
	"slices"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// A view is the keys under the prefix, as far as the session has been told.
type view struct {
	scheme   string // of endpoints that name none
	cluster  string
	revision int64 // up to which everything is in entries
	entries  map[string]entry
}

// An entry is one key: an endpoint, or the reason why it is none.
type entry struct {
	spec     endpoint.Spec
	reason   string
	created  int64
	modified int64
}

func newView(scheme string, a rangeAnswer) view {
	v := view{
		scheme:   cmp.Or(scheme, "http"),
		cluster:  a.Header.Cluster,
		revision: int64(a.Header.Revision),
		entries:  make(map[string]entry, len(a.KVs)),
	}
	for _, kv := range a.KVs {
		v.entries[string(kv.Key)] = v.entry(kv)
	}
	return v
}

func (v *view) mark() mark { return mark{v.cluster, v.revision, len(v.entries)} }

func (v *view) entry(kv keyValue) entry {
	e := entry{created: int64(kv.Created), modified: int64(kv.Modified)}
	spec, err := parse(kv.Value, v.scheme)
	if err != nil {
		e.reason = err.Error()
		return e
	}
	e.spec = spec
	return e
}

// put and remove take over an event, and report whether it was news.

func (v *view) put(kv keyValue) bool {
	if old, ok := v.entries[string(kv.Key)]; ok && old.modified >= int64(kv.Modified) {
		return false
	}
	v.entries[string(kv.Key)] = v.entry(kv)
	v.revision = max(v.revision, int64(kv.Modified))
	return true
}

func (v *view) remove(kv keyValue) bool {
	v.revision = max(v.revision, int64(kv.Modified))
	if old, ok := v.entries[string(kv.Key)]; !ok || old.modified > int64(kv.Modified) {
		return false
	}
	delete(v.entries, string(kv.Key))
	return true
}

// set is the endpoints in the order of their IDs and the rejected keys in theirs. Of
// several keys with one address (an instance that came back under another key while its
// last lease still runs) the one that was created last counts.
func (v *view) set() ([]endpoint.Spec, []discovery.Reject) {
	newest := make(map[endpoint.ID]entry, len(v.entries))
	var rejected []discovery.Reject
	for key, e := range v.entries {
		if e.reason != "" {
			rejected = append(rejected, discovery.Reject{ID: key, Reason: e.reason})
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

// later orders entries of one address. Keys made in one transaction have the same
// revisions; what they say decides then, so that the order of a map never does.
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
