package simulate

// The events that are still to come, the earliest first. Those of one instant come in the order
// in which they were added, so that a run is repeatable.

import "time"

// What an event is about.
type kind uint8

const (
	evEnd    kind = iota // an attempt ends: n is the attempt
	evLook               // an attempt has waited for a second: n is the attempt
	evHedge              // a hedge is due: n is the attempt beside which it is
	evAgain              // a pause between two attempts is over: n is the request
	evWake               // a task's wait is over: n is the task
	evChange             // a fault begins or ends: n is the change
)

// An event is something that happens at an instant.
type event struct {
	at   time.Duration
	seq  uint64 // breaks ties
	gen  uint32 // of what n numbers: an event for an earlier owner of that number is void
	n    int32
	kind kind
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// A queue is a heap with four children to each event, which is one cache line fewer to touch
// for each level than with two. The zero value is empty.
type queue struct {
	heap []event
	seq  uint64
}

// add puts an event into the queue.
func (q *queue) add(e event) {
	q.seq++
	e.seq = q.seq
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

// first is the earliest event; ok false: there is none.
func (q *queue) first() (e event, ok bool) {
	if len(q.heap) == 0 {
		return event{}, false
	}
	return q.heap[0], true
}

// drop removes the earliest event.
func (q *queue) drop() {
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap = q.heap[:last]
	if last == 0 {
		return
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= last {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, last); c++ {
			if q.heap[c].before(&q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(&e) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = e
}
