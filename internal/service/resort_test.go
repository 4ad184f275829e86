package service

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/policy"
)

// An ailment is how endpoints fail.
type ailment string

const (
	refuses ailment = "refuses"
	hole    ailment = "black hole" // connecting takes a second, in vain
	answers ailment = "503"
)

// A ward is a service whose endpoints fail or work, with clients.
type ward struct {
	*stage
	ailment ailment
	ill     map[string]bool
	seq     uint64

	attempts map[string]int // since the last look, by address
}

// request is one client's: it tries endpoints, each once, and reports whether one of them
// served it.
func (w *ward) request(posts bool) bool {
	w.seq++
	a := policy.Attempt{Rand: w.rt.Rand(), Seq: w.seq, Now: w.rt.Now()}
	for range policy.AttemptsMax {
		a.Now = w.rt.Now()
		e := w.Pick(&a)
		if e == nil {
			return false
		}
		a.Tried.Add(e)
		address := e.ID().Address
		w.attempts[address]++
		o := endpoint.Outcome{Began: w.rt.Now(), Failed: w.ill[address]}
		w.Begin(e, o.Began)
		if o.Failed {
			o.Refused, o.Unreached = w.ailment == refuses, w.ailment != answers
			if w.ailment == hole {
				time.Sleep(time.Second)
			}
		}
		o.Now = w.rt.Now()
		w.Settle(e, o, true)
		if !o.Failed || posts && w.ailment == answers {
			return !o.Failed
		}
	}
	return false
}

// requests are some in a row, and returns how many failed and how long after the beginning
// the last of those began.
func (w *ward) requests(n int, pause time.Duration, posts bool) (failed int, last time.Duration) {
	began := w.rt.Now()
	for range n {
		at := w.rt.Now()
		if !w.request(posts) {
			failed, last = failed+1, at-began
		}
		time.Sleep(pause)
	}
	return failed, last
}

// onWards runs f for services of several sizes, with each ailment, with and without probes.
func onWards(t *testing.T, f func(w *ward, all []string)) {
	for _, n := range []int{1, 2, 3, 4, 8} {
		for _, ail := range []ailment{refuses, hole, answers} {
			for _, probed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/%s/probed=%v", n, ail, probed), func(t *testing.T) {
					set := Settings{Policy: policy.P2C()}
					if probed {
						set.Check = &Check{}
					}
					onStage(t, set, func(st *stage) {
						w := &ward{stage: st, ailment: ail, ill: map[string]bool{}, attempts: map[string]int{}}
						st.Update(specs(addresses(n)...))
						st.AwaitReady(st.rt, 0)
						f(w, addresses(n))
					})
				})
			}
		}
	}
}

// is makes exactly these endpoints fail.
func (w *ward) fall(ill ...string) {
	clear(w.ill)
	w.plant.set(nil, addresses(8)...)
	for _, a := range ill {
		w.ill[a] = true
	}
	w.plant.set(map[ailment]error{refuses: engine.ErrRefused, hole: errHole, answers: errIll}[w.ailment], ill...)
}

// TestOneGoodEndpointIsEnough: however many others fail, and in whatever way, requests are
// served as long as one endpoint works; and those that fail get few of them.
func TestOneGoodEndpointIsEnough(t *testing.T) {
	onWards(t, func(w *ward, all []string) {
		t := w.t
		w.fall(all[1:]...)
		if failed, _ := w.requests(400, 50*time.Millisecond, false); failed > 0 {
			t.Errorf("%d of 400 requests fail although %s works", failed, all[0])
		}
		clear(w.attempts)
		const n = 1000
		w.requests(n, 20*time.Millisecond, false)
		for _, a := range all[1:] {
			if w.attempts[a] > n/10 && !w.Panic() {
				t.Errorf("%s fails and got %d of %d requests", a, w.attempts[a], n)
			}
		}
		if w.ailment != answers && w.Panic() {
			t.Error("panic mode, although there is no doubt")
		}
		for i := range all { // they come back one after the other, and each has its share again
			w.fall(all[min(i+1, len(all)):]...)
			if failed, _ := w.requests(100, 20*time.Millisecond, false); failed > 0 {
				t.Errorf("%d requests fail while %s comes back", failed, all[i])
			}
		}
	})
}

// TestTheOnlyOneThatWorksIsFound: the last good endpoint fails while another one, which was
// ejected long ago, has recovered.
func TestTheOnlyOneThatWorksIsFound(t *testing.T) {
	onWards(t, func(w *ward, all []string) {
		if len(all) < 2 {
			return
		}
		t := w.t
		w.fall(all[1:]...)
		w.requests(400, 50*time.Millisecond, false)
		for i := range 4 {
			well := (i + 1) % len(all)
			w.fall(append(append([]string{}, all[:well]...), all[well+1:]...)...)
			failed, last := w.requests(300, 50*time.Millisecond, false)
			if failed > 0 && w.ailment != hole {
				t.Errorf("turn %d: %d requests fail although %s works", i, failed, all[well])
			}
			if last > 5*time.Second {
				t.Errorf("turn %d: a request fails %v after %s came back", i, last, all[well])
			}
		}
	})
}

