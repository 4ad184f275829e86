package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// A spread is endpoints of a test: zone, priority, weight, and whether it may be picked.
type spread struct {
	zone     string
	priority int
	weight   int
	up       bool
}

// spreads makes endpoints. The usable ones are a part of the members, in the same order.
func spreads(list []spread) (members, usable []*endpoint.Endpoint) {
	for i, s := range list {
		e := endpoint.New(endpoint.Spec{
			ID:     endpoint.ID{Scheme: "http", Address: fmt.Sprintf("10.0.%03d.%03d:80", i>>8, i&255)},
			Weight: float64(s.weight), Zone: s.zone, Priority: s.priority,
		})
		members = append(members, e)
		if s.up {
			usable = append(usable, e)
		}
	}
	return members, usable
}

// drawn is the part of the attempts that each endpoint gets.
func drawn(p Picker, picks int) map[*endpoint.Endpoint]float64 {
	parts := make(map[*endpoint.Endpoint]float64)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range picks {
		if e := p.Pick(&Attempt{Seq: uint64(i), Rand: r.Uint64(), Now: time.Minute}); e != nil {
			parts[e] += 1 / float64(picks)
		}
	}
	return parts
}

// The tables in the comments of shares.go.
func TestSharesAsDocumented(t *testing.T) {
	up := func(priority, up, of int) (out []spread) {
		for i := range of {
			out = append(out, spread{"", priority, 1, i < up})
		}
		return out
	}
	for _, test := range []struct {
		up   [3]int
		want [3]float64
	}{
		{[3]int{5, 2, 1}, [3]float64{1, 0, 0}},
		{[3]int{4, 2, 1}, [3]float64{1, 0, 0}},
		{[3]int{2, 2, 1}, [3]float64{4.0 / 7, 3.0 / 7, 0}},
		{[3]int{2, 0, 1}, [3]float64{4.0 / 7, 0, 3.0 / 7}},
		{[3]int{1, 0, 0}, [3]float64{1, 0, 0}},
		{[3]int{0, 0, 0}, [3]float64{0, 0, 0}},
	} {
		list := slices.Concat(up(0, test.up[0], 5), up(1, test.up[1], 2), up(2, test.up[2], 1))
		got := [3]float64{}
		for e, part := range drawn(first(InPlaces(Random(), Places{}), list), 20_000) {
			got[e.Spec().Priority] += part
		}
		for i := range got {
			if math.Abs(got[i]-test.want[i]) > 0.002 {
				t.Errorf("%v usable: shares %.3f, want %.3f", test.up, got, test.want)
				break
			}
		}
	}
	for _, test := range []struct {
		up   [3]int
		want [3]float64
	}{
		{[3]int{4, 4, 4}, [3]float64{1, 0, 0}},
		{[3]int{6, 2, 2}, [3]float64{1, 0, 0}},
		{[3]int{2, 4, 4}, [3]float64{0.6, 0.2, 0.2}},
		{[3]int{1, 3, 6}, [3]float64{0.3, 0, 0.7}},
		{[3]int{0, 4, 4}, [3]float64{0, 0.5, 0.5}},
	} {
		var list []spread
		for i, zone := range []string{"a", "b", "c"} {
			for n := range 6 {
				list = append(list, spread{zone, 0, 1, n < test.up[i]})
			}
		}
		got := [3]float64{}
		for e, part := range drawn(first(InPlaces(Random(), Places{Zone: "a"}), list), 20_000) {
			got[e.Spec().Zone[0]-'a'] += part
		}
		for i := range got {
			if math.Abs(got[i]-test.want[i]) > 0.002 {
				t.Errorf("%v usable: shares %.3f, want %.3f", test.up, got, test.want)
				break
			}
		}
	}
}

// first is the picker of a list.
func first(p Policy, list []spread) Picker {
	members, usable := spreads(list)
	return p.Build(members, usable, nil)
}

