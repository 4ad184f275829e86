package exchange

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// deliver passes the endpoint's response on to the client.
func (x *Exchange) deliver(u *upstream.Conn) *Error {
	r := &x.response
	x.log.Status = r.Status
	if r.Status == 101 {
		return x.tunnel(u)
	}
	stream := isEventStream(r)
	message.DropHopByHop(r.Fields)
	x.route.Rules.Response(r)
	if x.upload.task == nil {
		x.client.Skip()
	}
	if err := x.client.Head(r); err != nil {
		return clientError(err)
	}
	return x.relay(u, stream)
}

// relay passes content on as it comes. Whatever has arrived is written before the next
// wait, so that an event is never held back; while it waits nothing is buffered. Much
// content goes past it, as far as the engine can do that, and unless the route has an own
// limit for the endpoint's silence: splicing has one for both sides.
func (x *Exchange) relay(u *upstream.Conn, stream bool) *Error {
	for copying := stream || x.route.Stall != 0; ; {
		data, err := u.Content(false, 0)
		if data == nil && err == nil {
			if err := x.client.Flush(); err != nil {
				return clientError(err)
			}
			if !copying {
				var fault *Error
				if copying, fault = x.spliceDown(u); fault != nil {
					return fault
				}
			}
			data, err = u.Content(true, x.patience(stream))
			if errors.Is(err, engine.ErrTimeout) && x.uploads() {
				continue // the endpoint may be silent until it has read the request
			}
		}
		if err == io.EOF {
			if err := x.client.End(u.Trailers()); err != nil {
				return clientError(err)
			}
			return nil
		}
		if err != nil {
			return x.blame(err)
		}
		x.log.BytesOut += int64(len(data))
		if err := x.client.Write(data); err != nil {
			return clientError(err)
		}
	}
}

// uploads reports whether the request's content is still being sent, in good order and in
// time: its own waits are limited.
func (x *Exchange) uploads() bool {
	p := &x.upload
	if p.task == nil || p.fault.Load() != nil || x.rt.Now() >= x.deadline {
		return false
	}
	_, over := p.sentAt()
	return !over
}

// spliceDown has content go past the relay. useless says that none does.
func (x *Exchange) spliceDown(u *upstream.Conn) (useless bool, fault *Error) {
	var by time.Duration
	if x.route.Whole {
		by = x.deadline
	}
	m := x.splice(x.client, u, spliceMin, by)
	x.log.BytesOut += m.Given
	switch {
	case m.WriteErr != nil:
		return false, clientError(m.WriteErr)
	case m.ReadErr != nil:
		return false, x.blame(m.ReadErr)
	}
	return m.Taken == 0, nil
}

// patience is how long the relay may wait for the endpoint. A route's timeout bounds the
// whole exchange, but an event stream only up to its head: it may be silent for as long as
// the route says, by default for any time.
func (x *Exchange) patience(stream bool) time.Duration {
	if stream && x.route.Stall == 0 {
		return 0
	}
	by := x.rt.Now() + cmp.Or(x.route.Stall, x.table.Stall)
	if stream {
		return by
	}
	if x.route.Whole && x.deadline < by {
		by = x.deadline
	}
	return by
}

func isEventStream(r *message.Response) bool {
	v, ok := message.GetKind(r.Fields, message.ContentType)
	const name = "text/event-stream"
	return ok && len(v) >= len(name) && message.EqualFold(v[:len(name)], name)
}
