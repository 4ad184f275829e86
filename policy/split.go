package policy

// Shares of named things: the services of a split, by weight. Like rendezvous hashing, each
// draws a score for the key and the best one wins, so that a change moves the fewest keys:
//
//	{v1: 95, v2: 5}             a twentieth of the keys is v2's
//	{v1: 90, v2: 10}            v2 keeps those, and has as many of v1's besides: no key goes back
//	{v1: 90, v2: 10}, v1 is not there    all are v2's, and v1's return to it

import "math"

// Shares divide keys among names by weight. They are never modified: any number of goroutines may
// use them at once.
type Shares struct {
	rivals  []rival
	weights []int
	total   int
}

// NewShares divides keys among names, of which weights has the weights by the same index. A name
// whose weight is 0 gets no key. The names decide which keys are whose, their order does not: the
// same names and weights give the same in every process.
func NewShares(names []string, weights []int) *Shares {
	s := &Shares{weights: weights}
	for i, name := range names {
		if weights[i] > 0 {
			s.total += weights[i]
			s.rivals = append(s.rivals, rival{hash: Hash([]byte(name)), share: 1 / float64(weights[i]), index: uint32(i)})
		}
	}
	return s
}

// Pick is the index of the name that has the key, among those for which ok returns true; -1: there
// is none. nil: all are. A random number is as good as a key. Pick does not allocate.
func (s *Shares) Pick(key uint64, ok func(i int) bool) int {
	best, bestScore := -1, math.Inf(1)
	for i := range s.rivals {
		v := &s.rivals[i]
		if at := score(mix(key^v.hash), v.share); at < bestScore && (ok == nil || ok(int(v.index))) {
			best, bestScore = int(v.index), at
		}
	}
	return best
}

// Of is the share of name i, from 0 to 1.
func (s *Shares) Of(i int) float64 {
	if s.total == 0 {
		return 0
	}
	return float64(s.weights[i]) / float64(s.total)
}
