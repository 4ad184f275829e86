// Package h2 is HTTP/2 towards endpoints: a few connections to each endpoint for each worker,
// with many calls at once on each of them. The connection is a mux.Conn, which has the frames
// and windows; here are upstream.Call and upstream.Pool made of it.
package h2

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/mux"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/upstream"
)

// A call is an upstream.Call: a stream of a connection. One task may send while another
// receives.
type call struct {
	s      *mux.Stream
	conn   *conn
	stall  time.Duration
	reused bool // the connection was open before the call
	alone  bool // the connection carries no other call
	// trailers: the client takes trailers (TE: trailers), so what comes behind the content matters.
	trailers bool
	// accept is the answer to the key of a WebSocket that the call opens; "": it opens none. See
	// websocket.go.
	accept string
}

var _ upstream.Call = (*call)(nil)

var calls = sync.Pool{New: func() any { return new(call) }}

// newCall returns the call of a stream that was opened on c.
func newCall(c *conn, s *mux.Stream, stall time.Duration, reused bool) *call {
	x := calls.Get().(*call)
	*x = call{s: s, conn: c, stall: stall, reused: reused}
	return x
}

// Done implements upstream.Call. What is not complete is reset: whole makes no difference to
// the connection, which carries other calls.
func (x *call) Done(bool) {
	x.s.Close()
	if x.alone {
		x.conn.mux.Leave()
	} else {
		x.conn.release()
	}
	*x = call{}
	calls.Put(x)
}

// Interrupt implements engine.Interrupter. The endpoint is sent RST_STREAM by Done.
func (x *call) Interrupt(err error) { x.s.Interrupt(err) }

// Stale implements upstream.Call. After a failure it is true only if the connection takes no
// further call: a stream that was reset alone has reached the endpoint.
func (x *call) Stale() bool {
	return x.reused && !x.s.Answered() && (x.s.Err() == nil || x.conn.mux.Draining())
}

// Unprocessed implements upstream.Call: the head has not left, or the endpoint says by
// REFUSED_STREAM or GOAWAY that it has not looked at it.
func (x *call) Unprocessed() bool { return x.s.Unprocessed() }

// Refusable implements upstream.Call.
func (x *call) Refusable() bool { return true }

// Persists implements upstream.Call: a request that was answered before its end is reset, which
// costs no connection.
func (x *call) Persists() bool { return false }

// Head implements upstream.Sender.
func (x *call) Head(q *message.Request) {
	x.trailers = q.TrailersOK
	if key := message.WebSocketKey(q); key != nil && x.conn.mux.Connects() {
		x.connect(q, key)
		return
	}
	x.s.SendRequest(q, x.conn.scheme, q.Body == message.NoBody)
}

// by bounds a wait for the endpoint to take content.
func (x *call) by() time.Duration {
	if x.stall == 0 {
		return 0
	}
	return x.s.Runtime().Now() + x.stall
}

// Write implements upstream.Sender.
func (x *call) Write(p []byte) error { return x.failed(x.s.Write(p, x.by())) }

// Flush implements upstream.Sender.
func (x *call) Flush() error { return x.failed(x.s.Flush()) }

// End implements upstream.Sender.
func (x *call) End(trailers []message.Field) error { return x.failed(x.s.End(trailers)) }

// ReadHead implements upstream.Receiver.
func (x *call) ReadHead(r *message.Response, _ []byte, by time.Duration) error {
	if err := x.s.ReadHead(r, by); err != nil {
		return x.failed(err)
	}
	if x.accept != "" && r.Status >= 200 {
		x.connected(r)
	}
	return nil
}

// endMost is how long END_STREAM may take behind content whose length was announced.
const endMost = time.Second

// Content implements upstream.Receiver. Content is over when as much has come as content-length
// announces: a client of HTTP/1.1 takes the response for whole then, and may have sent its next
// request. END_STREAM can come in a frame of its own, or not at all: the endpoint has endMost for it,
// unless the client takes trailers, and a reset or the end of the connection in its place cuts nothing.
func (x *call) Content(wait bool, by time.Duration) ([]byte, error) {
	if wait && !x.trailers && x.s.Complete() {
		if most := x.s.Runtime().Now() + endMost; by == 0 || most < by {
			by = most
		}
	}
	data, err := x.s.Content(wait, by)
	switch {
	case err == nil, err == io.EOF:
		return data, err
	case x.s.Complete():
		return nil, io.EOF
	}
	return nil, x.failed(err)
}

// Trailers implements upstream.Receiver.
func (x *call) Trailers() []message.Field { return x.s.Trailers() }

var (
	errSilent   = errors.New("the endpoint's connection is silent, and PING is not answered")
	errProtocol = errors.New("the endpoint has broken the rules of HTTP/2")
)

// failed is err, of the stream, as an exchange knows it:
//
//	REFUSED_STREAM, above the last of GOAWAY   upstream.ErrUnprocessed
//	a response that breaks a rule              *http1.Error with the reason of the rule
//	the connection breaks a rule, or is silent an error of its own, which no read has that may
//	                                           go on: not engine.ErrTimeout
//	anything else                              as it is
func (x *call) failed(err error) error {
	if err == nil {
		return nil
	}
	var bad *http2.Error // errors.As has it on the heap
	switch {
	case errors.Is(err, mux.ErrRefused):
		return upstream.ErrUnprocessed
	case errors.Is(err, engine.ErrTimeout) && x.s.Err() != nil:
		return errSilent
	case !errors.As(err, &bad):
		return err
	case bad.Connection:
		return errors.Join(errProtocol, bad)
	}
	why := bad.Reason
	if why == "" {
		why = reason.BadStatusLine
	}
	return &http1.Error{Status: 502, Reason: why}
}
