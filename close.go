package poise

// How a Proxy ends. Close may be called by several goroutines; one goroutine, begun by the
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

// Drain begins the end without refusing anything yet: from now on Ready returns
// ErrDraining, Status says so, and every response is the last of its connection
// (Connection: close, or GOAWAY for HTTP/2). So those who balance over several proxies, and
// clients that keep connections, go elsewhere while nothing is lost. It returns at once and
// may be called more than once. There is no way back; Close is next.
func (p *Proxy) Drain() {
	p.closing.drain.Do(func() {
		p.closing.drained = time.Now()
		p.core.Drain()
	})
}

// Close drains the Proxy and ends everything that it has started. It is Drain first, if
// that was not called before, and goes on accepting and serving until Timeouts.DrainDelay
// after that. Then it closes the listeners, refuses further requests of a mounted handler,
// and waits for the requests under way. Clients that keep an idle connection have a moment
// to use it a last time.
//
// As soon as ctx is done what is left is broken off, and Close returns not later than
// 100 ms after that, with ctx's error; if something has not ended by then, the error names
// it. It may be called again, at the same time too: every call waits for the same end, and
// the first context that is done counts for all.
//
// What cannot be made to end is left behind, also if ctx is never done: a Source that does
// not return when its context is done, a Policy that hangs, a logger or an access log whose
// write does not return. The error says so.
func (p *Proxy) Close(ctx context.Context) error {
	p.Drain()
	p.closing.begin.Do(func() { go p.end() })
	defer context.AfterFunc(ctx, func() { p.hurry(ctx.Err()) })()
	select {
	case <-p.closing.ended:
		return p.closing.err
	case <-ctx.Done():
	}
	slack := time.NewTimer(closeSlack)
	defer slack.Stop()
	select {
	case <-p.closing.ended:
		return p.closing.err
	case <-slack.C:
		return fmt.Errorf("%w: %s", ctx.Err(), p.left())
	}
}

// hurry has what is left broken off, because of err.
func (p *Proxy) hurry(err error) {
	p.closing.broken(err)
	p.core.Hurry()
	p.unshake()
}

// left says what has not ended yet.
func (p *Proxy) left() string {
	var what []string
	if n := p.core.Connections(); n > 0 {
		what = append(what, fmt.Sprintf("%d requests or connections", n))
	}
	for _, name := range p.core.Left() {
		what = append(what, "service "+name)
		if len(what) == 10 {
			what = append(what, "others")
			break
		}
	}
	if n := p.strays.Load(); n > 0 {
		what = append(what, fmt.Sprintf("%d sources", n))
	}
	if what == nil {
		return "the end is not complete yet"
	}
	return "not ended yet: " + strings.Join(what, ", ")
}

// end is the work of Close.
func (p *Proxy) end() {
	defer close(p.closing.ended)
	p.awaitDelay()
	p.stopAccepting()
	h2 := make(chan struct{})
	go func() {
		defer close(h2)
		if p.h2.Shutdown(p.closing.hurried) != nil {
			p.h2.Close()
		}
	}()
	var left []string
	step := func(what string, f func()) {
		if !p.within(f) {
			left = append(left, what)
		}
	}
	p.files.cancel()
	drained := p.core.Close()
	for _, name := range p.core.Left() {
		left = append(left, "service "+name)
	}
	if n := p.core.Connections(); n > 0 {
		left = append(left, fmt.Sprintf("%d requests or connections", n))
	}
	step("HTTP/2", func() { <-h2 })
	step("connections", p.serving.Wait)
	step("event loops", p.loops.close)
	step("files", p.files.stop)
	if n := p.strays.Load(); n > 0 {
		left = append(left, fmt.Sprintf("%d sources", n))
	}
	p.rt.Close()
	logs := p.closeLogs(left)
	switch {
	case !drained:
		p.closing.err = context.Cause(p.closing.hurried)
	case len(left) > 0:
		p.closing.err = errors.New("poise: left behind, because it did not end: " + strings.Join(left, ", "))
	default:
		p.closing.err = logs
	}
}

// awaitDelay waits for the end of the drain's delay, or until somebody hurries.
func (p *Proxy) awaitDelay() {
	delay := time.NewTimer(p.core.Config().Timeouts.DrainDelay - time.Since(p.closing.drained))
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-p.closing.hurried.Done():
	}
}

// stopAccepting closes the listeners and breaks off handshakes.
func (p *Proxy) stopAccepting() {
	p.mu.Lock()
	p.closed = true
	close(p.done)
	var all []net.Listener
	for l := range p.listeners {
		all = append(all, l)
	}
	p.mu.Unlock()
	for _, l := range all {
		p.within(func() { l.Close() })
	}
	p.unshake()
}

// within runs f and waits for it as long as a step may take; it reports whether f returned.
func (p *Proxy) within(f func()) bool {
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
	case <-p.closing.hurried.Done():
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
func (p *Proxy) closeLogs(left []string) error {
	ctx, cancel := context.WithTimeout(p.closing.hurried, logFor)
	defer cancel()
	err := p.access.Close(ctx)
	if len(left) > 0 {
		p.log.Error("left behind, because it did not end", "what", strings.Join(left, ", "))
	}
	if err != nil {
		p.log.Error("left behind", "error", err)
	}
	if p.queue != nil {
		p.closeQueue(ctx)
	}
	return err
}

// closeQueue gives the log a moment even where ctx is done: the last words are in it.
func (p *Proxy) closeQueue(ctx context.Context) {
	if p.queue.Close(ctx) {
		return
	}
	late, cancel := context.WithTimeout(context.Background(), closeSlack)
	defer cancel()
	p.queue.Close(late)
}

// abandon ends what New has started when it fails.
func (p *Proxy) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), logFor)
	defer cancel()
	p.unshake()
	p.access.Close(ctx)
	p.rt.Close()
	if p.queue != nil {
		p.closeQueue(ctx)
	}
}
