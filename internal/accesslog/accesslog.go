// Package accesslog writes the access log. Exchanges leave records in a ring and never
// wait; one goroutine alone owns the file: it opens, writes and closes it, and whatever
// else concerns the file is a message to it. So a disk that hangs, a pipe that is not read
// and a folder that is gone stop nothing but the log, whose lines are lost then, and
// counted. No lock here is held across input or output.
package accesslog

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
)

// A Log is the access log of a Proxy through all its configurations. Its methods may be
// called by any goroutine; only Close waits.
type Log struct {
	log *slog.Logger

	mu      sync.Mutex // held for some instructions
	current *writer    // nil: there is no access log
	old     []*writer  // replaced ones that have not ended yet
	lost    uint64     // lines that writers lost which have ended
	closed  bool
}

// New returns a Log that is off. What goes wrong is said to log, which must not wait.
func New(log *slog.Logger) *Log { return &Log{log: log} }

// Open is called with every configuration in force and returns where records go: nil, if
// there is to be no access log. It does not wait: the file is opened by the goroutine that
// writes it, and opened again if it was open, so that a log that was moved away continues
// in a new file. If anything of c is another one, a new writer takes over; records of exchanges
// that began before go there, too.
func (l *Log) Open(c config.AccessLog) *record.Sink {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	old := l.current
	if old != nil && reflect.DeepEqual(old.conf, c) {
		old.ask(&old.again)
		return old.sink
	}
	var next *writer
	if c.Path != "" {
		next = newWriter(c, l.log)
		go l.run(next)
	}
	l.current = next
	if old != nil {
		if next != nil {
			old.sink.ReplaceBy(next.sink)
		}
		l.old = append(l.old, old)
		old.ask(&old.retired)
	}
	if next == nil {
		return nil
	}
	return next.sink
}

// Reopen has the file opened again, so that a log that was moved away continues in a new one. It
// does not wait. If the file cannot be opened the one that is open stays in use, the log says
// so, and it is tried again every second.
func (l *Log) Reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		l.current.ask(&l.current.again)
	}
}

// run writes until w is not needed any more.
func (l *Log) run(w *writer) {
	w.run()
	l.mu.Lock()
	l.lost += w.sink.Dropped()
	l.old = slices.DeleteFunc(l.old, func(o *writer) bool { return o == w })
	if l.current == w {
		l.current = nil
	}
	l.mu.Unlock()
	close(w.ended)
}

// Lost is how many lines were lost so far: the ring was full because they came faster than
// they could be written, or writing failed.
func (l *Log) Lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.lost
	for _, w := range l.all() {
		n += w.sink.Dropped()
	}
	return n
}

// all are the writers that run. Called with mu held.
func (l *Log) all() []*writer {
	all := slices.Clone(l.old)
	if l.current != nil {
		all = append(all, l.current)
	}
	return all
}

// breakTime is how long a write that was broken off may take to end.
const breakTime = 50 * time.Millisecond

// Close writes what is left and closes the files. It waits for that until ctx is done and
// a moment longer; then the lines that are left are lost, which is logged, and the error
// names the file: where the system cannot break the write off its goroutine stays until it
// ends. It is called once; Open returns nil from then on.
func (l *Log) Close(ctx context.Context) (err error) {
	l.mu.Lock()
	l.closed = true
	all := l.all()
	l.mu.Unlock()
	for _, w := range all {
		w.ask(&w.stop)
	}
	left := uint64(0)
	for _, w := range all {
		if !w.end(ctx) {
			n := w.sink.Waiting()
			left += n
			err = fmt.Errorf("access log %s: a write does not end, %d lines are lost", w.path, n)
		}
	}
	if n := l.Lost() + left; n > 0 {
		l.log.Warn("access log has lost lines", "lines", n)
	}
	return err
}
