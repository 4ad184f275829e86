package etcd

import (
	"cmp"
	"maps"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// A view is the keys under the prefix, as far as the session has been told, in groups: one
// group is the keys of one service.
type view struct {
	scheme   string // of endpoints that name none
	cluster  string
	revision int64 // up to which everything is in groups
	groups   map[string]map[string]client.Entry
	group    func(key string) string
	keys     int // in all groups
}

func newView(scheme string, group func(string) string, a rangeAnswer) view {
	v := view{
		scheme:   cmp.Or(scheme, "http"),
		cluster:  a.Header.Cluster,
		revision: int64(a.Header.Revision),
		groups:   make(map[string]map[string]client.Entry),
		group:    group,
	}
	for _, kv := range a.KVs {
		v.store(kv)
	}
	return v
}

func (v *view) mark() mark { return mark{v.cluster, v.revision, v.keys} }

func (v *view) store(kv keyValue) {
	e := client.Parsed(parse(kv.Value, v.scheme))
	e.Created, e.Modified = int64(kv.Created), int64(kv.Modified)
	key := string(kv.Key)
	entries := v.groups[v.group(key)]
	if entries == nil {
		entries = make(map[string]client.Entry)
		v.groups[v.group(key)] = entries
	}
	v.keys -= len(entries)
	entries[key] = e
	v.keys += len(entries)
}

// put and remove take over an event, and report whether it was news.

func (v *view) put(kv keyValue) bool {
	if old, ok := v.groups[v.group(string(kv.Key))][string(kv.Key)]; ok && old.Modified >= int64(kv.Modified) {
		return false
	}
	v.store(kv)
	v.revision = max(v.revision, int64(kv.Modified))
	return true
}

func (v *view) remove(kv keyValue) bool {
	v.revision = max(v.revision, int64(kv.Modified))
	entries := v.groups[v.group(string(kv.Key))]
	if old, ok := entries[string(kv.Key)]; !ok || old.Modified > int64(kv.Modified) {
		return false
	}
	delete(entries, string(kv.Key))
	v.keys--
	return true
}

// set is what the keys of a group make. The key that was created last counts of several
// with one address.
func (v *view) set(group string) discovery.Update {
	return client.Set(maps.All(v.groups[group]))
}
