package simulate

// The requests of an access log. What a log says of an endpoint is how long it took, its queue
// included; what it can do at once is not in it. So a request takes the time that it took, more or
// less by how fast its endpoint was in general compared with the one that gets it now:
//
//	endpoint   median in the log   factor
//	A          10 ms               1
//	B          10 ms               1
//	C          30 ms               3
//
// A request that took 24 ms at C weighs 8 ms: it takes 8 ms at A and 24 ms at C. Requests whose time
// the log does not have, and those that failed there (5xx), which says nothing about how heavy
// they are, take the time of another one; if it has no times at all, the scenario's distribution
// has them.

import (
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/accesslines"
	"github.com/poise-lb/poise/policy"
)

// requestsMax bounds the memory that a log takes.
const requestsMax = 10_000_000

// Recorded is what a log has of requests. Make one with NewRecorded, Add each entry, then Finish.
type Recorded struct {
	Logged *Histogram // latencies as the log has them; empty: it has none

	arrivals  []arrival
	at        []int32 // the endpoint that served each one, by its place in addresses; -1: not known
	addresses map[string]int32
	names     []string
	zones     []string // of names
	factors   []float64
	first     time.Time
	mean      time.Duration
}

// NewRecorded returns one without requests.
func NewRecorded() *Recorded {
	return &Recorded{Logged: newHistogram(), addresses: make(map[string]int32)}
}

// Add takes an entry of a log. The entries of a log are in the order in which they ended, which
// need not be the order in which they came.
func (r *Recorded) Add(e *accesslines.Entry) error {
	if len(r.arrivals) >= requestsMax {
		return fmt.Errorf("the log has more than %d requests: take a part of it", requestsMax)
	}
	if len(r.arrivals) == 0 {
		r.first = e.Began
	}
	a := arrival{at: e.Began.Sub(r.first), key: policy.Hash([]byte(e.Client)), took: e.Took, repeatable: e.Repeatable()}
	if e.Status >= 500 {
		a.took = 0
	}
	if e.Whole > 0 {
		r.Logged.add(e.Whole, Parts{})
	}
	where := int32(-1)
	if e.Endpoint != "" {
		var known bool
		if where, known = r.addresses[e.Endpoint]; !known {
			where = int32(len(r.names))
			r.addresses[e.Endpoint] = where
			r.names, r.zones = append(r.names, e.Endpoint), append(r.zones, e.Zone)
		}
	}
	r.arrivals, r.at = append(r.arrivals, a), append(r.at, where)
	return nil
}

// Finish sorts the requests and works out how fast the endpoints were. seed is for what the log
// does not say.
func (r *Recorded) Finish(seed int, otherwise *Time) error {
	if len(r.arrivals) == 0 {
		return fmt.Errorf("the log has no request")
	}
	r.weigh()
	least := r.arrivals[0].at
	for i := range r.arrivals {
		least = min(least, r.arrivals[i].at)
	}
	var known []time.Duration
	for i := range r.arrivals {
		a := &r.arrivals[i]
		a.at -= least
		a.lot = mix(uint64(seed)<<32 ^ uint64(i))
		if a.took > 0 && r.at[i] >= 0 {
			a.took = max(1, time.Duration(float64(a.took)/r.factors[r.at[i]]))
		}
		if a.took > 0 {
			known = append(known, a.took)
		}
	}
	r.complete(known, otherwise)
	slices.SortStableFunc(r.arrivals, func(a, b arrival) int { return int(min(max(a.at-b.at, -1), 1)) })
	if r.Span(1) <= 0 {
		return fmt.Errorf("all requests of the log came in the same instant")
	}
	return nil
}

// complete gives the requests that have no time one of those that are known, or, if there are none,
// one of the distribution, and works out the mean.
func (r *Recorded) complete(known []time.Duration, otherwise *Time) {
	sum := 0.0
	for i := range r.arrivals {
		a := &r.arrivals[i]
		if a.took == 0 && len(known) > 0 {
			a.took = known[mix(a.lot)%uint64(len(known))]
		}
		if a.took > 0 {
			sum += float64(a.took)
		} else {
			sum += float64(otherwise.of(a.lot))
		}
	}
	r.mean = time.Duration(sum / float64(len(r.arrivals)))
}

// weigh works out the factors: the median of an endpoint, compared with the median of all medians.
func (r *Recorded) weigh() {
	took := make([][]time.Duration, len(r.names))
	for i, a := range r.arrivals {
		if n := r.at[i]; n >= 0 && a.took > 0 {
			took[n] = append(took[n], a.took)
		}
	}
	median := func(list []time.Duration) time.Duration {
		if len(list) == 0 {
			return 0
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	var medians []time.Duration
	r.factors = make([]float64, len(r.names))
	for n := range took {
		if m := median(took[n]); m > 0 {
			medians = append(medians, m)
			r.factors[n] = float64(m)
		}
	}
	usual := float64(max(1, median(medians)))
	for n, f := range r.factors {
		r.factors[n] = 1
		if f > 0 {
			r.factors[n] = f / usual
		}
	}
}

// N is the number of requests.
func (r *Recorded) N() int { return len(r.arrivals) }

// factor is how many times as long as usual an endpoint works; 1 if the log does not know it.
func (r *Recorded) factor(address string) float64 {
	if n, ok := r.addresses[address]; ok {
		return r.factors[n]
	}
	return 1
}

// Span is the time from the first request to the last.
func (r *Recorded) Span(speed float64) time.Duration {
	return time.Duration(float64(r.arrivals[len(r.arrivals)-1].at) / speed)
}

func (r *Recorded) rate() float64 { return float64(len(r.arrivals)) / r.Span(1).Seconds() }

// AtOnce is the number of requests that an endpoint of the log worked on at once in 99 % of its
// time: with so many workers it would not have let more of them wait than it did. 1 at least.
func (r *Recorded) AtOnce() int {
	type mark struct { // a begin or an end
		at time.Duration
		by int
	}
	var all []mark
	for _, a := range r.arrivals {
		if a.took > 0 {
			all = append(all, mark{a.at, 1}, mark{a.at + a.took, -1})
		}
	}
	slices.SortFunc(all, func(a, b mark) int {
		if a.at != b.at {
			return int(min(max(a.at-b.at, -1), 1))
		}
		return a.by - b.by
	})
	held := make(map[int]time.Duration)
	open, last, total := 0, time.Duration(0), time.Duration(0)
	for _, m := range all {
		held[open] += m.at - last
		total += m.at - last
		last = m.at
		open += m.by
	}
	sum, level := time.Duration(0), 0
	for sum*100 < total*99 {
		sum += held[level]
		level++
	}
	n := max(1, len(r.names))
	return max(1, (level-1+n-1)/n)
}

func (r *Recorded) source(speed float64) source {
	if speed == 1 {
		return &recorded{r.arrivals}
	}
	faster := slices.Clone(r.arrivals)
	for i := range faster {
		faster[i].at = time.Duration(float64(faster[i].at) / speed)
	}
	return &recorded{faster}
}

// FromLog is the subject of a log alone: the endpoints that it names, or eight made-up ones, with
// the default settings.
func FromLog(r *Recorded) *Subject {
	s := &Subject{Name: "log", Recorded: r}
	for i, name := range r.names {
		s.specs = append(s.specs, endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: name}, Zone: r.zones[i]})
	}
	if len(s.specs) == 0 {
		s.makeUp(madeUp)
		s.Note = fmt.Sprintf("the log names no endpoints: %d made-up ones take their place", madeUp)
	}
	slices.SortFunc(s.specs, func(a, b endpoint.Spec) int { return a.Compare(b.ID) })
	return s
}
