package accesslog

// One writer empties one ring into one file. If the file cannot be opened or written it is
// tried again every second, the log says so once a minute, and records meanwhile are counted
// as lost.

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
)

const (
	retryEvery = time.Second     // between attempts to open a file
	sayEvery   = time.Minute     // between lines about trouble that lasts
	lateTime   = 2 * time.Second // for records that were begun when the ring was replaced

	// gatherMost is how long records may wait for others, so that a write has many: one has the
	// price of some lines, and so has the switch to the goroutine that makes it. A ring that would
	// be full sooner if a record came every gatherEach is waited for less.
	gatherMost = 5 * time.Millisecond
	gatherEach = time.Microsecond
)

// A writer is one ring and the goroutine that empties it into one file. The second half of
// the fields belongs to that goroutine.
type writer struct {
	conf config.AccessLog
	path string // of conf
	sink *record.Sink
	log  *slog.Logger

	wake    chan struct{} // of one slot: records have come, or one of the next three was set
	pause   time.Duration // between the first record after a silence and a look at what has come
	again   atomic.Bool   // open the file again
	retired atomic.Bool   // another writer has taken over
	stop    atomic.Bool   // Close was called
	ended   chan struct{}
	broken  atomic.Bool // Close gave up on this writer
	open    atomic.Pointer[os.File]

	file    *os.File // nil: it could not be opened yet
	stale   bool     // the file is to be opened again
	torn    bool     // the last write ended in the middle of a line
	trouble trouble
}

// trouble is what is known of a log that cannot be written.
type trouble struct {
	err  error // nil: there is none
	said time.Time
	lost uint64 // lines lost when it began
}

func newWriter(c config.AccessLog, log *slog.Logger) *writer {
	w := &writer{
		conf: c, path: c.Path, sink: record.NewSink(c.Buffer), log: log.With("path", c.Path),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		stale: true,
	}
	w.sink.Wake, w.sink.Format = w.rouse, record.Compile(c)
	w.pause = min(gatherMost, time.Duration(w.sink.Room())*gatherEach)
	return w
}

// rouse has run look at what has come.
func (w *writer) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// ask sets a flag for run to see.
func (w *writer) ask(flag *atomic.Bool) {
	flag.Store(true)
	w.rouse()
}

// run writes records until Close, or until another writer has taken over. It waits on one
// channel as long as all is well: a select costs as much as some lines of the log.
func (w *writer) run() {
	defer w.shut()
	var late, retry <-chan time.Time
	for {
		if w.again.Swap(false) {
			w.stale, retry = true, nil
		}
		if w.stale && retry == nil {
			w.reach()
			if retry = nil; w.stale {
				retry = time.After(retryEvery)
			}
		}
		stop := w.stop.Load()
		if stop || w.file != nil { // else records wait in the ring
			w.drain()
		}
		if stop {
			return
		}
		if late == nil && w.retired.Load() {
			late = time.After(lateTime)
		}
		if w.file != nil && !w.sink.Park() {
			continue
		}
		if late == nil && retry == nil {
			<-w.wake
			if !w.stop.Load() {
				time.Sleep(w.pause)
			}
			continue
		}
		select {
		case <-w.wake:
		case <-retry:
			retry = nil
		case <-late:
			w.drain()
			return
		}
	}
}

// reach opens the file. If that fails the one that is open, if any, stays in use: it is
// the same log, moved away.
func (w *writer) reach() {
	f := os.Stdout
	if w.path != "-" {
		var err error
		f, err = openFile(w.conf)
		if err != nil {
			w.fails("access log cannot be opened", err)
			return
		}
	}
	old := w.file
	w.file, w.stale, w.torn = f, false, false
	w.open.Store(f)
	if old != nil && old != os.Stdout {
		old.Close()
	}
}

// openFile opens the file of c, or makes it with its mode. The mode of a file that is there stays.
func openFile(c config.AccessLog) (*os.File, error) {
	// Without waiting: a named pipe that is not read is an error rather than a stop.
	const flags = os.O_APPEND | os.O_CREATE | os.O_WRONLY | nonblock
	mode, exact, err := c.FileMode()
	if err != nil {
		return nil, err // which validation has refused
	}
	if exact { // else the umask has its say
		if f, err := os.OpenFile(c.Path, flags|os.O_EXCL, mode); err == nil {
			_ = f.Chmod(mode) // a file system without modes has its own
			return f, nil
		}
	}
	return os.OpenFile(c.Path, flags, mode)
}

// drain writes what is in the ring, and says when that begins to fail and when it works
// again.
func (w *writer) drain() {
	n, err := w.sink.Drain((*output)(w))
	switch {
	case err != nil:
		w.fails("access log cannot be written, lines are lost", err)
	case n > 0 && w.trouble.err != nil && !w.stale:
		w.log.Info("access log is written again", "lost", w.sink.Dropped()-w.trouble.lost)
		w.trouble = trouble{}
	}
}

// fails notes that the log cannot be opened or written: it is said at once, and again
// while it lasts.
func (w *writer) fails(what string, err error) {
	t := &w.trouble
	if t.err == nil {
		t.lost = w.sink.Dropped()
	}
	if t.err == nil || time.Since(t.said) >= sayEvery {
		w.log.Error(what, "error", err, "lost", w.sink.Dropped()-t.lost)
		t.said = time.Now()
	}
	t.err = err
}

// shut closes the file.
func (w *writer) shut() {
	if w.file != nil && w.file != os.Stdout {
		w.file.Close()
	}
}

// end waits until the writer has ended, or ctx is done and a write that was broken off then
// does not end soon. It reports whether the writer has ended.
func (w *writer) end(ctx context.Context) bool {
	select {
	case <-w.ended:
		return true
	case <-ctx.Done():
	}
	w.broken.Store(true)
	if f := w.open.Load(); f != nil {
		f.SetWriteDeadline(time.Unix(1, 0)) // works for pipes that were opened by their name
	}
	select {
	case <-w.ended:
		return true
	case <-time.After(breakTime):
		return false
	}
}

// output is the writer as an io.Writer of whole lines, for its goroutine.
type output writer

var (
	errGivenUp = errors.New("the log was closed")
	errNoFile  = errors.New("the file could not be opened")
)

func (o *output) Write(p []byte) (int, error) {
	switch {
	case o.broken.Load():
		return 0, errGivenUp
	case o.file == nil:
		return 0, errNoFile
	}
	if o.torn { // what the last write began is no line: a reader can skip it
		if _, err := io.WriteString(o.file, "\n"); err != nil {
			return 0, err
		}
		o.torn = false
	}
	n, err := o.file.Write(p)
	if n > 0 {
		o.torn = p[n-1] != '\n'
	}
	return n, err
}
