package h2

import (
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/mux"
)

// A client is the client of one exchange: all three parts of a downstream.Client. The task of the
// exchange calls it, except that one forked task may call Content meanwhile.
type client struct {
	s        *mux.Stream
	rt       engine.Runtime
	settings *downstream.Settings // as they were when the request began: those of the Conn change meanwhile
	head     bool                 // the method is HEAD
	sent     bool                 // the final head has been given
	began    bool                 // an interim head has
	dated    downstream.Dated

	connect bool // the request is an extended CONNECT: see websocket.go
	key     [keyLen]byte
}

var (
	_ downstream.Finisher = (*client)(nil)
	_ downstream.Pauser   = (*client)(nil)
	_ downstream.Refuser  = (*client)(nil)
)

// newClient is the client of s. A stream that is used again has one from before.
func newClient(c *Conn, s *mux.Stream) *client {
	x, ok := s.User.(*client)
	if !ok {
		x = new(client)
		s.User = x
	}
	x.s, x.rt, x.settings = s, s.Runtime(), c.settings
	x.head, x.sent, x.began, x.connect = string(s.Request.Method) == "HEAD", false, false, false
	return x
}

// Finish lets go of the stream: the exchange is over. What is not complete is reset.
func (x *client) Finish() {
	s := x.s
	x.s, x.rt, x.settings = nil, nil, nil
	s.Close() // gives x away, too
}

func (x *client) by() time.Duration {
	if x.settings.Stall == 0 {
		return 0
	}
	return x.rt.Now() + x.settings.Stall
}

// gone is err, of the stream, as an exchange knows it.
func gone(err error) error {
	if err == nil {
		return nil
	}
	var bad *http2.Error // errors.As has it on the heap
	switch {
	case errors.Is(err, engine.ErrTimeout), errors.Is(err, engine.ErrStopping):
		return err
	case errors.As(err, &bad) && bad.Reason != "":
		return &http1.Error{Status: 400, Reason: bad.Reason}
	}
	return engine.ErrClientGone
}

// Content returns the next piece of the request's content: see downstream.RequestContent.
func (x *client) Content(wait bool) ([]byte, error) {
	data, err := x.s.Content(wait, x.by())
	if err != nil && err != io.EOF {
		err = gone(err)
	}
	return data, err
}

// ContentRead reports whether all content was taken.
func (x *client) ContentRead() bool { return x.s.ContentRead() }

// Trailers are the request's trailer fields.
func (x *client) Trailers() []message.Field { return x.s.Trailers() }

// StopContent makes a Content that waits in another task return.
func (x *client) StopContent() { x.s.StopContent() }

// Pause ends a wait for content that goes on later: see downstream.Pauser.
func (x *client) Pause(on bool) { x.s.PauseContent(on) }

// Resumable reports whether the stream is as it was before the wait.
func (x *client) Resumable() bool { return x.s.Err() == nil }

// Skip reads over content that has arrived.
func (x *client) Skip() {
	for {
		if data, err := x.s.Content(false, 0); data == nil || err != nil {
			return
		}
	}
}

// Continue tells the client to send the content it holds back.
func (x *client) Continue() error { return x.Interim(&message.Response{Status: 100}) }

// Interim writes a 1xx response at once. 101 does not exist in HTTP/2.
func (x *client) Interim(r *message.Response) error {
	if r.Status == 101 {
		return nil
	}
	x.began = true
	if err := x.s.SendResponse(r, false, x.by()); err != nil {
		return gone(err)
	}
	return x.Flush()
}

// Head gathers the final head. One without content ends the stream.
func (x *client) Head(r *message.Response) error {
	x.sent = true
	x.refuseTunnel(r)
	x.dated.Date(r, x.settings.Clock)
	end := x.head || r.Body == message.NoBody || r.Status == 204 || r.Status == 304
	return gone(x.s.SendResponse(r, end, x.by()))
}

// Write sends a piece of content, or gathers it.
func (x *client) Write(p []byte) error { return gone(x.s.Write(p, x.by())) }

// Flush has what is gathered leave.
func (x *client) Flush() error { return gone(x.s.Flush()) }

// End completes the response.
func (x *client) End(trailers []message.Field) error { return gone(x.s.End(trailers)) }

// Sent reports whether the final head has been given.
func (x *client) Sent() bool { return x.sent }

// Cut ends a response that cannot be completed: NO_ERROR would make the client take it for whole.
func (x *client) Cut() { x.s.Reset(http2.InternalError) }

// Refuse says that the request was not processed: see downstream.Refuser.
func (x *client) Refuse() bool {
	if x.sent || x.began {
		return false
	}
	x.s.Reset(http2.RefusedStream)
	return true
}

// Left reports whether the client has reset the stream, or its connection has ended.
func (x *client) Left() bool { return x.s.Err() != nil }

// Protocol is what the access log shows.
func (x *client) Protocol() string { return "HTTP/2.0" }

// CloseAfter does nothing: the connection carries other requests.
func (x *client) CloseAfter() {}

// Watch has up interrupted with engine.ErrClientGone when the client resets the stream, or its
// connection ends.
func (x *client) Watch(up engine.Interrupter) { x.s.Watch(up) }

// Unwatch ends Watch.
func (x *client) Unwatch(up engine.Interrupter) { x.s.Unwatch(up) }
