package nethttp

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine/goroutine"
)

// A stallWatch ends reads and writes of a client's side that make no progress for
// timeouts.stall. The deadlines of net/http are not moved for each call: one of HTTP/2 resets
// its stream when it passes, also while no call is under way, and to move it wakes another
// goroutine. So each call notes when it began, and a timer looks after them. A call ends
// after the limit and at most a quarter more.
type stallWatch struct {
	rt    *goroutine.Runtime
	ctl   *http.ResponseController
	limit time.Duration

	read, write side

	armed atomic.Bool
	mu    sync.Mutex // guards what follows, and calls of ctl: after the handler there are none
	timer *time.Timer
	over  bool
}

// A side is one direction of the client's stream.
type side struct {
	since atomic.Int64 // when the call under way began, on the runtime's clock; 0: there is none
	late  atomic.Bool  // a call was ended because it made no progress
}

// begin notes that a call on s begins, which may wait for the client; end that it is over.
func (w *stallWatch) begin(s *side) {
	s.since.Store(int64(w.rt.Now()))
	if w.armed.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil && !w.over {
		w.timer = time.AfterFunc(w.limit, w.look)
	}
	w.armed.Store(true)
}

func (s *side) end() { s.since.Store(0) }

func (s *side) active() bool { return s.since.Load() != 0 }

// look ends calls that have waited for too long, and says when to look again.
func (w *stallWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	past := time.Unix(1, 0)
	if w.overdue(&w.read) {
		w.ctl.SetReadDeadline(past)
	}
	if w.overdue(&w.write) {
		w.ctl.SetWriteDeadline(past)
	}
	w.timer.Reset(max(w.limit/4, time.Millisecond))
}

func (w *stallWatch) overdue(s *side) bool {
	since := time.Duration(s.since.Load())
	if since == 0 || s.late.Load() || w.rt.Now()-since < w.limit {
		return false
	}
	s.late.Store(true)
	return true
}

// close ends the watch. It must be called before the handler returns: what net/http has
// behind ctl is another request's afterwards.
func (w *stallWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
