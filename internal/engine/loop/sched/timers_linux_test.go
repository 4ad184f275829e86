package sched

import (
	"math/rand/v2"
	"testing"
	"time"
)

// alarm is the owner of a timer: it notes when it went off.
type alarm struct {
	timer Timer
	want  time.Duration // 0: not set
	rang  bool
}

func (a *alarm) Expire(now time.Duration) { a.rang = true }

// TestTimersAgreeWithAList: setting, moving and removing at random, against a list that is
// searched from end to end.
func TestTimersAgreeWithAList(t *testing.T) {
	for seed := range uint64(200) {
		chance := rand.New(rand.NewPCG(seed, 0))
		var q timers
		alarms := make([]*alarm, 1+chance.IntN(60))
		for i := range alarms {
			alarms[i] = &alarm{}
			alarms[i].timer.Owner = alarms[i]
		}
		now := time.Duration(1)
		for step := range 300 {
			a := alarms[chance.IntN(len(alarms))]
			switch chance.IntN(4) {
			case 0, 1:
				a.want = now + time.Duration(chance.IntN(40)) + 1
				q.set(&a.timer, a.want)
			case 2:
				a.want = 0
				q.remove(&a.timer)
			case 3:
				now += time.Duration(chance.IntN(10))
				q.expire(now)
				for i, a := range alarms {
					if due := a.want != 0 && a.want <= now; due != a.rang {
						t.Fatalf("seed %d, step %d: alarm %d for %v at %v: rang is %v", seed, step, i, a.want, now, a.rang)
					} else if due {
						a.want, a.rang = 0, false
					}
				}
			}
			check(t, &q, alarms)
		}
	}
}

func check(t *testing.T, q *timers, alarms []*alarm) {
	t.Helper()
	set, first := 0, time.Duration(0)
	for _, a := range alarms {
		if a.want == 0 {
			if a.timer.place != 0 {
				t.Fatal("an unset timer has a place")
			}
			continue
		}
		set++
		if first == 0 || a.want < first {
			first = a.want
		}
		if q.heap[a.timer.place-1] != &a.timer || a.timer.at != a.want {
			t.Fatal("a timer does not know its place, or its time")
		}
	}
	if set != len(q.heap) || set > 0 && q.heap[0].at != first {
		t.Fatalf("%d of %d timers, the first at %v", len(q.heap), set, first)
	}
	if at, ok := q.first(); ok != (set > 0) || at != first {
		t.Fatalf("the first of %d timers comes at %v, want %v", set, at, first)
	}
}

// TestSlotsForgetTheDead: an event for the last source of a slot does not reach the present
// one.
func TestSlotsForgetTheDead(t *testing.T) {
	var s slots
	var first, second heard
	one := s.take(&first)
	s.dispatch(one, 1)
	s.give(one)
	s.dispatch(one, 2)
	two := s.take(&second)
	if two.place != one.place || two.serial == one.serial {
		t.Fatalf("slot %v after slot %v", two, one)
	}
	s.dispatch(one, 4)
	s.dispatch(two, 8)
	if first != 1 || second != 8 {
		t.Errorf("events %d and %d", first, second)
	}
}

type heard uint32

func (h *heard) Event(events uint32) { *h |= heard(events) }
func (h *heard) Stop()               {}
func (h *heard) End()                {}

func TestQueueKeepsOrder(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 1))
	var q queue
	var want []*Task
	for range 2000 {
		for range chance.IntN(5) {
			x := &Task{}
			q.push(x)
			want = append(want, x)
		}
		if q.len() != len(want) {
			t.Fatalf("%d, not %d", q.len(), len(want))
		}
		for range min(q.begin(), chance.IntN(5)) {
			if q.pop() != want[0] {
				t.Fatal("out of order")
			}
			want = want[1:]
		}
	}
	if cap(q.tasks) > 4*len(want)+64 {
		t.Errorf("room for %d tasks with %d in it", cap(q.tasks), len(want))
	}
}