// TestZonesTogetherAreFair: if the proxies of all zones bring as many requests, each zone gets in sum
// what its capacity is, and no zone gets a request of another one that has no capacity to spare.
func TestZonesTogetherAreFair(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 2000 {
		n := 2 + r.IntN(5)
		zones := make([]zone, n)
		total := 0.0
		for i := range zones {
			zones[i].usable = float64(r.IntN(8) * (1 + r.IntN(5)))
			total += zones[i].usable
		}
		if total == 0 {
			continue
		}
		gets := make([]float64, n)
		for own := range zones {
			sum := 0.0
			for i, share := range zoneShares(zones, own, 0) {
				if share < 0 || share > 1+1e-9 || share > 0 && zones[i].usable == 0 {
					t.Fatalf("%v of zone %d: zone %d gets %v", zones, own, i, share)
				}
				gets[i] += share / float64(n)
				sum += share
			}
			if math.Abs(sum-1) > 1e-6 {
				t.Fatalf("%v of zone %d: all get %v", zones, own, sum)
			}
		}
		for i := range zones {
			if want := zones[i].usable / total; math.Abs(gets[i]-want) > 1e-6 {
				t.Fatalf("%v: zone %d gets %v of all requests, want %v", zones, i, gets[i], want)
			}
		}
	}
}

// TestLevelSharesOracle pours requests into groups drop by drop.
func TestLevelSharesOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for range 500 {
		levels := make([]level, 1+r.IntN(4))
		below := []float64{0.01, 0.5, 0.7, 1}[r.IntN(4)]
		for i := range levels {
			levels[i].members = float64(1 + r.IntN(10))
			levels[i].usable = float64(r.IntN(int(levels[i].members) + 1))
		}
		const drops = 1000
		want, carried := make([]float64, len(levels)), 0.0
		for range drops {
			for i, l := range levels {
				if want[i] < drops*min(1, l.usable/l.members/below)-0.5 {
					want[i]++
					carried++
					break
				}
			}
		}
		for i, got := range levelShares(levels, below) {
			if math.Abs(got-want[i]/max(carried, 1)) > 0.01 {
				t.Fatalf("%v below %v: group %d has %v, want %v of %v", levels, below, i, got, want[i], carried)
			}
		}
	}
}

// TestPlacesOracle compares what endpoints get with a naive reckoning, for any mixture of
// priorities, zones and weights.
func TestPlacesOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for range 60 {
		var list []spread
		for range 1 + r.IntN(25) {
			list = append(list, spread{[]string{"", "a", "b", "c"}[r.IntN(4)], r.IntN(3), 1 + r.IntN(5), r.IntN(4) > 0})
		}
		members, usable := spreads(list)
		c := Places{Zone: []string{"", "a", "b"}[r.IntN(3)], Share: []float64{0, 0, 0.5}[r.IntN(3)], OverflowBelow: 0.7}
		got := drawn(InPlaces(Random(), c).Build(members, usable, nil), 20_000)
		want := naiveShares(c, members, usable)
		for _, e := range members {
			if math.Abs(got[e]-want[e]) > 0.02 {
				t.Fatalf("%+v of %+v: %v gets %.3f, want %.3f", c, list, e.ID(), got[e], want[e])
			}
		}
	}
}

// naiveShares goes by the description in shares.go, endpoint by endpoint.
func naiveShares(c Places, members, usable []*endpoint.Endpoint) map[*endpoint.Endpoint]float64 {
	weight := func(list []*endpoint.Endpoint, is func(*endpoint.Spec) bool) (sum float64) {
		for _, e := range list {
			if is(e.Spec()) {
				sum += float64(e.Weight())
			}
		}
		return sum
	}
	out := make(map[*endpoint.Endpoint]float64)
	left, sum := 1.0, 0.0
	for p := range 3 {
		level := func(s *endpoint.Spec) bool { return s.Priority == p }
		all, up := weight(members, level), weight(usable, level)
		if up == 0 {
			continue
		}
		share := min(left, up/all/c.OverflowBelow)
		left, sum = left-share, sum+share
		zones := map[string]bool{}
		for _, e := range members {
			if level(e.Spec()) {
				zones[e.Spec().Zone] = true
			}
		}
		in := func(zone string) float64 {
			return weight(usable, func(s *endpoint.Spec) bool { return level(s) && s.Zone == zone }) / up
		}
		part := map[string]float64{}
		if named := len(zones); c.Zone == "" || !zones[c.Zone] || named == 1 {
			for zone := range zones {
				part[zone] = in(zone)
			}
		} else {
			if zones[""] {
				named--
			}
			fair, spare, others := c.Share, 0.0, 0.0
			if fair == 0 {
				fair = 1 / float64(named)
			}
			for zone := range zones {
				if zone == c.Zone {
					continue
				}
				due := (1 - fair) / max(1, float64(named-1))
				if zone == "" {
					due = 0
				}
				part[zone] = max(0, in(zone)-due)
				spare, others = spare+part[zone], others+in(zone)
			}
			part[c.Zone] = min(1, in(c.Zone)/fair)
			if others == 0 {
				part[c.Zone] = 1
			}
			for zone := range zones {
				switch {
				case zone == c.Zone:
				case spare > 1e-9:
					part[zone] *= (1 - part[c.Zone]) / spare
				case others > 0:
					part[zone] = in(zone) / others * (1 - part[c.Zone])
				}
			}
		}
		for _, e := range usable {
			if zone := e.Spec().Zone; level(e.Spec()) && in(zone) > 0 {
				out[e] = share * part[zone] * float64(e.Weight()) / (in(zone) * up)
			}
		}
	}
	for e := range out {
		out[e] /= sum
	}
	return out
}

