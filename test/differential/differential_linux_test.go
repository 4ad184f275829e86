package differential

import (
	"bytes"
	"hash/fnv"
	"testing"
	"time"
)

// TestSeeds plays what the fuzzer begins with.
func TestSeeds(t *testing.T) {
	r := newRig(t)
	for i, s := range seeds {
		if testing.Short() && i%2 == 1 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			res := r.judge(t, s.script, fast)
			for i := 0; i < 4 && s.script.atOnce() && !t.Failed(); i++ { // one event or two: that is chance
				res = r.judge(t, s.script, fast)
			}
			for _, st := range res.stages {
				if !bytes.Contains(st.client.in, []byte(s.client)) {
					t.Errorf("%s: the client gets %s, want %s", st.side.engine, brief(st.client.in), brief([]byte(s.client)))
				}
				var got []byte
				for _, c := range st.conns {
					got = append(got, c.in...)
				}
				if !bytes.Contains(got, []byte(s.server)) {
					t.Errorf("%s: the endpoint gets %s, want %s", st.side.engine, brief(got), brief([]byte(s.server)))
				}
			}
		})
	}
}

// FuzzEngines: what a client and an endpoint do has the same effect on either engine.
func FuzzEngines(f *testing.F) {
	for _, s := range seeds {
		f.Add(s.script.input(false))
		if !testing.Short() {
			f.Add(s.script.input(true))
		}
	}
	r := newRig(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		how := fast
		how.impatient = hash(input)%patientOf != 0
		r.judge(t, parse(input), how)
	})
}

// patientOf is of how many inputs in which a client leaves early one is played to its end.
const patientOf = 16

func hash(b []byte) uint32 {
	h := fnv.New32a()
	h.Write(b)
	return h.Sum32()
}

const (
	// replays is how often a difference must be seen again, slowly, so as not to be chance.
	replays = 3
	// replaysMost is when no further one is begun: a fuzzer gives an input 10 seconds, and on
	// a machine that is busy everything takes longer.
	replaysMost = 4 * time.Second
)

// judge plays a script and fails the test if the engines differ: once, if nothing in the
// script is left to chance, else in every one of several plays.
func (r *rig) judge(t *testing.T, s script, how pace) (res result) {
	t.Helper()
	both, began := [2]script{s, s}, time.Now()
	res, err := r.play(both, how)
	again := slow
	again.orderly = s.overtakes()
	chance := s.compared().loose || s.atOnce() || again.orderly
	first, seen := res, 1
	for i := 0; i < replays && err == nil && res.differs != "" && time.Since(began) < replaysMost; i++ {
		if res, err = r.play(both, again); res.differs != "" {
			seen++
		} else if chance {
			break
		}
	}
	switch {
	case err != nil:
		t.Fatalf("%s%v", s, err)
	case seen > replays || first.differs != "" && !chance:
		t.Errorf("%safter step %d, as seen %d times:\n%s", s, first.at, seen, first.differs)
	}
	for _, side := range r.sides {
		if text := side.log.take(); text != "" {
			t.Errorf("%s%s logs: %s", s, side.engine, text)
		}
	}
	return res
}
