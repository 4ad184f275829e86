package plan

// How many keys of consistent hashing move: the same keys are looked up in the picker of the old
// endpoints and in that of the new ones. Health is left out: what an ejection moves comes back. With
// three equal endpoints and a fourth that comes:
//
//	keys before   1/3  1/3  1/3
//	keys after    1/4  1/4  1/4  1/4    the fourth gains 1/4: the least that can move

import (
	"reflect"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// keysSampled is how many keys are looked up: a share is exact to about half a percent.
const keysSampled = 10_000

// keysMoved compares two sets of endpoints under their policies; nil: keys have nothing to do with
// the change.
func keysMoved(before, after *config.Policy, was, is []endpoint.Spec) *Keys {
	hashing := func(p *config.Policy) bool { return p.Custom == nil && p.Type == "consistent_hash" }
	if !hashing(before) || !hashing(after) || len(was) == 0 || len(is) == 0 {
		return nil
	}
	k := &Keys{Sampled: keysSampled, Renamed: before.Key != after.Key}
	old, next := newPicker(before, was), newPicker(after, is)
	moved, gains := 0, make(map[endpoint.ID]int)
	for i := range uint64(keysSampled) {
		a := policy.Attempt{Key: mix(i + 1), Rand: 1}
		x, y := old.Pick(&a), next.Pick(&a)
		if x == nil || y == nil {
			return nil // all endpoints are out
		}
		gains[x.ID()]--
		gains[y.ID()]++
		if x.ID() != y.ID() {
			moved++
		}
	}
	least := 0 // what endpoints gain over what they had must come from others
	for _, n := range gains {
		least += max(0, n)
	}
	k.Moved, k.Least = float64(moved)/keysSampled, float64(least)/keysSampled
	if moved == 0 && !k.Renamed && reflect.DeepEqual(was, is) {
		return nil
	}
	return k
}

// newPicker builds a policy without a bounded load, which depends on the moment.
func newPicker(p *config.Policy, specs []endpoint.Spec) policy.Picker {
	var members, usable []*endpoint.Endpoint
	for i, w := range endpoint.Weights(specs) {
		e := endpoint.New(specs[i])
		e.SetWeight(w)
		members = append(members, e)
		if !specs[i].Out {
			usable = append(usable, e)
		}
	}
	return policy.ConsistentHash(policy.HashConfig{Algorithm: p.Algorithm}).Build(members, usable, nil)
}

// mix makes well-spread numbers of a running one (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x *= 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
