package simulate

// From the faults of a scenario to what servers know beforehand, and to the changes that happen
// at an instant: a crash ends attempts, a join changes the set.

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/config"
)

// A change is what happens to a server at an instant.
type change struct {
	at     time.Duration
	server *server
	kind   changeKind
	fault  *Fault
}

type changeKind uint8

const (
	crashes changeKind = iota
	coolsDown
	joins
	leaves
)

// timesMax is how often a fault may happen in a run, all its endpoints together.
const timesMax = 100_000

// plan spreads the faults over the servers, and returns the changes in the order of time. end is
// the end of the run; start its beginning, from which a scenario counts.
func plan(faults []Fault, servers []*server, start, end time.Duration) ([]change, error) {
	var changes []change
	for i := range faults {
		f := &faults[i]
		found, err := find(f.Endpoints, servers, config.Key(config.Index("faults", i), "endpoints"))
		if err != nil {
			return nil, err
		}
		if f.Every > 0 && (end-start)/f.Every*time.Duration(len(found)) > timesMax {
			return nil, config.NewErrors(config.Problem{Path: config.Key(config.Index("faults", i), "every"), Value: f.Every.String(),
				Message: fmt.Sprintf("every %v is more than %d times in %v", f.Every, timesMax, end-start)})
		}
		for nth, n := range found {
			s := servers[n]
			from := start + f.At + time.Duration(nth)*f.Stagger
			for from < end {
				to := 2 * end // never
				if f.For > 0 {
					to = from + f.For
				}
				changes = append(changes, f.happens(s, from, to)...)
				if f.Every == 0 {
					break
				}
				from += f.Every
			}
		}
	}
	for _, s := range servers {
		for _, list := range []*spans{&s.slow, &s.stall, &s.fail, &s.flaky, &s.down} {
			slices.SortStableFunc(*list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	return changes, nil
}

// happens is f at one server from one instant to another.
func (f *Fault) happens(s *server, from, to time.Duration) []change {
	one := span{from, to, f.Factor}
	switch f.Kind {
	case "slow":
		s.slow = append(s.slow, one)
	case "stall":
		s.stall = append(s.stall, one)
	case "fail":
		s.fail = append(s.fail, one)
	case "flaky":
		one.factor = float64(f.Share) / 100
		s.flaky = append(s.flaky, one)
	case "crash":
		s.down = append(s.down, one)
		return []change{{from, s, crashes, f}}
	case "restart":
		s.down = append(s.down, one)
		return []change{{from, s, crashes, f}, {to, s, coolsDown, f}}
	case "cold":
		return []change{{from, s, coolsDown, f}}
	case "join":
		s.absent = true
		return []change{{from, s, joins, f}}
	case "leave":
		out := []change{{from, s, leaves, f}}
		if f.For > 0 {
			out = append(out, change{to, s, joins, f})
		}
		return out
	}
	return nil
}

// find returns the numbers of the servers that words mean, in their order. An error is a
// *config.Errors about the word that means none; at is the path of words.
func find(words []string, servers []*server, at string) (found []int, err error) {
	for i, word := range words {
		some, err := matching(word, specsOf(servers), func(i int) int { return len(servers[i].free) })
		if err != nil {
			return nil, config.NewErrors(config.Problem{Path: config.Index(at, i), Value: word, Message: err.Error()})
		}
		found = append(found, some...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
