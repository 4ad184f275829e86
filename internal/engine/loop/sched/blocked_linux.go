package sched

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// A Block is a task that did not wait for too long, and so delayed all others of its
// loop.
type Block struct {
	Worker int
	For    time.Duration // so far
	Stack  string        // where it is
}

// How to find tasks that block a loop: a goroutine looks, four times in each limit, whether
// a loop still runs the task that it ran before.

// watch looks at the loops of a group from outside.
type watch struct {
	stop chan struct{}
	done sync.WaitGroup
}

// Watch has report called, on a goroutine of its own, when a task keeps a loop for longer
// than limit; once for each time. It costs too much for every day and belongs in tests.
// It is called before the first task is started, and ends with Close.
func (g *Group) Watch(limit time.Duration, report func(Block)) {
	w := &watch{stop: make(chan struct{})}
	g.watch = w
	w.done.Go(func() {
		seen := make([]int64, len(g.loops))
		tick := time.NewTicker(limit / 4)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
			for i, l := range g.loops {
				g.look(l, limit, &seen[i], report)
			}
		}
	})
}

func (w *watch) end() {
	if w == nil {
		return
	}
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.done.Wait()
}

// look reports the task that l runs if it has run for too long. The clock of a loop is
// when it resumed that task, and so also distinguishes one resumption from the next.
func (g *Group) look(l *Loop, limit time.Duration, seen *int64, report func(Block)) {
	since := l.clock.Load()
	t := l.running.Load()
	long := time.Since(g.epoch) - time.Duration(since)
	if since == 0 || t == nil || since == *seen || long < limit {
		return
	}
	stack := stackOf(t.goroutine.Load())
	if l.clock.Load() != since || l.running.Load() != t {
		return // it has gone on meanwhile
	}
	*seen = since
	report(Block{Worker: l.number, For: long, Stack: stack})
}

// stackOf finds the stack of a goroutine among those of all.
func stackOf(id uint64) string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	head := []byte("goroutine " + strconv.FormatUint(id, 10) + " ")
	for _, g := range bytes.Split(buf, []byte("\n\n")) {
		if bytes.HasPrefix(g, head) {
			return string(g)
		}
	}
	return ""
}

// goroutineID is the number in the heading of the calling goroutine's stack. There is no
// other way to name a coroutine from outside.
func goroutineID() uint64 {
	var buf [64]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, _ := strconv.ParseUint(string(number), 10, 64)
	return id
}