// Where there is one place, Build returns what the policy itself builds.
func TestOnePlaceCostsNothing(t *testing.T) {
	for _, c := range []struct {
		list   []spread
		places Places
	}{
		{[]spread{{"", 0, 1, true}, {"", 0, 1, true}}, Places{Zone: "a"}},
		{[]spread{{"a", 0, 1, true}, {"a", 0, 1, false}}, Places{Zone: "a"}},
		{[]spread{{"b", 0, 1, true}, {"c", 0, 1, true}}, Places{Zone: "a"}},
		{[]spread{{"a", 2, 1, true}, {"b", 2, 1, true}}, Places{}},
		{nil, Places{Zone: "a"}},
	} {
		members, usable := spreads(c.list)
		if p, ok := InPlaces(LeastTime(), c.places).Build(members, usable, nil).(*leastTimePicker); !ok {
			t.Errorf("%+v: a picker of %T", c, p)
		}
	}
}

// A key stays in its place, and at its endpoint there, while other keys move because the share has
// changed; and a place that grows takes keys, but gives none away.
func TestKeysStayInTheirPlace(t *testing.T) {
	var list []spread
	for i := range 20 {
		list = append(list, spread{"", i / 10, 1, true})
	}
	members, _ := spreads(list)
	p := InPlaces(ConsistentHash(HashConfig{}), Places{})
	var prev Picker
	var before []*endpoint.Endpoint
	for down := range 11 {
		usable := slices.Concat(members[down:10], members[10:])
		prev = p.Build(members, usable, prev)
		var at []*endpoint.Endpoint
		r := rand.New(rand.NewPCG(9, 9))
		for range 2000 {
			a := Attempt{Key: r.Uint64() | 1, Rand: r.Uint64(), Seq: r.Uint64()}
			e := prev.Pick(&a)
			if a.Rand, a.Seq = r.Uint64(), r.Uint64(); prev.Pick(&a) != e {
				t.Fatal("a key does not stay")
			}
			at = append(at, e)
		}
		for i := range before {
			was, is := before[i].Spec().Priority, at[i].Spec().Priority
			if was == 1 && at[i] != before[i] {
				t.Fatalf("%d down: a key of the backup moved from %v to %v", down, before[i].ID(), at[i].ID())
			}
			if was == 0 && is == 0 && at[i] != before[i] && before[i] != members[down-1] {
				t.Fatalf("%d down: a key moved from %v to %v", down, before[i].ID(), at[i].ID())
			}
		}
		before = at
	}
	if owner := prev.(Owner).Owner(before[0].Hash()); owner == nil {
		t.Error("a key has no owner")
	}
}

