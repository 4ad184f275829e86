package nethttp

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
)

// The response's side of a client: net/http writes head and framing, so what follows says
// to it what an exchange says to its client.

func (c *client) Interim(r *message.Response) error {
	if c.minor == 0 {
		return nil
	}
	h := c.w.Header()
	copyFields(h, r.Fields)
	c.stalls.begin(&c.stalls.write)
	c.w.WriteHeader(r.Status)
	c.stalls.write.end()
	clear(h)
	return nil
}

func (c *client) Head(r *message.Response) error {
	c.sent = true
	h := c.w.Header()
	copyFields(h, r.Fields)
	if !c.ContentRead() && c.r.ProtoMajor == 1 {
		// A task reads the content still, or it goes to waste behind the response: net/http
		// must not wait for it before it writes. It cannot tell afterwards where the next
		// request begins.
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
		if c.core.Draining() {
			h["Connection"] = []string{"close"} // makes net/http send GOAWAY (RFC 9113 §6.8), not this field
		}
		return
	}
	c.chunked = c.minor > 0 && r.Body >= message.Chunked && c.r.Method != http.MethodHead
	c.bare = c.minor == 0 && r.Body >= message.Chunked
	var options []string
	if c.last.Load() || c.core.Draining() {
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
		name := responseName(f)
		h[name] = append(h[name], string(f.Value))
	}
}

// heldBack is how much net/http may hold back of what is written: a Write that stays below
// does not wait for the client.
const heldBack = 2 << 10

func (c *client) Write(p []byte) error {
	c.dirty = true
	if c.loose += len(p); c.loose <= heldBack {
		_, err := c.w.Write(p)
		return c.writeError(err)
	}
	c.stalls.begin(&c.stalls.write)
	_, err := c.w.Write(p)
	c.stalls.write.end()
	return c.writeError(err)
}

func (c *client) writeError(err error) error {
	if err != nil && (c.stalls.write.late.Load() || errors.Is(err, os.ErrDeadlineExceeded)) {
		return engine.ErrTimeout
	}
	return err
}

func (c *client) Flush() error {
	if !c.dirty {
		return nil
	}
	c.dirty, c.loose = false, 0
	c.stalls.begin(&c.stalls.write)
	err := c.ctl.Flush()
	c.stalls.write.end()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return c.writeError(err)
}

// End sends trailers in the way net/http has for names that were not announced; it needs
// the head to be written, or a short response would get a Content-Length instead.
func (c *client) End(trailers []message.Field) error {
	if len(trailers) > 0 {
		if err := c.Flush(); err != nil {
			return err
		}
	}
	for _, f := range trailers {
		c.w.Header().Add(http.TrailerPrefix+string(f.Name), string(f.Value))
	}
	c.trailed = trailers
	c.ended = true
	// net/http writes the rest when the handler has returned. Of a stream of HTTP/2 that the
	// client has reset it would keep the timer, and by it the whole connection, until the end.
	if c.dirty && c.r.Context().Err() == nil {
		c.ctl.SetWriteDeadline(time.Now().Add(c.settings.Stall))
	}
	return nil
}

// Protocol is what net/http says of the request.
func (c *client) Protocol() string { return c.r.Proto }

// CloseAfter ends a connection of HTTP/1.1 with the response.
func (c *client) CloseAfter() { c.last.Store(true) }

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
	_, err = s.Write(http1.AppendResponse(nil, r, http1.ResponseTo{Minor: c.minor}))
	return s, early, err
}

func (c *client) Sent() bool { return c.sent }

// Cut has the handler end the connection, behind what was written, which net/http would drop. Where
// that would be the end of the content, too, the connection is reset.
func (c *client) Cut() {
	c.cut = true
	if !c.bare {
		c.Flush()
		return
	}
	if conn, _, err := c.ctl.Hijack(); err == nil {
		c.rt.Stream(conn).Abort()
		c.cut = false
	}
}
