//go:build race

package fair

// raceEnabled: the detector takes most of the time, and what is left says nothing.
const raceEnabled = true
