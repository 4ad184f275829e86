//go:build race

package exchange

// underRace: the detector makes sync.Pool forget at random.
const underRace = true
