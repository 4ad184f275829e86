//go:build !race

package loop

// raceEnabled: the detector makes sync.Pool forget at random.
const raceEnabled = false
