// Package std runs exchanges below net/http: Handler is what an embedder mounts, and what
// serves clients of HTTP/2. net/http reads and writes the client's side; everything
// towards the endpoint is the proxy's own.
package std

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/h1"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/wire"
)

// client is an exchange.Client made of a ResponseWriter and a Request.
type client struct {
	rt  *goroutine.Runtime
	w   http.ResponseWriter
	r   *http.Request
	ctl *http.ResponseController

	settings *wire.Settings // those in force when the request came

	buf      []byte // for Content, made when first needed
	got      int64  // of the content
	trailers []message.Field
	read     atomic.Bool
	stopped  atomic.Bool
	last     atomic.Bool // the connection takes no further request
	draining func() bool // no connection takes a further request any more

	minor   uint8
	skipped bool // nobody reads the content any more
	sent    bool
	dirty   bool // written since the last flush
	bare    bool // only the end of the connection ends the response's content
	cut     bool // the handler must end the connection
	release func()

	watch struct {
		sync.Mutex
		stop func() bool // of the context's AfterFunc; nil until first needed
		up   engine.Stream
		why  error // the client left, or the exchange is broken off
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
	n, err := c.r.Body.Read(c.buf)
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
	c.last.Store(true) // net/http would go on behind content that is none
	switch {
	case errors.As(err, &large):
		return &h1.Error{Status: 413, Reason: "content-too-large"}
	case c.r.Context().Err() != nil, errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken):
		return engine.ErrClientGone
	}
	return &h1.Error{Status: 400, Reason: "bad-content"} // net/http has no name for it
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

// Skip leaves the content to net/http, which reads over it before the response is written.
func (c *client) Skip() { c.skipped = true }

func (c *client) StopContent() {
	c.stopped.Store(true)
	c.ctl.SetReadDeadline(time.Unix(1, 0))
}

// Continue is net/http's own business: reading the content sends it.
func (c *client) Continue() error { return nil }

func (c *client) Interim(r *message.Response) error {
	if c.minor == 0 {
		return nil
	}
	h := c.w.Header()
	copyFields(h, r.Fields)
	c.w.WriteHeader(r.Status)
	clear(h)
	return nil
}

func (c *client) Head(r *message.Response) error {
	c.sent = true
	h := c.w.Header()
	copyFields(h, r.Fields)
	if !c.ContentRead() && !c.skipped && c.r.ProtoMajor == 1 {
		// A task reads the content still: net/http must not do so before it writes. It
		// cannot tell afterwards where the next request begins.
		c.ctl.EnableFullDuplex()
		c.last.Store(true)
	}
	c.connection(h, r)
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // do not guess one
	}
	switch {
	case r.Body == message.Length:
		h["Content-Length"] = []string{strconv.FormatInt(r.Length, 10)}
	case r.Body == message.NoBody:
		// net/http ends a 304 of HTTP/2 as if it had content, which clients then miss.
		if told, ok := message.GetKind(r.Fields, message.ContentLength); ok && (c.r.Method == "HEAD" || r.Status == 304 && c.r.ProtoMajor == 1) {
			h["Content-Length"] = []string{string(told)}
		}
	}
	c.w.WriteHeader(r.Status)
	c.dirty = true
	return nil
}

// connection says what becomes of it, as far as net/http does not by itself.
func (c *client) connection(h http.Header, r *message.Response) {
	if c.r.ProtoMajor != 1 {
		if c.draining() {
			h["Connection"] = []string{"close"} // makes net/http send GOAWAY (RFC 9113 §6.8), not this field
		}
		return
	}
	c.bare = c.minor == 0 && r.Body >= message.Chunked
	var options []string
	if c.last.Load() || c.draining() {
		options = append(options, "close")
	}
	if r.Upgrade != nil && r.Status == http.StatusUpgradeRequired {
		options = append(options, "Upgrade")
		h["Upgrade"] = []string{string(r.Upgrade)}
	}
	if options != nil {
		h["Connection"] = []string{strings.Join(options, ", ")}
	}
}

// copyFields adds what is to be forwarded, but for the framing, which net/http writes.
func copyFields(h http.Header, fields []message.Field) {
	for i := range fields {
		f := &fields[i]
		if f.Drop || f.Kind == message.ContentLength || f.Kind == message.TransferEncoding || f.Kind == message.Trailer {
			continue
		}
		name := http.CanonicalHeaderKey(string(f.Name))
		h[name] = append(h[name], string(f.Value))
	}
}

func (c *client) Write(p []byte) error {
	c.dirty = true
	_, err := c.w.Write(p)
	return err
}

func (c *client) Flush() error {
	if !c.dirty {
		return nil
	}
	c.dirty = false
	if err := c.ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// End sends trailers in the way net/http has for names that were not announced; it needs
// the head to be written, or a short response would get a Content-Length instead.
func (c *client) End(trailers []message.Field) error {
	if len(trailers) > 0 {
		if err := c.ctl.Flush(); err != nil {
			return err
		}
	}
	for _, f := range trailers {
		c.w.Header().Add(http.TrailerPrefix+string(f.Name), string(f.Value))
	}
	return nil
}

func (c *client) Upgrade(r *message.Response) (engine.Stream, []byte, error) {
	conn, rw, err := c.ctl.Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.sent = true
	conn.SetDeadline(time.Time{})
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	early = append([]byte(nil), early...)
	s := c.rt.Stream(conn)
	c.release = func() { s.Close() }
	_, err = s.Write(h1.AppendResponse(nil, r, h1.ResponseTo{Minor: c.minor}))
	return s, early, err
}

func (c *client) Sent() bool { return c.sent }

// Cut has the handler end the connection. Where that would be the end of the content, too,
// the connection is reset.
func (c *client) Cut() {
	c.cut = true
	if !c.bare {
		return
	}
	if conn, _, err := c.ctl.Hijack(); err == nil {
		c.rt.Stream(conn).Abort()
		c.cut = false
	}
}

// Watch goes by the request's context, which net/http cancels when the client leaves.
func (c *client) Watch(up engine.Stream) {
	w := &c.watch
	w.Lock()
	defer w.Unlock()
	if w.stop == nil {
		w.stop = context.AfterFunc(c.r.Context(), func() { c.Interrupt(engine.ErrClientGone) })
	}
	if w.up = up; w.why != nil {
		up.Interrupt(w.why)
	}
}

func (c *client) Unwatch(engine.Stream) {
	c.watch.Lock()
	c.watch.up = nil
	c.watch.Unlock()
}

// Interrupt breaks the exchange off.
func (c *client) Interrupt(err error) {
	c.watch.Lock()
	defer c.watch.Unlock()
	if c.watch.why == nil {
		c.watch.why = err
	}
	if c.watch.up != nil {
		c.watch.up.Interrupt(err)
	}
}

func (c *client) close() {
	if c.watch.stop != nil {
		c.watch.stop()
	}
	if c.release != nil {
		c.release()
	}
}
