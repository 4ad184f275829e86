package policy

// Subsets: with 50 proxies and 1,000 endpoints, connections and what is known of latency are spread
// thin. InSubset has each proxy use a part of the endpoints, always the same, so that all proxies
// together use all endpoints evenly. The proxies do not know each other.
//
// The endpoints stand on a circle in the order of the hashes of their IDs, at equal distances. A
// proxy has a position on it, made of its name, and uses the next Size endpoints from there that
// may be picked:
//
//	circle                e4 e1 e7 e3 e8 e2 e6 e5
//	poise-0, Size 3       ├────────┤
//	poise-1, Size 3                      ├────────┤
//	poise-1, e2 ejected                  ├───────────┤      e8, e6 and e5
//
// A name that ends in a number, as those of a StatefulSet do, has the position of the name without
// the number, and as many steps of the golden ratio further. Such steps fill a circle evenly
// however many there are, so neither the number of proxies has to be known, nor does anything move
// when it changes. Names without a number, such as web-x7k2q, are spread by chance.
//
//	50 proxies, 200 endpoints, Size 20   proxies of an endpoint (5 on average)
//	numbers, 0 to 49                     4 to 6
//	random names                         0 to 12 or so
//
// An endpoint that comes or goes moves no more than one other endpoint into a subset, and one out:
// positions are parts of the circle, and all ranks move by one at most.
//
// docs/decisions/0030-places.md says what else was looked at.

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/endpoint"
)

// InSubset has base choose among size of the endpoints, which depend on the name of the proxy.
// Endpoints outside of the subset are chosen by an attempt that has tried all of those. A size of 0
// or less is no bound.
func InSubset(base Policy, size int, proxy string) Policy {
	if size <= 0 {
		return base
	}
	return &inSubset{base, size, position(proxy)}
}

type inSubset struct {
	base Policy
	size int
	at   uint64 // position on the circle, as a fraction of 2^64
}

// position is where the proxy of a name stands on the circle.
func position(name string) uint64 {
	stem := strings.TrimRight(name, "0123456789")
	n, err := strconv.ParseUint(name[len(stem):], 10, 64)
	if err != nil { // no number, or one without end
		return Hash([]byte(name))
	}
	return Hash([]byte(stem)) + n*golden
}

// A subsetPicker asks the picker of the subset first.
type subsetPicker struct {
	picker Picker
	usable []*endpoint.Endpoint // of the subset
	rest   []*endpoint.Endpoint // the others that may be picked, in the order of the circle
	info   Place
}

// ownedSubset is a subsetPicker whose policy gives keys a home.
type ownedSubset struct{ subsetPicker }

// Build implements Policy.
func (c *inSubset) Build(members, usable []*endpoint.Endpoint, prev Picker) Picker {
	if old := subsetOf(prev); old != nil {
		prev = old.picker
	}
	if len(usable) <= c.size {
		return c.base.Build(members, usable, prev)
	}
	can := make(map[*endpoint.Endpoint]bool, len(usable))
	for _, e := range usable {
		can[e] = true
	}
	var p subsetPicker
	var inside []*endpoint.Endpoint
	for _, e := range c.circle(members) {
		switch {
		case len(p.usable) == c.size:
			if can[e] {
				p.rest = append(p.rest, e)
			}
			continue
		case can[e]:
			p.usable = append(p.usable, e)
		}
		inside = append(inside, e)
	}
	byID := func(a, b *endpoint.Endpoint) int { return a.ID().Compare(b.ID()) }
	slices.SortFunc(inside, byID)
	slices.SortFunc(p.usable, byID)
	if p.picker = c.base.Build(inside, p.usable, prev); p.picker == nil { // as in inPlaces.Build
		return nil
	}
	p.info = Place{Share: 1, Capacity: 1, Usable: len(usable), Subset: len(p.usable), picked: p.usable}
	for _, e := range members {
		if !e.Spec().Out {
			p.info.Members++
		}
	}
	if _, owns := p.picker.(Owner); owns {
		return &ownedSubset{p}
	}
	return &p
}

// circle lists the endpoints in their order on the circle, from the position of the proxy on. Those
// that their source declares out are not on it.
func (c *inSubset) circle(members []*endpoint.Endpoint) []*endpoint.Endpoint {
	all := make([]*endpoint.Endpoint, 0, len(members))
	for _, e := range members {
		if !e.Spec().Out {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *endpoint.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Hash(), b.Hash()), a.ID().Compare(b.ID()))
	})
	start, _ := bits.Mul64(c.at, uint64(len(all)))
	return slices.Concat(all[start:], all[:start])
}

// subsetOf is the subsetPicker that p is; nil: it is none.
func subsetOf(p Picker) *subsetPicker {
	switch p := p.(type) {
	case *subsetPicker:
		return p
	case *ownedSubset:
		return &p.subsetPicker
	}
	return nil
}

// Pick implements Picker.
func (p *subsetPicker) Pick(a *Attempt) *endpoint.Endpoint {
	if e := p.picker.Pick(a); e != nil {
		return e
	}
	return turn(p.rest, 0, &a.Tried, nil)
}
