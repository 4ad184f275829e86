package sched

// HeavyMost is how many heavy steps a loop takes between two looks at what else has
// happened. A message of a handshake may cost 400 µs, and many clients may come at once:
// those whose connections are established are not to wait for them all.
const HeavyMost = 2

// heavy lets tasks that are about to compute for long wait for each other, in the order in
// which they came.
type heavy struct {
	steps   int     // since events were looked at
	waiting []*Task // for a later turn
}

// Heavy returns when the calling task may take its heavy step.
func (l *Loop) Heavy() {
	for l.heavy.steps >= HeavyMost {
		l.heavy.waiting = append(l.heavy.waiting, l.current)
		l.Park()
	}
	l.heavy.steps++
}

// admitHeavy begins a turn: it wakes the tasks that have waited longest.
func (l *Loop) admitHeavy() {
	h := &l.heavy
	h.steps = 0
	n := min(len(h.waiting), HeavyMost)
	for _, t := range h.waiting[:n] {
		l.Wake(t)
	}
	h.waiting = append(h.waiting[:0], h.waiting[n:]...)
}
