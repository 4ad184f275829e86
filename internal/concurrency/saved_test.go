package concurrency

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

// TestUpgrade: a process that takes over in the middle of an overload goes on with the limit that was
// found, also while the old one drains, and whether or not a dip is on. One that is told nothing
// begins with 20.
func TestUpgrade(t *testing.T) {
	for _, c := range []struct {
		workers int
		mean    time.Duration
	}{{4, 5 * ms}, {100, 50 * ms}, {4, 100 * ms}} {
		for _, at := range []time.Duration{30 * time.Second, 37100 * ms, 41 * time.Second} { // 37 s: a dip
			capacity := float64(c.workers) / c.mean.Seconds()
			p := play{workers: c.workers, mean: c.mean, load: steady(1.5 * capacity), lasts: 60 * time.Second, upgrade: at}
			seconds := p.run()
			before, after := over(seconds[15:int(at/time.Second)-1]), over(seconds[at/time.Second:at/time.Second+5])
			t.Logf("%d workers of %v, at %v: limit %.1f, then %.1f, goodput %.3f, then %.3f, p99 %v, then %v", c.workers, c.mean, at, before.mean, after.mean,
				share(before, capacity), share(after, capacity), before.p99(), after.p99())
			if after.mean < before.mean*0.8 || after.mean > before.mean*1.25 {
				t.Errorf("%d workers of %v, upgrade at %v: a limit of %.1f after it, before it %.1f", c.workers, c.mean, at, after.mean, before.mean)
			}
			if share(after, capacity) < 0.85 || after.p99() > before.p99()*5/2 {
				t.Errorf("%d workers of %v, upgrade at %v: %.3f of what they can do, p99 %v; before it %.3f and %v", c.workers, c.mean, at,
					share(after, capacity), after.p99(), share(before, capacity), before.p99())
			}
			p.empty = true
			next, none := over(seconds[at/time.Second:][:1]), over(p.run()[at/time.Second:][:1])
			t.Logf("the first second: limit %.1f, goodput %.3f; with nothing learned %.1f and %.3f", next.mean, share(next, capacity), none.mean, share(none, capacity))
			if c.workers == 100 && share(next, capacity) < share(none, capacity)+0.05 {
				t.Errorf("%d workers of %v, upgrade at %v: %.3f of what they can do in the first second, and %.3f with nothing learned", c.workers, c.mean, at, share(next, capacity), share(none, capacity))
			}
		}
	}
}

// share is what was served by what the workers can do.
func share(s second, capacity float64) float64 {
	return float64(s.served) / capacity / float64(s.ends)
}

// TestLearned: what is learned survives its text, is put within the bounds, and what makes no sense
// changes nothing.
func TestLearned(t *testing.T) {
	l := New(Bounds{1, 100}, 0)
	if l.Learned() != (Learned{}) {
		t.Errorf("nothing was seen, and learned is %+v", l.Learned())
	}
	now := time.Second
	for range 2000 {
		now += ms
		l.Observe(now, 10*ms, l.Limit(), true)
	}
	was := l.Learned()
	if was.Limit < 20 || was.Base < 9*ms || was.Base > 11*ms {
		t.Fatalf("learned %+v", was)
	}
	text, _ := json.Marshal(was)
	var from Learned
	if err := json.Unmarshal(text, &from); err != nil || from != was {
		t.Errorf("%s: %+v, %v", text, from, err)
	}
	next := New(Bounds{1, 10}, 0)
	next.Learn(from, time.Hour)
	if next.Limit() != 10 || next.Base() != was.Base {
		t.Errorf("within the bounds: limit %d, base %v", next.Limit(), next.Base())
	}
	for _, bad := range []Learned{{}, {Limit: 30}, {Limit: math.NaN(), Base: ms}, {Limit: math.Inf(1), Base: ms}, {Limit: -3, Base: ms}, {Limit: 30, Base: -ms}, {Limit: 30, Base: time.Hour}} {
		l := New(Bounds{1, 100}, 0)
		if l.Learn(bad, now); l.Limit() != first || l.Base() != 0 || l.fresh {
			t.Errorf("%+v was taken: limit %d, base %v", bad, l.Limit(), l.Base())
		}
	}
}
