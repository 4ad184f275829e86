package front

// How a Server ends. Close may be called by several goroutines; one goroutine, begun by the
// first call, does the work step by step, and the callers only wait for it. So no step
// that does not end (a source, a policy or a disk that hangs) can hold a caller for longer
// than its context allows. Each step is bounded as well, so that the next ones are done.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// closeSlack is how long after its context Close returns at the latest, less what a
	// busy machine adds: what was broken off needs a moment to end.
	closeSlack = 75 * time.Millisecond
	// stepFor bounds each step at the end of which something that runs has to return, and
	// brokenFor does if what it does was broken off before.
	stepFor   = 10 * time.Second
	brokenFor = 2 * time.Second
	// handshakesFor bounds how long handshakes that were under way when the listeners closed may
	// take.
	handshakesFor = 2 * time.Second
	// logFor bounds the writing of what is left of the logs.
	logFor = 5 * time.Second
)

// closing is how far Close has come.
type closing struct {
	drain   sync.Once
	drained time.Time // when Drain was called first; set by drain
	begin   sync.Once
	ended   chan struct{}   // closed at the end, after err is set
	hurried context.Context // done when a caller's context was, whose error is the cause
	broken  context.CancelCauseFunc
	err     error
}

func (c *closing) init() {
	c.ended = make(chan struct{})
	c.hurried, c.broken = context.WithCancelCause(context.Background())
}

// Drain begins the end without refusing anything yet.
func (srv *Server) Drain() {
	srv.closing.drain.Do(func() {
		srv.closing.drained = time.Now()
		srv.core.Drain()
	})
}

// Close drains the Server and ends everything that it has started.
func (srv *Server) Close(ctx context.Context) error {
	srv.Drain()
	srv.closing.begin.Do(func() { go srv.end() })
	defer context.AfterFunc(ctx, func() { srv.hurry(ctx.Err()) })()
	select {
	case <-srv.closing.ended:
		return srv.closing.err
	case <-ctx.Done():
	}
	slack := time.NewTimer(closeSlack)
	defer slack.Stop()
	select {
	case <-srv.closing.ended:
		return srv.closing.err
	case <-slack.C:
		return fmt.Errorf("%w: %s", ctx.Err(), srv.left())
	}
}

// hurry has what is left broken off, because of err.
func (srv *Server) hurry(err error) {
	srv.closing.broken(err)
	srv.core.Hurry()
	srv.stopHandshakes()
}

// left says what has not ended yet.
func (srv *Server) left() string {
	var what []string
	if n := srv.core.Connections(); n > 0 {
		what = append(what, fmt.Sprintf("%d requests or connections", n))
	}
	for _, name := range srv.core.Left() {
		what = append(what, "service "+name)
		if len(what) == 10 {
			what = append(what, "others")
			break
		}
	}
	if n := srv.sources.Strays(); n > 0 {
		what = append(what, fmt.Sprintf("%d sources", n))
	}
	if what == nil {
		return "the end is not complete yet"
	}
	return "not ended yet: " + strings.Join(what, ", ")
}

// end is the work of Close.
func (srv *Server) end() {
	defer close(srv.closing.ended)
	srv.awaitDelay()
	srv.stopAccepting()
	var left []string
	step := func(what string, f func()) {
		if !srv.within(f) {
			left = append(left, what)
		}
	}
	srv.files.cancel()
	drained := srv.core.Close()
	for _, name := range srv.core.Left() {
		left = append(left, "service "+name)
	}
	if n := srv.core.Connections(); n > 0 {
		left = append(left, fmt.Sprintf("%d requests or connections", n))
	}
	step("connections", srv.serving.Wait)
	step("event loops", srv.loops.close)
	step("files", srv.files.stop)
	if n := srv.sources.Strays(); n > 0 {
		left = append(left, fmt.Sprintf("%d sources", n))
	}
	srv.rt.Close()
	logs := srv.closeLogs(left)
	switch {
	case !drained:
		srv.closing.err = context.Cause(srv.closing.hurried)
	case len(left) > 0:
		srv.closing.err = errors.New("poise: left behind, because it did not end: " + strings.Join(left, ", "))
	default:
		srv.closing.err = logs
	}
}

// awaitDelay waits for the end of the drain's delay, or until the context of a Close is over.
func (srv *Server) awaitDelay() {
	delay := time.NewTimer(srv.core.Config().Timeouts.DrainDelay - time.Since(srv.closing.drained))
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-srv.closing.hurried.Done():
	}
}

// stopAccepting closes the listeners, and lets handshakes under way end: their clients have a
// connection, and send a request on it next.
func (srv *Server) stopAccepting() {
	srv.mu.Lock()
	srv.closed = true
	close(srv.done)
	var all []net.Listener
	for l := range srv.listeners {
		all = append(all, l)
	}
	srv.mu.Unlock()
	for _, l := range all {
		srv.within(func() { l.Close() })
	}
	srv.awaitHandshakes()
	srv.stopHandshakes()
}

// awaitHandshakes waits until every connection that was accepted is core's: twice
// in a row, as one is in nobody's hands for an instant.
func (srv *Server) awaitHandshakes() {
	tick := time.NewTicker(enterEvery)
	defer tick.Stop()
	end := time.Now().Add(handshakesFor)
	for none := 0; none < 2 && time.Now().Before(end); none++ {
		if srv.entering.Load() > 0 {
			none = -1
		}
		select {
		case <-tick.C:
		case <-srv.closing.hurried.Done():
			return
		}
	}
}

// within runs f and waits for it as long as a step may take; it reports whether f returned.
func (srv *Server) within(f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	most := time.NewTimer(stepFor)
	defer most.Stop()
	select {
	case <-done:
		return true
	case <-most.C:
		return false
	case <-srv.closing.hurried.Done():
	}
	most.Reset(brokenFor)
	select {
	case <-done:
		return true
	case <-most.C:
		return false
	}
}

// closeLogs writes what is left of the logs, and the last words.
func (srv *Server) closeLogs(left []string) error {
	ctx, cancel := context.WithTimeout(srv.closing.hurried, logFor)
	defer cancel()
	err := srv.access.Close(ctx)
	srv.spans.Close(ctx)
	if len(left) > 0 {
		srv.log.Error("left behind, because it did not end", "what", strings.Join(left, ", "))
	}
	if err != nil {
		srv.log.Error("left behind", "error", err)
	}
	if srv.queue != nil {
		srv.closeQueue(ctx)
	}
	return err
}

// closeQueue gives the log a moment even where ctx is done: the last words are in it.
func (srv *Server) closeQueue(ctx context.Context) {
	if srv.queue.Close(ctx) {
		return
	}
	late, cancel := context.WithTimeout(context.Background(), closeSlack)
	defer cancel()
	srv.queue.Close(late)
}

// abandon ends what New has started when it fails.
func (srv *Server) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), logFor)
	defer cancel()
	srv.stopHandshakes()
	srv.access.Close(ctx)
	srv.spans.Close(ctx)
	srv.rt.Close()
	if srv.queue != nil {
		srv.closeQueue(ctx)
	}
}