// TestServiceAfterAnyOutage: all endpoints fail for a time, under light traffic, and one of
// them comes back: it is found within seconds, by requests that may be repeated and by such
// that may not.
func TestServiceAfterAnyOutage(t *testing.T) {
	for _, posts := range []bool{false, true} {
		for _, outage := range []time.Duration{2 * time.Second, 80 * time.Second} {
			onWards(t, func(w *ward, all []string) {
				t := w.t
				w.fall(all...)
				const pause = 500 * time.Millisecond
				if failed, _ := w.requests(int(outage/pause), pause, posts); failed < int(outage/pause) {
					t.Fatalf("only %d requests fail, so this shows nothing", failed)
				}
				well := all[len(all)-1]
				w.fall(all[:len(all)-1]...)
				w.requests(50, 100*time.Millisecond, posts)
				failed, last := w.requests(200, 100*time.Millisecond, posts)
				// Trials of the others are requests, and those that may not be repeated fail.
				if failed > 0 && !(posts && w.ailment == answers && failed <= 2*len(all)) {
					t.Errorf("posts %v, outage %v: %d requests fail, until %v, 5 s after %s came back\n%v", posts, outage, failed, last, well, w.states())
				}
			})
		}
	}
}

// TestTheLastResortIsVisible in the status.
func TestTheLastResortIsVisible(t *testing.T) {
	onWards(t, func(w *ward, all []string) {
		t := w.t
		w.fall(all...)
		w.requests(100, 100*time.Millisecond, false)
		keeps := 0
		for _, s := range w.Snapshot() {
			if s.Kept {
				keeps++
			}
		}
		if w.conf.set.Check == nil && keeps != 1 {
			t.Errorf("%d endpoints are kept, want the last one: %v", keeps, w.states())
		}
		if w.Resorting() != (len(all) > 1 || w.conf.set.Check != nil) {
			t.Errorf("a last resort: %v\n%v", w.Resorting(), w.states())
		}
		w.fall()
		w.requests(100, 100*time.Millisecond, false)
		if w.Resorting() {
			t.Error("still a last resort after all came back")
		}
	})
}

// A host comes back. Connections that were being made before time out one after the other, and say
// nothing: an attempt that began later has been served.
func TestWhatBeganBeforeASuccessSaysNothing(t *testing.T) {
	onWards(t, func(w *ward, all []string) {
		if w.ailment != hole || w.conf.set.Check == nil {
			return
		}
		w.fall(all...)
		w.requests(100, 100*time.Millisecond, false)
		var late []func()
		for range 3 { // each a second: the last resort gives an endpoint no more turns
			a := policy.Attempt{Rand: w.rt.Rand(), Now: w.rt.Now()}
			e := w.Pick(&a)
			if e == nil {
				time.Sleep(time.Second)
				continue
			}
			began := w.rt.Now()
			w.Begin(e, began)
			late = append(late, func() {
				w.Settle(e, endpoint.Outcome{Began: began, Now: w.rt.Now(), Failed: true, Unreached: true}, true)
			})
			time.Sleep(time.Second)
		}
		clear(w.ill) // the probes have not seen it yet
		for limit := 0; !w.request(false); limit++ {
			if limit > 100 {
				w.t.Fatal("it is not found")
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		for _, end := range late {
			end()
		}
		synctest.Wait()
		if len(late) == 0 || !w.request(false) {
			w.t.Errorf("after %d attempts that began before and failed, requests are refused: %v", len(late), w.states())
		}
	})
}

// TestTheLastResortIsBounded: a service that is down costs each endpoint an attempt a second.
func TestTheLastResortIsBounded(t *testing.T) {
	onStage(t, Settings{Policy: policy.P2C()}, func(st *stage) {
		all := addresses(8)
		w := &ward{stage: st, ailment: hole, ill: map[string]bool{}, attempts: map[string]int{}}
		st.Update(specs(all...))
		synctest.Wait()
		w.fall(all...)
		w.requests(100, time.Second, false)
		clear(w.attempts)
		began := st.rt.Now()
		for range 50 {
			for range 20 { // at once
				st.rt.Fork(func() { w.quick() }).Wait()
			}
			time.Sleep(100 * time.Millisecond)
		}
		seconds := int((st.rt.Now() - began) / time.Second)
		for a, n := range w.attempts {
			if n > 2*seconds+2 && st.states()[a] != "healthy" {
				t.Errorf("%s, which is %s, got %d attempts in %d s", a, st.states()[a], n, seconds)
			}
		}
	})
}

// quick is a request whose attempts fail at once.
func (w *ward) quick() {
	a := policy.Attempt{Rand: w.rt.Rand(), Now: w.rt.Now()}
	for e := w.Pick(&a); e != nil && a.Tried.Len() < policy.AttemptsMax; e = w.Pick(&a) {
		a.Tried.Add(e)
		w.attempts[e.ID().Address]++
		w.Begin(e, a.Now)
		w.Settle(e, endpoint.Outcome{Began: a.Now, Now: a.Now, Failed: true, Unreached: true}, true)
	}
}
