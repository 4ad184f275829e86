package policy

// How the requests of a service are shared out among fail-over groups and zones: arithmetic alone,
// for places.go. Capacity is weight.
//
// # Fail-over groups
//
// A group carries all that it is given while at least OverflowBelow of its capacity may be picked,
// 70 % by default, and below that as much less as there is less of it. The rest goes to the next
// group, by the same rule. If all of them together carry less than everything, each one gets more,
// in proportion. With three groups:
//
//	usable of group 0, 1, 2        shares
//	5 of 5, 2 of 2, 1 of 1         100 %, 0, 0
//	4 of 5, 2 of 2, 1 of 1         100 %, 0, 0         4/5 is not below 70 %
//	2 of 5, 2 of 2, 1 of 1         57 %, 43 %, 0       40 % of 70 % are 57 %
//	2 of 5, 0 of 2, 1 of 1         57 %, 0, 43 %
//	1 of 5, 0 of 2, 0 of 1         100 %, 0, 0         nothing else is left
//
// A group that recovers endpoint by endpoint has its requests back in the same steps.
//
// # Zones
//
// Requests come by the proxies of all zones. The proxies of one zone bring the fair share of it: as
// much as those of each other zone, unless the operator says another number. All of that stays in
// the zone if its endpoints are at least that part of the capacity which may be picked now; otherwise
// as much of it as they are. The rest goes to the zones that have more than their own fair share, in
// proportion to what they have more. With zones a, b and c, all weights 1, and a proxy in zone a,
// whose fair share is 1/3:
//
//	usable in a, b, c    stays in a    goes elsewhere
//	4, 4, 4              100 %         nothing
//	6, 2, 2              100 %         nothing
//	2, 4, 4              60 %          20 % each: a has 2/10 of the capacity, which is 60 % of 1/3
//	1, 3, 6              30 %          70 % to c: b has 3/10, so nothing to spare
//	0, 4, 4              0             50 % each
//
// If the proxies of all zones do so, every endpoint has the same part of all requests per weight,
// and no more requests than necessary leave their zone. In the third line the endpoints of a have
// 60 % of 1/3, which is 2/10; those of b have 1/3 from their own zone and 20 % of 1/3 from zone a,
// which is 4/10.

import "math"

// A level is the capacity of one fail-over group: of all its members and of those that may be
// picked.
type level struct{ members, usable float64 }

// levelShares are the shares of the groups, in the order of levels; all are 0 if nothing may be
// picked. below is OverflowBelow.
func levelShares(levels []level, below float64) []float64 {
	shares := make([]float64, len(levels))
	left, sum := 1.0, 0.0
	for i, l := range levels {
		if l.usable <= 0 {
			continue
		}
		carries := min(1, l.usable/max(l.members, l.usable)/below)
		shares[i] = min(left, carries)
		left -= shares[i]
		sum += shares[i]
	}
	for i := range shares {
		if sum > 0 {
			shares[i] /= sum
		}
	}
	return shares
}

// A zone is the capacity of the endpoints of one zone that may be picked. unnamed: those that name
// no zone, so no proxy is there.
type zone struct {
	usable  float64
	unnamed bool
}

// zoneShares are the parts of the requests of a proxy in zone own that go to each of the zones; all
// are 0 if nothing may be picked. fair is the part of all requests that comes by proxies of zone own;
// 0: as much as of each other zone.
func zoneShares(zones []zone, own int, fair float64) []float64 {
	shares := make([]float64, len(zones))
	total, named := 0.0, 0.0
	for _, z := range zones {
		total += z.usable
		if !z.unnamed {
			named++
		}
	}
	if total == 0 {
		return shares
	}
	fair = fairShare(zones, fair)
	each := (1 - fair) / max(named-1, 1) // the fair share of each other zone
	spare, elsewhere := 0.0, 0.0
	for i, z := range zones {
		if i == own {
			continue
		}
		elsewhere += z.usable
		if z.unnamed {
			shares[i] = z.usable / total
		} else {
			shares[i] = max(0, z.usable/total-each)
		}
		spare += shares[i]
	}
	stays := min(1, zones[own].usable/(fair*total)+rounding)
	if zones[own].usable == 0 {
		stays = 0
	} else if elsewhere == 0 {
		stays = 1
	}
	for i, z := range zones {
		switch {
		case i == own:
			shares[i] = stays
		case spare > rounding:
			shares[i] *= (1 - stays) / spare
		case elsewhere > 0: // no zone has more than its fair share, as the operator has it
			shares[i] = (1 - stays) * z.usable / elsewhere
		}
	}
	return shares
}

// fairShare is the part of all requests that comes by the proxies of one of the zones: what the
// operator says, unless that is 0.
func fairShare(zones []zone, said float64) float64 {
	if said > 0 {
		return said
	}
	named := 0
	for _, z := range zones {
		if !z.unnamed {
			named++
		}
	}
	return 1 / float64(max(named, 1))
}

// rounding is by how much sums of fractions may be out.
const rounding = 1e-9

// coinOf makes an upper bound of coins of a share, from 0 to 1.
func coinOf(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(share * (1 << 64))
}
