package policy

// Dividing the endpoints of a service into places, for places.go.

import (
	"slices"
	"strconv"

	"github.com/poise-lb/poise/endpoint"
)

// A PlaceKind says what of a fail-over group a place has.
type PlaceKind uint8

// The kinds of places.
const (
	AllZones   PlaceKind = iota // all of it: zones do not matter
	OwnZone                     // the endpoints in the proxy's zone
	OtherZones                  // all others, for when the own zone is too busy or was tried
	OtherZone                   // the endpoints in another zone, or in none, to which a part of the requests goes
)

// A Place is a part of the endpoints, as a Placer tells of it.
type Place struct {
	Priority int // fail-over group
	Kind     PlaceKind
	Zone     string // of OwnZone and OtherZone; empty: the endpoints name no zone
	// Share is the part of the requests that goes there, from 0 to 1, as long as nothing is too busy.
	Share float64
	// Members and Usable count the endpoints that belong there, without those that their source
	// declares out, and those of them that may be picked. Subset are those of Usable that this proxy
	// uses, if it uses a subset; else it is Usable.
	Members, Usable, Subset int
	// Capacity is the part of the usable weight of its priority that the place has, from 0 to 1, and
	// Fair, of OwnZone, the part of all requests that comes by proxies there.
	Capacity, Fair float64
	Why            string // for people: what its share comes from

	picked []*endpoint.Endpoint // those that may be picked, or those of its subset
}

// String is the place for people, as in "priority 0, zone a".
func (p *Place) String() string {
	text := "priority " + strconv.Itoa(p.Priority)
	switch {
	case p.Kind == OtherZones:
		text += ", other zones"
	case p.Kind != AllZones && p.Zone == "":
		text += ", no zone"
	case p.Kind != AllZones:
		text += ", zone " + p.Zone
	}
	return text
}

// Endpoints are those that the picker of the place may choose for a first attempt, in the order of
// their IDs. The result is shared: it must not be modified.
func (p *Place) Endpoints() []*endpoint.Endpoint { return p.picked }

// Weight is that of the endpoints which the picker of the place may choose, together.
func (p *Place) Weight() (sum int64) {
	for _, e := range p.picked {
		sum += e.Weight()
	}
	return sum
}

// A part is what becomes a place.
type part struct {
	spot
	members, usable []*endpoint.Endpoint
	capacity        level
	info            Place
}

// add notes an endpoint of the part; can: it may be picked.
func (l *part) add(e *endpoint.Endpoint, can bool) {
	l.members = append(l.members, e)
	w := float64(e.Weight())
	if !e.Spec().Out {
		l.info.Members++
		l.capacity.members += w
	}
	if can {
		l.usable = append(l.usable, e)
		l.info.Usable++
		l.capacity.usable += w
	}
}

// divide returns the parts that have members, the preferred ones first, with their shares. If there
// is only one, that is all it says.
func (c *inPlaces) divide(members, usable []*endpoint.Endpoint) []part {
	if c.alike(members) {
		return nil
	}
	var levels []part
	for _, e := range members {
		can := len(usable) > 0 && usable[0] == e
		if can {
			usable = usable[1:]
		}
		priority := c.Priority(e.Spec())
		i, found := slices.BinarySearchFunc(levels, priority, func(l part, p int) int { return l.priority - p })
		if !found {
			levels = slices.Insert(levels, i, part{spot: spot{priority: priority}, info: Place{Priority: priority}})
		}
		levels[i].add(e, can)
	}
	capacity := make([]level, len(levels))
	for i := range levels {
		capacity[i] = levels[i].capacity
	}
	var parts []part
	for i, share := range levelShares(capacity, c.OverflowBelow) {
		levels[i].info.Share, levels[i].info.Capacity = share, 1
		parts = append(parts, c.byZone(&levels[i])...)
	}
	for i := range parts {
		parts[i].info.Subset, parts[i].info.picked = len(parts[i].usable), parts[i].usable
	}
	return parts
}

// alike reports whether all members have the same priority, and none is in the proxy's zone or all
// are. That is the rule, and costs a look at each of them.
func (c *inPlaces) alike(members []*endpoint.Endpoint) bool {
	for _, e := range members {
		first, spec := members[0].Spec(), e.Spec()
		if c.Priority(spec) != c.Priority(first) || c.Zone != "" && (spec.Zone == c.Zone) != (first.Zone == c.Zone) {
			return false
		}
	}
	return true
}

// byZone divides a fail-over group by zones: the proxy's own, those to which a part of its requests
// goes, and all but the own one together, for when that is too busy or has been tried. It returns
// the group as it is if zones do not matter there.
func (c *inPlaces) byZone(l *part) []part {
	var names []string
	for _, e := range l.members {
		if name := e.Spec().Zone; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	own, has := slices.BinarySearch(names, c.Zone)
	if c.Zone == "" || !has || len(names) == 1 {
		return []part{*l}
	}
	at := func(kind PlaceKind, zone string) part {
		return part{spot: spot{l.priority, kind, zone}, info: Place{Priority: l.priority, Kind: kind, Zone: zone}}
	}
	each, others := make([]part, len(names)), at(OtherZones, "")
	for i, name := range names {
		each[i] = at(OtherZone, name)
	}
	each[own] = at(OwnZone, c.Zone)
	usable := l.usable
	for _, e := range l.members {
		can := len(usable) > 0 && usable[0] == e
		if can {
			usable = usable[1:]
		}
		i, _ := slices.BinarySearch(names, e.Spec().Zone)
		if each[i].add(e, can); i != own {
			others.add(e, can)
		}
	}
	zones := make([]zone, len(names))
	for i := range each {
		zones[i] = zone{each[i].capacity.usable, names[i] == ""}
	}
	for i := range each {
		each[i].info.Capacity = each[i].capacity.usable / max(l.capacity.usable, 1)
	}
	each[own].info.Fair = fairShare(zones, c.Share)
	others.info.Capacity = others.capacity.usable / max(l.capacity.usable, 1)
	parts := []part{each[own], others} // others: the proxy may spill to what follows its own zone
	for i, share := range zoneShares(zones, own, c.Share) {
		share *= l.info.Share
		if i == own {
			parts[0].info.Share = share
		} else if share > 0 {
			each[i].info.Share = share
			parts = append(parts, each[i])
		}
	}
	return parts
}
