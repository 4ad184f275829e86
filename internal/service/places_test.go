package service

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// grouped are specs with the priorities that are given by digits.
func grouped(priorities string) []endpoint.Spec {
	all := specs(addresses(len(priorities))...)
	for i := range all {
		all[i].Priority = int(priorities[i] - '0')
	}
	return all
}

// Panic mode asks each priority: a backup that works is used, and not the others that do not.
func TestPanicModeAsksEachPriority(t *testing.T) {
	key := func(s *endpoint.Spec) int { return len(s.Metadata["tier"]) }
	for _, byKey := range []bool{false, true} {
		set := Settings{Check: everySecond, Policy: policy.InPlaces(policy.Random(), policy.Places{})}
		list := grouped("0001")
		if byKey {
			set.Priority = key
			list = grouped("0000")
			list[3].Metadata = map[string]string{"tier": "x"}
		}
		onStage(t, set, func(st *stage) {
			st.Update(list)
			st.AwaitReady(st.rt, 0)
			st.plant.set(errIll, addresses(3)...)
			time.Sleep(4 * time.Second)
			if st.Panic() {
				t.Error("panic beside a backup that works")
			}
			st.pick("10.0.0.3:80")
			st.plant.set(errIll, addresses(4)...)
			time.Sleep(4 * time.Second)
			if !st.Panic() {
				t.Error("no panic although no priority is left")
			}
			st.plant.set(nil, addresses(2)...)
			time.Sleep(4 * time.Second)
			if st.Panic() {
				t.Error("panic is not over")
			}
		})
	}
}

// The log says once that requests go to other endpoints than the first ones, and once that they do not
// any more.
func TestOverflowIsLogged(t *testing.T) {
	onStage(t, Settings{Check: everySecond, Policy: policy.InPlaces(policy.Random(), policy.Places{})}, func(st *stage) {
		log := st.logged()
		st.Update(grouped("00011"))
		st.AwaitReady(st.rt, 0)
		for n := range 3 {
			st.plant.set(errIll, addresses(n)...)
			time.Sleep(4 * time.Second)
		}
		st.plant.set(nil, addresses(5)...)
		time.Sleep(4 * time.Second)
		var lines []string
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "first priority") {
				lines = append(lines, line)
			}
		}
		if len(lines) != 2 || !strings.Contains(lines[0], "percent=5 usable=4") || !strings.Contains(lines[1], "carries all requests again") {
			t.Errorf("%q", lines)
		}
	})
}

// Explain names places, their shares, and what each endpoint may expect.
func TestExplainNamesPlaces(t *testing.T) {
	onStage(t, Settings{Policy: policy.InPlaces(policy.RoundRobin(), policy.Places{})}, func(st *stage) {
		st.Update(grouped("000011"))
		if places, at := st.Places(); len(places) != 2 || len(at) != 6 {
			t.Fatal("no places")
		}
		for _, address := range addresses(2) {
			if _, err := st.Override(endpoint.Override{Endpoint: endpoint.ID{Scheme: "http", Address: address}, Kind: endpoint.Eject}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * buildEvery)
		x := st.Explain(0, 0, 1000)
		if len(x.Places) != 2 || math.Abs(x.Places[0].Share-5.0/7) > 1e-9 || !strings.Contains(x.Places[0].Why, "2 of 4 usable") {
			t.Errorf("%+v", x.Places)
		}
		for i := range x.Candidates {
			c := &x.Candidates[i]
			want := []float64{0, 0, 2.5 / 7, 2.5 / 7, 1.0 / 7, 1.0 / 7}[i]
			if got := x.Expected(c); math.Abs(got-want) > 1e-9 || math.Abs(float64(c.Draws)/1000-want) > 0.01 || (c.Place < 0) != (want == 0) {
				t.Errorf("%v: expects %.3f, %d draws, place %d, want %.3f", c.Spec.ID, got, c.Draws, c.Place, want)
			}
		}
	})
	onStage(t, Settings{Policy: policy.InPlaces(policy.RoundRobin(), policy.Places{})}, func(st *stage) {
		st.Update(grouped("0000"))
		if places, _ := st.Places(); places != nil {
			t.Error("places of endpoints that are all alike")
		}
	})
}

// A further attempt goes to the backup when nothing else is left, and to nothing else before.
func TestAnotherAttemptMayGoToTheBackup(t *testing.T) {
	onStage(t, Settings{Policy: policy.InPlaces(policy.LeastTime(), policy.Places{})}, func(st *stage) {
		st.Update(grouped("001"))
		for range 50 {
			a := policy.Attempt{Rand: st.rt.Rand(), Seq: st.Seq(), Now: st.rt.Now()}
			var at []string
			for range 3 {
				e := st.PickAgain(&a, true)
				a.Tried.Add(e)
				at = append(at, e.ID().Address)
			}
			if at[2] != "10.0.0.2:80" {
				t.Fatalf("in this order: %v", at)
			}
		}
	})
}
