package policy

// What pickers with places or a subset say of themselves: their places, and what the pickers within
// say, of the place that an endpoint or a key belongs to.

import (
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// A Placer is a Picker that divides the endpoints.
type Placer interface {
	// Places lists the parts, the preferred ones first. There is one at least.
	Places() []Place
}

// Overflow is the part of the requests that endpoints of other priorities than the first one get; 0 of
// a Picker without places.
func Overflow(p Picker) (share float64) {
	if all := placesOf(p); all != nil {
		for i := range all.places {
			if all.places[i].priority != all.places[0].priority {
				share += all.places[i].info.Share
			}
		}
	}
	return share
}

// Places implements Placer.
func (p *placesPicker) Places() []Place {
	all := make([]Place, len(p.places))
	for i := range p.places {
		one := &all[i]
		*one = p.places[i].info
		if s := subsetOf(p.places[i].picker); s != nil {
			one.Subset, one.picked = s.info.Subset, s.usable
		}
		one.Why = one.why(all[:i], p.below) + one.subset()
	}
	return all
}

// Places implements Placer.
func (p *subsetPicker) Places() []Place {
	one := p.info
	one.Why = fmt.Sprintf("%d of %d usable", one.Usable, one.Members) + one.subset()
	return []Place{one}
}

// why says what the share of a place comes from. before are the places before it.
func (p *Place) why(before []Place, below float64) string {
	count := fmt.Sprintf("%d of %d usable", p.Usable, p.Members)
	switch p.Kind {
	case OwnZone:
		return fmt.Sprintf("%s, %.0f %% of the capacity; the fair share of the zone is %.0f %%", count, 100*p.Capacity, 100*p.Fair)
	case OtherZone:
		return fmt.Sprintf("%s, %.0f %% of the capacity: more than its own share", count, 100*p.Capacity)
	case OtherZones:
		return count + ", for when the zone is too busy or was tried"
	}
	lower := 0.0
	for i := range before {
		lower += before[i].Share
	}
	switch {
	case p.Usable == 0:
	case p.Share == 0:
		count += ": not needed"
	case lower > 0:
		count += fmt.Sprintf(": what is before it has less than %.0f %% left", 100*below)
	case p.Share < 1:
		count += fmt.Sprintf(", less than %.0f %%: the rest goes on", 100*below)
	}
	return count
}

// subset says how many of the endpoints a proxy uses, if not all.
func (p *Place) subset() string {
	if p.Subset == p.Usable {
		return ""
	}
	return fmt.Sprintf("; this proxy uses %d of them", p.Subset)
}

// Score implements Scorer: by the picker of the place of e.
func (p *placesPicker) Score(e *endpoint.Endpoint, now time.Duration) (float64, string) {
	for i := range p.places {
		if slices.Contains(p.places[i].info.picked, e) {
			return scoreBy(p.places[i].picker, e, now)
		}
	}
	return 0, ""
}

// Score implements Scorer.
func (p *subsetPicker) Score(e *endpoint.Endpoint, now time.Duration) (float64, string) {
	if !slices.Contains(p.usable, e) {
		return 0, ""
	}
	return scoreBy(p.picker, e, now)
}

// scoreBy is the Score of a picker that may have none.
func scoreBy(p Picker, e *endpoint.Endpoint, now time.Duration) (float64, string) {
	if s, ok := p.(Scorer); ok {
		return s.Score(e, now)
	}
	return 0, ""
}

// Owner implements Owner.
func (p *ownedPlaces) Owner(key uint64) *endpoint.Endpoint {
	return p.places[p.choose(&Attempt{Key: key})].picker.(Owner).Owner(key)
}

// Spill implements Owner.
func (p *ownedPlaces) Spill(a *Attempt) *endpoint.Endpoint {
	return p.places[p.choose(a)].picker.(Owner).Spill(a)
}

// Owner implements Owner.
func (p *ownedSubset) Owner(key uint64) *endpoint.Endpoint { return p.picker.(Owner).Owner(key) }

// Spill implements Owner.
func (p *ownedSubset) Spill(a *Attempt) *endpoint.Endpoint { return p.picker.(Owner).Spill(a) }

var (
	_ Placer = (*placesPicker)(nil)
	_ Placer = (*subsetPicker)(nil)
	_ Scorer = (*placesPicker)(nil)
	_ Scorer = (*subsetPicker)(nil)
	_ Owner  = (*ownedPlaces)(nil)
	_ Owner  = (*ownedSubset)(nil)
)
