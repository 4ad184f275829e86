package simulate

// How long an endpoint works on a request. A request carries 64 random bits, its lot, and a Time
// makes a duration of them: so a request is as heavy with every policy and at every endpoint
// of the same Time, and policies are compared by the same requests.

import (
	"fmt"
	"math"
	"time"
)

// A Time is a distribution of service times. Its short form is the mean.
type Time struct {
	Mean         time.Duration `yaml:"mean" doc:"mean time that an endpoint works on a request; bimodal: on an ordinary one" short:"true" default:"5ms" min:"1us" max:"1h"`
	Distribution string        `yaml:"distribution" doc:"how times are distributed" enum:"exponential,constant,lognormal,bimodal" default:"exponential"`
	Sigma        float64       `yaml:"sigma" doc:"lognormal: standard deviation of the logarithm" default:"1" min:"0.01" max:"5"`
	Slow         time.Duration `yaml:"slow" doc:"bimodal: time of a heavy request, which is always the same" default:"50ms" min:"1us" max:"1h"`
	Share        int           `yaml:"share" doc:"bimodal: percentage of heavy requests" default:"5" min:"1" max:"99" unit:"percent"`
}

// String is as in "5ms exponential".
func (t *Time) String() string {
	switch t.Distribution {
	case "bimodal":
		return fmt.Sprintf("%v exponential, %d %% of the requests %v", t.Mean, t.Share, t.Slow)
	case "lognormal":
		return fmt.Sprintf("%v lognormal (sigma %g)", t.Mean, t.Sigma)
	}
	return fmt.Sprintf("%v %s", t.Mean, t.Distribution)
}

// mean is that of all requests.
func (t *Time) mean() time.Duration {
	if t.Distribution != "bimodal" {
		return t.Mean
	}
	share := float64(t.Share) / 100
	return time.Duration(share*float64(t.Slow) + (1-share)*float64(t.Mean))
}

// of is the time of a request with that lot.
func (t *Time) of(lot uint64) time.Duration {
	switch t.Distribution {
	case "constant":
		return t.Mean
	case "lognormal": // whose mean is exp(mu + sigma²/2)
		radius, angle := math.Sqrt(-2*math.Log(uniform(lot))), 2*math.Pi*uniform(mix(lot))
		mu := math.Log(float64(t.Mean)) - t.Sigma*t.Sigma/2
		return time.Duration(math.Exp(mu + t.Sigma*radius*math.Cos(angle)))
	case "bimodal":
		if uniform(mix(lot)) <= float64(t.Share)/100 {
			return t.Slow
		}
	}
	return time.Duration(-math.Log(uniform(lot)) * float64(t.Mean))
}

// uniform is a number above 0, at most 1.
func uniform(lot uint64) float64 { return (float64(lot>>11) + 1) / (1 << 53) }

// mix makes other bits of x, which have nothing to do with it to look at: SplitMix64 (Steele, Lea,
// Flood: Fast Splittable Pseudorandom Number Generators, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
