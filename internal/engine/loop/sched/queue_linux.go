package sched

// A queue holds tasks in the order in which they are to run. Tasks are pushed while others
// are popped: begin draws the line between those of this turn and those of the next.
type queue struct {
	tasks []*Task
	head  int
}

func (q *queue) len() int { return len(q.tasks) - q.head }

func (q *queue) push(t *Task) { q.tasks = append(q.tasks, t) }

// begin returns how many tasks are to run before events are looked at again.
func (q *queue) begin() int {
	if q.head > 0 {
		n := copy(q.tasks, q.tasks[q.head:])
		clear(q.tasks[n:])
		q.tasks, q.head = q.tasks[:n], 0
	}
	return len(q.tasks)
}

func (q *queue) pop() *Task {
	t := q.tasks[q.head]
	q.tasks[q.head] = nil
	q.head++
	return t
}
