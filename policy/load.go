package policy

// Comparing two endpoints by load, for the policies that draw two and take the better.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// lighter chooses between a first candidate, drawn by weight, and a second: the first
// unless the second would be no busier per weight after taking the attempt than the first
// is before. With equal weights that is: the one with fewer in flight, the first in a tie.
func lighter(first, second *endpoint.Endpoint, now time.Duration, coin uint64) *endpoint.Endpoint {
	winner := first
	// The outcome cannot be predicted. It compiles to a conditional move, not a jump, as long as
	// nothing is loaded through winner below.
	if (second.InFlight()+1)*first.Weight() <= first.InFlight()*second.Weight() {
		winner = second
	}
	if first.Faultless() && second.Faultless() {
		return winner
	}
	return sounder(winner, first, second, now, coin)
}

// sounder returns winner, which is first or second, or else the other one, with the
// probability by which winner fails more: an endpoint that fails at once must not gain by
// being idle, and one that fails must still be tried now and then. coin is a random number
// used for nothing else.
func sounder(winner, first, second *endpoint.Endpoint, now time.Duration, coin uint64) *endpoint.Endpoint {
	loser := second
	if winner == second {
		loser = first
	}
	more := winner.Failing(now) - loser.Failing(now)
	if float32(uint32(coin)) < more*(1<<32) {
		return loser
	}
	return winner
}
