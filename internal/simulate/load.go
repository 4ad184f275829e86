package simulate

// Where requests come from: chance, or an access log.

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/poise-lb/poise/policy"
)

// An arrival is a request that comes.
type arrival struct {
	at         time.Duration // since the beginning
	key        uint64
	lot        uint64
	took       time.Duration // how long an endpoint of mean speed works on it; 0: the lot decides
	repeatable bool
}

// A source yields arrivals in the order of time. The same seed gives the same ones.
type source interface {
	next() (a arrival, ok bool)
}

// chance is a source of random requests.
type chance struct {
	load Load
	rate float64
	rand *rand.Rand
	at   float64 // seconds
	left int     // of the present group
}

// newChance makes a source of requests at a rate, in requests a second.
func newChance(l Load, rate float64, seed uint64) *chance {
	return &chance{load: l, rate: rate, rand: rand.New(rand.NewPCG(seed, 1))}
}

func (c *chance) next() (arrival, bool) {
	switch {
	case c.load.Arrivals == "even":
		c.at += 1 / c.rate
	case c.load.Arrivals == "poisson":
		c.at += c.rand.ExpFloat64() / c.rate
	case c.left > 0:
		c.left--
	default:
		c.at += c.rand.ExpFloat64() / c.rate * float64(c.load.Burst)
		c.left = c.load.Burst - 1
	}
	at := time.Duration(math.Round(c.at * float64(time.Second)))
	if at >= c.load.Duration {
		return arrival{}, false
	}
	lot := c.rand.Uint64()
	a := arrival{at: at, lot: lot, repeatable: true, key: keyOf(mix(lot^1) % uint64(c.load.Keys))}
	if c.load.Repeatable < 100 {
		a.repeatable = mix(lot^2)%100 < uint64(c.load.Repeatable)
	}
	return a, true
}

// keyOf is the hash of the n-th key.
func keyOf(n uint64) uint64 {
	var text [8]byte
	for i := range text {
		text[i] = byte(n >> (8 * i))
	}
	return policy.Hash(text[:])
}

// recorded is a source of the requests of a log, which are sorted by time.
type recorded struct{ left []arrival }

func (r *recorded) next() (arrival, bool) {
	if len(r.left) == 0 {
		return arrival{}, false
	}
	a := r.left[0]
	r.left = r.left[1:]
	return a, true
}
