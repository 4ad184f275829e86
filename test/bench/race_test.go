//go:build race

package bench

// underRace: the detector makes sync.Pool forget at random.
const underRace = true
