package endpoint

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

// decay is what is left of the past after d. It stands for exp(-d/decayTime), monotone
// and within 2 % of it for the first decayTime, for the price of one division.
func decay(d int64) float32 {
	if d <= 0 {
		return 1
	}
	x := float32(d) / float32(decayTime)
	return 1 / (1 + x*(1+x*(0.5+x/6)))
}

// read returns both averages as of now.
func (l *latency) read(now time.Duration) (ns, failing float32) {
	w := l.word.Load()
	if w == 0 {
		return 0, 0
	}
	ns, failing = unpack(w)
	k := decay(int64(now) - l.at.Load())
	return ns * k, failing * k
}

// observe learns from one outcome.
func (l *latency) observe(o Outcome) {
	sample := float32(max(o.Latency, 0))
	for {
		old, at := l.word.Load(), l.at.Load()
		ns, failing := unpack(old)
		age := int64(o.Now) - at
		peak := sample > ns
		if !o.Failed && !peak && failing == 0 && age < int64(sampleEvery) {
			return
		}
		if l.word.CompareAndSwap(old, next(ns, failing, sample, age, o.Failed)) {
			l.at.Store(int64(o.Now))
			return
		}
		if !o.Failed && !peak {
			return // someone else's sample of the same moment does as well
		}
	}
}

// next is the estimate after one more outcome, age nanoseconds after the last.
func next(ns, failing, sample float32, age int64, failed bool) uint64 {
	k := decay(age)
	failing *= k
	switch {
	case failed:
		failing += (1 - failing) * failStep
		// An error that comes at once says nothing good: failures only ever raise the
		// latency, and hold off its decay, so that failing fast attracts nobody.
		return pack(max(ns, sample), failing)
	case sample == 0:
		// Nobody at fault and no response, as when a client leaves: nothing learned.
	case sample > ns:
		ns = sample
	default:
		ns = ns*k + sample*(1-k)
	}
	if failing -= failing * failStep; failing < failFloor {
		failing = 0
	}
	return pack(ns, failing)
}
