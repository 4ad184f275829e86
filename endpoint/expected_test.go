package endpoint

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

// known is an endpoint with answers of 5 ms, every 10 ms until the instant now.
func known() (e *Endpoint, now time.Duration) {
	e, now = newTest("a"), time.Second
	for range 500 {
		now += 10 * ms
		answer(e, now, 5*ms, false)
	}
	return e, now
}

// about reports whether l is a time within 15 % of want: levels are logarithms by straight lines.
func about(l Level, want time.Duration) bool {
	return math.Abs(float64(l.Duration()-want)) <= 0.15*float64(want)
}

// TestExpected is the table at the head of expected.go.
func TestExpected(t *testing.T) {
	e, now := known()
	check := func(what string, want time.Duration) {
		t.Helper()
		if got := e.Expected(now); !about(got, want) {
			t.Errorf("%s: %v, want about %v", what, got.Duration(), want)
		}
	}
	check("as long as answers come", 5*ms)
	now += 10 * ms
	answer(e, now, 500*ms, false)
	check("one peak", 5400*time.Microsecond)
	for range 500 {
		now += 10 * ms
		answer(e, now, 5*ms, false)
	}
	now += 8600 * ms
	check("8.6 s without an answer", 2500*time.Microsecond)
	e.Begin(now)
	now += 80 * ms
	check("silent for 80 ms", 80*ms)
	e.Begin(now)
	now += 80 * ms
	check("silent for 160 ms, with another attempt", 160*ms)
	e.End(Outcome{Now: now}) // the client left: no answer
	check("still silent", 160*ms)
	now += 5 * time.Second
	check("a stream", 1700*time.Microsecond)
	e.End(Outcome{Now: now})
	if e.Silent(now) != 0 {
		t.Error("silent with nothing in flight")
	}
	e.Begin(now)
	now += 10 * ms
	if got := e.Silent(now); got > 11*ms {
		t.Errorf("silent for %v: the time before the attempt counts", got)
	}
	now += 80 * time.Second
	e.End(Outcome{Now: now})
	if got := e.Expected(now); got != Unknown {
		t.Errorf("after 80 s: %v", got.Duration())
	}
}

func TestExpectedOfNewEndpoint(t *testing.T) {
	e, now := newTest("a"), time.Second
	if e.Expected(now) != Unknown {
		t.Error("known before the first attempt")
	}
	e.Begin(now)
	if now += ms; e.Expected(now) != Unanswered {
		t.Errorf("the first attempt is under way: %v", e.Expected(now).Duration())
	}
	for i := range 8 {
		e.End(Outcome{Now: now, Latency: ms << (i % 2)})
		if got := e.Expected(now); (got == Unknown) != (i < 7) {
			t.Errorf("after %d answers: %v", i+1, got.Duration())
		}
		now += 3 * ms
		e.Begin(now)
	}
	if got := e.Expected(now); !about(got, 1414*time.Microsecond) {
		t.Errorf("half of the answers take 1 ms, half 2 ms: %v", got.Duration())
	}
}

// TestTypicalIsGeometric: a slow endpoint is as far from a fast one on the scale as it is slow,
// however uneven both are.
func TestTypicalIsGeometric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	fast, slow := newTest("a"), newTest("b")
	sum := 0.0
	const rounds = 20_000
	for i := range rounds {
		now := time.Second + time.Duration(i)*5*ms
		answer(fast, now, time.Duration(r.ExpFloat64()*float64(5*ms))+1, false)
		answer(slow, now, time.Duration(r.ExpFloat64()*float64(25*ms))+1, false)
		sum += float64(slow.Typical()-fast.Typical()) / float64(Octave)
	}
	if got, want := sum/rounds, math.Log2(5); math.Abs(got-want) > 0.15 {
		t.Errorf("five times slower is %.2f octaves, want %.2f", got, want)
	}
}