// When the own zone is busy and clearly slower than another one, requests leave it, and no more of
// them than make the others as busy.
func TestABusyZoneSpills(t *testing.T) {
	load := func(e *endpoint.Endpoint, inFlight int, latency time.Duration) {
		now := time.Minute - time.Second
		for i := range 20 {
			e.Begin(now + time.Duration(i)*40*time.Millisecond)
			e.End(endpoint.Outcome{Now: now + time.Duration(i)*40*time.Millisecond, Latency: latency})
		}
		for range inFlight {
			e.Begin(time.Minute)
		}
	}
	for _, test := range []struct {
		name             string
		here, there      int
		slow, fast       time.Duration
		least, most      float64
		known, keyed, up bool
	}{
		{"busy and slow", 12, 0, 80 * time.Millisecond, 10 * time.Millisecond, 1, 1, true, false, true},
		{"the others are as busy", 12, 12, 80 * time.Millisecond, 10 * time.Millisecond, 0, 0, true, false, true},
		{"not twice as slow", 12, 0, 15 * time.Millisecond, 10 * time.Millisecond, 0, 0, true, false, true},
		{"no load", 3, 0, 80 * time.Millisecond, 10 * time.Millisecond, 0, 0, true, false, true},
		{"not known", 12, 0, 80 * time.Millisecond, 0, 0.005, 0.03, false, false, true},
		{"a key", 12, 0, 80 * time.Millisecond, 10 * time.Millisecond, 0, 0, true, true, true},
		{"no other may be picked", 12, 0, 80 * time.Millisecond, 10 * time.Millisecond, 0, 0, true, false, false},
	} {
		members, usable := spreads([]spread{{"a", 0, 1, true}, {"a", 0, 1, true}, {"b", 0, 1, test.up}, {"b", 0, 1, test.up}})
		for _, e := range members[:2] {
			load(e, test.here, test.slow)
		}
		for _, e := range members[2:] {
			if test.known {
				load(e, test.there, test.fast)
			}
		}
		p := InPlaces(P2C(), Places{Zone: "a"}).Build(members, usable, nil)
		r, gone := rand.New(rand.NewPCG(7, 7)), 0.0
		for range 10_000 {
			a := Attempt{Rand: r.Uint64(), Seq: r.Uint64(), Now: time.Minute}
			if test.keyed {
				a.Key = r.Uint64() | 1
			}
			if p.Pick(&a).Spec().Zone == "b" {
				gone++
			}
		}
		gone /= 10_000
		if gone < test.least || gone > test.most {
			t.Errorf("%s: %.3f leave, want %v to %v", test.name, gone, test.least, test.most)
		}
	}
}

func TestPriorities(t *testing.T) {
	c := Places{PriorityKey: "tier"}
	for text, want := range map[string]int{"": 0, "1": 1, "15": 15, "16": 0, "-1": 0, "second": 0, "1.5": 0} {
		if got := c.Priority(&endpoint.Spec{Metadata: map[string]string{"tier": text}}); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := c.Priority(&endpoint.Spec{Priority: 3, Metadata: map[string]string{"tier": "1"}}); got != 3 {
		t.Errorf("of the Spec: %d", got)
	}
}

// What places say of themselves: their shares add up, and they have all endpoints.
func TestPlacesOfThemselves(t *testing.T) {
	members, usable := spreads([]spread{{"a", 0, 1, true}, {"a", 0, 1, false}, {"b", 0, 1, true}, {"", 0, 2, true}, {"b", 1, 1, true}})
	p := InPlaces(InSubset(LeastTime(), 1, "x"), Places{Zone: "a"}).Build(members, usable, nil).(Placer)
	var text []string
	sum := 0.0
	for _, one := range p.Places() {
		sum += one.Share
		text = append(text, fmt.Sprintf("%v: %.2f, %d of %d, uses %d of weight %d", &one, one.Share, one.Usable, one.Members, one.Subset, one.Weight()))
	}
	// Zone a has 1/4 of what is usable, of a fair share of 1/2. Of b, with its own 1/2, nothing is
	// left, so the others go to the endpoint without a zone.
	want := []string{
		"priority 0, zone a: 0.50, 1 of 2, uses 1 of weight 1",
		"priority 0, other zones: 0.00, 2 of 2, uses 1 of weight 1",
		"priority 0, no zone: 0.50, 1 of 1, uses 1 of weight 2",
		"priority 1: 0.00, 1 of 1, uses 1 of weight 1",
	}
	if len(text) == len(want) { // which of two endpoints the subset has is as it is
		want[1] = text[1]
	}
	if !slices.Equal(text, want) || math.Abs(sum-1) > 1e-6 {
		t.Errorf("%q, want %q", text, want)
	}
	if _, unit := p.(Scorer).Score(members[0], time.Minute); unit == "" {
		t.Error("no score")
	}
}
