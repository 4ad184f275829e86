package etcd

import (
	"cmp"
	"maps"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// A view is the keys under the prefix, as far as the session has been told.
type view struct {
	scheme   string // of endpoints that name none
	cluster  string
	revision int64 // up to which everything is in entries
	entries  map[string]client.Entry
}

func newView(scheme string, a rangeAnswer) view {
	v := view{
		scheme:   cmp.Or(scheme, "http"),
		cluster:  a.Header.Cluster,
		revision: int64(a.Header.Revision),
		entries:  make(map[string]client.Entry, len(a.KVs)),
	}
	for _, kv := range a.KVs {
		v.entries[string(kv.Key)] = v.entry(kv)
	}
	return v
}

func (v *view) mark() mark { return mark{v.cluster, v.revision, len(v.entries)} }

func (v *view) entry(kv keyValue) client.Entry {
	e := client.Entry{Created: int64(kv.Created), Modified: int64(kv.Modified)}
	var err error
	if e.Spec, err = parse(kv.Value, v.scheme); err != nil {
		e.Reason = err.Error()
	}
	return e
}

// put and remove take over an event, and report whether it was news.

func (v *view) put(kv keyValue) bool {
	if old, ok := v.entries[string(kv.Key)]; ok && old.Modified >= int64(kv.Modified) {
		return false
	}
	v.entries[string(kv.Key)] = v.entry(kv)
	v.revision = max(v.revision, int64(kv.Modified))
	return true
}

func (v *view) remove(kv keyValue) bool {
	v.revision = max(v.revision, int64(kv.Modified))
	if old, ok := v.entries[string(kv.Key)]; !ok || old.Modified > int64(kv.Modified) {
		return false
	}
	delete(v.entries, string(kv.Key))
	return true
}

// set is what the keys make. The key that was created last counts of several with one
// address.
func (v *view) set() ([]endpoint.Spec, []discovery.Reject) { return client.Set(maps.All(v.entries)) }
