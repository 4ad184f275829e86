package sched

import "time"

// Deadlines move for every request and hardly ever come. So they are moved lazily: a timer
// stays where it is while it would come too early, and its owner sets it again when it does.
// SetTimerBy and Task.parkUntil work like this; SetTimer moves a timer at once.

// A Timer belongs to a task or a source. The zero value with an Owner is not set.
type Timer struct {
	Owner Expirer

	at    time.Duration
	place int // 1 + index in timers.heap; 0: not set
}

// An Expirer learns that its timer has come, and is not set any more. Expire is called on
// the loop, by no task.
type Expirer interface{ Expire(now time.Duration) }

// Set reports whether t is set.
func (t *Timer) Set() bool { return t.place != 0 }

// SetTimer sets or moves t.
func (l *Loop) SetTimer(t *Timer, at time.Duration) { l.timers.set(t, at) }

// SetTimerBy sets t so that it comes at that instant or sooner. A timer that is set for
// sooner is left, and moved by its owner when it comes: so deadlines that are moved on for
// every request cost a comparison.
func (l *Loop) SetTimerBy(t *Timer, at time.Duration) {
	if t.place == 0 || at < t.at {
		l.timers.set(t, at)
	}
}

// StopTimer unsets t, if it is set.
func (l *Loop) StopTimer(t *Timer) { l.timers.remove(t) }

// timers is a heap, the earliest first, in which every timer knows its place: deadlines
// move more often than they come. The zero value is empty.
type timers struct{ heap []*Timer }

// set sets or moves t.
func (q *timers) set(t *Timer, at time.Duration) {
	t.at = at
	if t.place == 0 {
		q.heap = append(q.heap, t)
		q.up(len(q.heap) - 1) // which sets its place; none is below it
		return
	}
	q.down(q.up(t.place - 1))
}

// remove unsets t, if it is set.
func (q *timers) remove(t *Timer) {
	i := t.place - 1
	if i < 0 {
		return
	}
	last := len(q.heap) - 1
	q.put(i, q.heap[last])
	q.heap[last] = nil
	q.heap = q.heap[:last]
	t.place = 0
	if i < last {
		q.down(q.up(i))
	}
}

// expire unsets the timers that have come and calls their owners.
func (q *timers) expire(now time.Duration) {
	for len(q.heap) > 0 && q.heap[0].at <= now {
		t := q.heap[0]
		q.remove(t)
		t.Owner.Expire(now)
	}
}

// first is when the first timer comes; ok false: there is none.
func (q *timers) first() (at time.Duration, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

func (q *timers) put(i int, t *Timer) {
	q.heap[i] = t
	t.place = i + 1
}

// up moves the timer at i towards the root and returns its new index.
func (q *timers) up(i int) int {
	t := q.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if q.heap[parent].at <= t.at {
			break
		}
		q.put(i, q.heap[parent])
		i = parent
	}
	q.put(i, t)
	return i
}

func (q *timers) down(i int) {
	t := q.heap[i]
	for {
		child := 2*i + 1
		if child+1 < len(q.heap) && q.heap[child+1].at < q.heap[child].at {
			child++
		}
		if child >= len(q.heap) || t.at <= q.heap[child].at {
			break
		}
		q.put(i, q.heap[child])
		i = child
	}
	q.put(i, t)
}
