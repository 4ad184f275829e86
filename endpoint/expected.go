package endpoint

// What an attempt that begins now may expect: the typical latency of the endpoint, raised while
// it is silent. Policies compare it among endpoints, where the peak-sensitive Latency would
// mislead: after a pause of half a second that each of them had once, the peaks of all of them are
// half a second, and say nothing.
//
//	answers of 5 ms on average                     5 ms, as long as they come
//	one of them takes 500 ms                       5.4 ms: one peak in a busy time is no rule
//	8.6 s without any answer                       half of it: what is not confirmed fades
//	an attempt, and no answer for 80 ms            80 ms: it may be stuck
//	the same for more than 5 s                     5 ms again: this is a stream, not a pause
//	no answer ever, nothing in flight              Unknown
//	fewer than eight answers, nothing in flight    Unknown: the first ones say little
//	no answer ever, the first attempt under way    Unanswered
//
// The average is geometric: it is taken on a logarithmic scale, on which a pause is no more than
// a few steps and a slow endpoint as far from the others as it is slow.

import (
	"math"
	"sync/atomic"
	"time"
)

// A Level is a time on a logarithmic scale: an Octave more is twice the time. It is made of the
// bits of a float32, whose upper ones are an exponent: that is a logarithm to base 2 of the
// nanoseconds, by straight lines between the powers of two and at most 0.09 octaves off.
type Level int32

const (
	// Octave is the distance of two Levels of which one stands for twice the time.
	Octave Level = 1 << 23
	// Unknown is the Level of an endpoint that was never measured, or so long ago that it is
	// forgotten.
	Unknown Level = 0
	// Unanswered is the Level of an endpoint of which nothing is known and whose answer to the
	// first attempt is not there yet: beyond any real time.
	Unanswered Level = math.MaxInt32
)

// levelOf is the Level of a time of at least a nanosecond.
func levelOf(ns float32) Level { return Level(math.Float32bits(ns)) }

// Duration is the time that l stands for; 0 of Unknown and of Unanswered.
func (l Level) Duration() time.Duration {
	if l <= Unknown || l == Unanswered {
		return 0
	}
	return time.Duration(math.Float32frombits(uint32(l)))
}

const (
	// A new sample weighs its age over memory, but at least memoryMost's share, so that
	// a busy endpoint is judged by some hundred answers and not by the last few, and at most
	// that of memoryLeast.
	memory      = time.Second
	memoryMost  = 1.0 / 64
	memoryLeast = 1.0 / 8
	// freshShare is the weight of an answer after a silence of freshFor and more.
	freshShare = 1.0 / 4
	// dropMost bounds how far below the average a sample counts: the logarithm of an answer
	// that is nearly immediate, as from a cache, would outweigh many others.
	dropMost = 2 * Octave
	// countMask are the bits of a level that count samples, up to so many; a level needs no such
	// precision. The first ones weigh alike, and fewer than trustFrom are not trusted.
	countMask = 15
	trustFrom = 8
	// fadeShift makes octaves of nanoseconds: an estimate halves in 2^(23+10) ns.
	fadeShift = 10
	// unheardMost is how long an endpoint can be silent before that says nothing any more.
	unheardMost = 5 * time.Second
	// tickShift makes ticks of nanoseconds: 66 µs. 32 bits of them are three days.
	tickShift = 16
)

// typical is the moving geometric average of latency. The zero value has measured nothing. Its
// only writer is whoever has just replaced latency.word, so no writer waits for another.
type typical struct{ level atomic.Int32 }

// observe learns that an answer took ns, age nanoseconds after the sample before.
func (t *typical) observe(ns float32, age int64) {
	sample, old := levelOf(max(ns, 1)), Level(t.level.Load())
	count := Level(1)
	if old != Unknown && age < int64(forgetTime) {
		count = min(old&countMask+1, countMask)
		w := min(max(float32(age)*(1/float32(memory)), memoryMost), memoryLeast)
		if age > int64(freshFor) {
			w = freshShare
		}
		if count < countMask {
			w = max(w, 1/float32(count))
		}
		sample = old + Level(float32(max(sample-old, -dropMost))*w)
	}
	t.level.Store(int32(sample&^countMask | count))
}

// tick is an instant in 66 µs, and never 0.
func tick(now time.Duration) uint32 { return max(uint32(now>>tickShift), 1) }

// Typical is the typical latency as it was at the latest answer, or Unknown. Expected is this, and
// what the time since then says. Any goroutine may call it.
func (e *Endpoint) Typical() Level { return Level(e.typical.level.Load()) }

// Silent is for how long there has been an attempt without any answer to this or another one; 0
// while nothing is in flight. It is exact to 66 µs. Any goroutine may call it.
func (e *Endpoint) Silent(now time.Duration) time.Duration {
	since := e.unheard.Load()
	if since == 0 || e.inFlight.Load() == 0 {
		return 0
	}
	return time.Duration(tick(now)-since) << tickShift
}

// A Par is what pickers measure endpoints by at one moment: Within tells those that need no
// closer look.
type Par struct {
	Level    Level  // of latency, above which an endpoint is slow
	tick     uint32 // now
	patience uint32 // ticks for which an endpoint may be silent without being slow
}

// ParOf is the Par of a level at the instant now. An endpoint may be silent for as long as the level
// is.
func ParOf(l Level, now time.Duration) Par {
	return Par{l, tick(now), uint32(min(l.Duration()>>tickShift, math.MaxUint32))}
}

// Within reports whether the endpoint has answered within par, is not silent for longer than that and
// has no level of failure: nearly always. It is false of one that was never measured. Any goroutine
// may call it.
func (e *Endpoint) Within(p *Par) bool {
	// A level of Unknown, less 1, is beyond any par.
	if uint32(e.typical.level.Load()-1) >= uint32(p.Level) || uint32(e.latency.word.Load()) != 0 {
		return false
	}
	since := e.unheard.Load()
	return since == 0 || p.tick-since <= p.patience || e.inFlight.Load() == 0
}

// Expected is the Level of the latency that an attempt may expect which begins now.
// Any goroutine may call it.
func (e *Endpoint) Expected(now time.Duration) Level {
	l := e.Typical()
	if l&countMask < trustFrom && e.inFlight.Load() == 0 {
		return Unknown
	}
	if l != Unknown {
		age := max(int64(now)-e.latency.at.Load(), 0)
		if age < int64(forgetTime) {
			l -= Level(age >> fadeShift)
		} else {
			l = Unknown
		}
	}
	silent := e.Silent(now)
	if silent == 0 || silent > unheardMost {
		return l
	}
	if l == Unknown {
		return Unanswered
	}
	return max(l, levelOf(float32(silent)))
}
