package policy

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// lighter chooses between a first candidate, drawn by weight, and a second: the first
// unless the second would be no busier per weight after taking the attempt than the first
// is before. With equal weights that is: the one with fewer in flight, the first in a tie.
func lighter(first, second *endpoint.Endpoint, now time.Duration, coin uint64) *endpoint.Endpoint {
	if (second.InFlight()+1)*first.Weight() <= first.InFlight()*second.Weight() {
		return sounder(second, first, now, coin)
	}
	return sounder(first, second, now, coin)
}

// sounder returns winner, or loser with the probability by which winner fails more: an
// endpoint that fails at once must not gain by being idle, and one that fails must still
// be tried now and then. coin is a random number used for nothing else.
func sounder(winner, loser *endpoint.Endpoint, now time.Duration, coin uint64) *endpoint.Endpoint {
	w := winner.Failing(now)
	if w == 0 {
		return winner
	}
	if float32(uint32(coin)) < (w-loser.Failing(now))*(1<<32) {
		return loser
	}
	return winner
}
