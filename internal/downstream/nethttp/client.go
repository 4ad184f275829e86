// Package nethttp runs exchanges below net/http: Handler is what an embedder mounts. net/http reads and writes the client's side; everything
// towards the endpoint is the proxy's own.
package nethttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// client is all three parts of a downstream.Client, made of a ResponseWriter and a Request.
type client struct {
	rt  *goroutine.Runtime
	w   http.ResponseWriter
	r   *http.Request
	ctl *http.ResponseController

	settings *downstream.Settings // those in force when the request came
	stalls   stallWatch

	buf      []byte // for Content, made when first needed
	got      int64  // of the content
	trailers []message.Field
	trailed  []message.Field // of the response
	read     atomic.Bool
	stopped  atomic.Bool
	failed   atomic.Bool // a read of the content did, and Content says why
	last     atomic.Bool // the connection takes no further request
	core     *core.Proxy

	minor   uint8
	expects bool // Expect: 100-continue
	patient bool // a call of gRPC over HTTP/2, which may be silent for as long as it likes
	sent    bool
	dirty   bool // written since the last flush
	loose   int  // bytes written since then, about: net/http holds back few
	ended   bool // the response is complete
	chunked bool // and net/http delimits its content by chunks
	bare    bool // only the end of the connection ends the response's content
	cut     bool // the handler must end the connection
	release func()

	watch struct {
		sync.Mutex
		stop func() bool // of the context's AfterFunc; nil until first needed
		up   engine.Interrupter
		why  error // the client left, or the exchange is broken off

		lingers bool // up is the client's own stream, which ends when the client leaves
	}
}

func (c *client) Content(wait bool) ([]byte, error) {
	if c.read.Load() {
		return nil, io.EOF
	}
	if !wait {
		return nil, nil
	}
	if c.stopped.Load() {
		return nil, engine.ErrTimeout
	}
	if c.buf == nil {
		c.buf = make([]byte, limits.RelayBytes)
	}
	if !c.patient {
		c.stalls.begin(&c.stalls.read)
	}
	n, err := c.r.Body.Read(c.buf)
	if err != nil && err != io.EOF {
		c.failed.Store(true) // before the end of the read, for clientLeft
	}
	c.stalls.read.end()
	c.got += int64(n)
	if err == nil && c.got == c.r.ContentLength && len(c.r.Trailer) == 0 {
		c.read.Store(true) // io.EOF would say no more, and may come later
	}
	if err == io.EOF {
		if !c.readTrailers() {
			return nil, c.contentError(errTrailers)
		}
		c.read.Store(true)
	}
	if n > 0 {
		return c.buf[:n], nil
	}
	return nil, c.contentError(err)
}

func (c *client) contentError(err error) error {
	var large *http.MaxBytesError
	var broken *net.OpError
	switch {
	case err == nil, err == io.EOF:
		return err
	case c.stopped.Load():
		return engine.ErrTimeout
	}
	if c.stalls.read.late.Load() || errors.Is(err, os.ErrDeadlineExceeded) { // a server's own, too
		c.last.Store(true)
		return engine.ErrTimeout
	}
	c.last.Store(true) // net/http would go on behind content that is none
	switch {
	case errors.As(err, &large):
		return &http1.Error{Status: 413, Reason: reason.ContentTooLarge}
	case c.r.Context().Err() != nil, errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken):
		return engine.ErrClientGone
	}
	return &http1.Error{Status: 400, Reason: reason.BadContent} // net/http has no name for it
}

var errTrailers = errors.New("a trailer that is no field")

// readTrailers reports whether all of them are fields and within the limits: net/http looks
// at those of the head only.
func (c *client) readTrailers() bool {
	size, fields := 0, 0
	for name, values := range c.r.Trailer {
		for _, v := range values {
			f := message.NewField(name, v)
			if !message.ValidName(f.Name) || !message.ValidValue(f.Value) {
				return false
			}
			size, fields = size+len(name)+len(v)+len(": \r\n"), fields+1
			if size > c.settings.Limits.Bytes || fields > c.settings.Limits.Fields {
				return false
			}
			if message.TrailerAllowed(f.Name) {
				c.trailers = append(c.trailers, f)
			}
		}
	}
	return true
}

func (c *client) ContentRead() bool         { return c.read.Load() }
func (c *client) Trailers() []message.Field { return c.trailers }

// Bounds of what Skip reads: net/http cannot say what has arrived.
const (
	skipBytes = 256 << 10
	skipFor   = 5 * time.Millisecond
)

// Skip reads over content that has arrived, so that a response which does not need it costs
// no connection. A client that waits for 100 (Continue) is not asked for it.
func (c *client) Skip() {
	left := c.r.ContentLength - c.got
	if c.r.ProtoMajor != 1 || c.read.Load() || c.expects || c.last.Load() || left > skipBytes {
		return
	}
	if c.ctl.SetReadDeadline(time.Now().Add(skipFor)) != nil {
		return
	}
	for n := 0; n < skipBytes; {
		data, err := c.Content(true)
		if err != nil {
			break
		}
		n += len(data)
	}
	c.ctl.SetReadDeadline(time.Time{})
}

func (c *client) StopContent() {
	c.stopped.Store(true)
	c.ctl.SetReadDeadline(time.Unix(1, 0))
}

// Continue is net/http's own business: reading the content sends it.
func (c *client) Continue() error { return nil }

// Watch goes by the request's context, which net/http cancels when the client leaves.
func (c *client) Watch(up engine.Interrupter) {
	w := &c.watch
	w.Lock()
	defer w.Unlock()
	if w.stop == nil {
		w.stop = context.AfterFunc(c.r.Context(), c.clientLeft)
	}
	if w.up = up; w.why != nil {
		up.Interrupt(w.why)
	}
}

// readGrace is how long a read of content has to fail once the request's context has ended.
const readGrace = 100 * time.Millisecond

// clientLeft is called when the request's context has ended. net/http ends that of HTTP/1.1
// for every read that fails, also for one that a deadline of ours or of the server stopped:
// then Content says what happened, and the client is there for an answer. A context that
// ended while a read goes on was ended by middleware.
func (c *client) clientLeft() {
	if c.stalls.read.active() {
		time.Sleep(readGrace)
	}
	if !c.failed.Load() && !c.stopped.Load() {
		c.Interrupt(engine.ErrClientGone)
	}
}

func (c *client) Unwatch(engine.Interrupter) {
	c.watch.Lock()
	c.watch.up = nil
	c.watch.Unlock()
}

// Interrupt breaks the exchange off.
func (c *client) Interrupt(err error) {
	c.watch.Lock()
	defer c.watch.Unlock()
	if c.watch.lingers && err == engine.ErrClientGone {
		return
	}
	if c.watch.why == nil {
		c.watch.why = err
	}
	if c.watch.up != nil {
		c.watch.up.Interrupt(err)
	}
}

func (c *client) close() {
	c.stalls.close()
	if c.watch.stop != nil {
		c.watch.stop()
	}
	if c.release != nil {
		c.release()
	}
}
