package endpoint

// A moving average of an endpoint's latency and of its failures that decays with time, not
// with the number of samples: an endpoint that was slow a minute ago is not slow for ever. Both
// are packed into one word, so that an update is one compare-and-swap and is often not needed.

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// decayTime is how long a sample matters: the past weighs 1/e after it.
	decayTime = 10 * time.Second
	// sampleEvery thins out samples that would hardly move the average: most attempts of
	// a busy endpoint then end without writing the estimate.
	sampleEvery = decayTime / 4096
	// freshFor is how long a sample stays fresh: one that comes after a longer silence weighs
	// at least as much as all before it.
	freshFor = decayTime / 40
	// restAfter is how old the latest answer of an idle endpoint is when it is Resting.
	restAfter = time.Second
	// failStep is the share of the newest attempt in the level of failure.
	failStep = 1.0 / 8
	// failFloor is where a fading level of failure becomes zero.
	failFloor = 1.0 / 1024
)

// latency is the estimate that Latency and Failing read: a peak-sensitive moving average
// of latency, weighed by time, and a moving average of failure, weighed by attempts and
// fading with time. The zero value has measured nothing.
//
// Both numbers share one word, so that one compare-and-swap replaces them together. The
// instant has a word of its own: a reader that sees a new value with an old instant
// misjudges the decay of one moment, which changes no decision worth a lock.
type latency struct {
	word atomic.Uint64 // latency in ns in the upper half, failure in the lower: float32 bits
	at   atomic.Int64  // instant of the last change, in ns; 0: none yet
}

func pack(ns, failing float32) uint64 {
	return uint64(math.Float32bits(ns))<<32 | uint64(math.Float32bits(failing))
}

func unpack(w uint64) (ns, failing float32) {
	return math.Float32frombits(uint32(w >> 32)), math.Float32frombits(uint32(w))
}

// forgetTime is the age at which nothing is left of an estimate.
const forgetTime = 8 * decayTime

// decay is what is left of the past after d. It is (1-x/8)^8 and stands for exp(-x), with
// x = d/decayTime: three multiplications, and an end at forgetTime. A reader whose clock
// lags behind the last change by a little finds a little more than there was.
func decay(d int64) float32 {
	y := float32(max(int64(forgetTime)-d, 0)) * (1 / float32(forgetTime))
	y *= y
	y *= y
	return y * y
}

// observe learns from one outcome. regular: it is one of those that are taken whatever they
// say, age after the last one.
func (l *latency) observe(o Outcome) (age int64, regular bool) {
	sample := float32(max(o.Latency, 0))
	for {
		old, at := l.word.Load(), l.at.Load()
		ns, failing := unpack(old)
		age = int64(o.Now) - at
		peak := sample > ns
		if !o.Failed && !peak && failing == 0 && age < int64(sampleEvery) {
			return age, false
		}
		if l.word.CompareAndSwap(old, next(ns, failing, sample, age, o.Failed)) {
			l.at.Store(int64(o.Now))
			return age, age >= int64(sampleEvery)
		}
		if !o.Failed && !peak {
			return age, false // someone else's sample of the same moment does as well
		}
	}
}

// forgive makes the level of failure 0. The instant stays, so that the latency fades as before.
func (l *latency) forgive() {
	for {
		old := l.word.Load()
		ns, failing := unpack(old)
		if failing == 0 || l.word.CompareAndSwap(old, pack(ns, 0)) {
			return
		}
	}
}

// next is the estimate after one more outcome, age nanoseconds after the last.
func next(ns, failing, sample float32, age int64, failed bool) uint64 {
	k := decay(max(age, 0))
	failing *= k
	switch {
	case failed:
		failing += (1 - failing) * failStep
		// An error that comes at once says nothing good: failures only ever raise the
		// latency, and hold off its decay, so that failing fast attracts no requests.
		return pack(max(ns, sample), failing)
	case sample > ns:
		ns = sample
	case age > int64(freshFor):
		k = min(k, 0.5)
		ns = ns*k + sample*(1-k)
	default:
		ns = ns*k + sample*(1-k)
	}
	if failing -= failing * failStep; failing < failFloor {
		failing = 0
	}
	return pack(ns, failing)
}
