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
			data, err = x.more(u, stream)
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

// more waits for the next piece of content.
func (x *Exchange) more(u *upstream.Conn, stream bool) (data []byte, err error) {
	for by := x.patience(stream, x.rt.Now()); ; {
		if data, err = u.Content(true, by); !errors.Is(err, engine.ErrTimeout) {
			return data, err
		}
		now := x.rt.Now()
		if by = x.longer(stream, now); by <= now {
			return nil, err
		}
	}
}

// longer is until when the relay waits for the endpoint after a wait has expired; not later
// than now: no longer. An endpoint may be silent until it has read the request, so its limit
// counts from the end of the content; while that is sent, in good order, each wait of the
// upload has a limit of its own.
func (x *Exchange) longer(stream bool, now time.Duration) (by time.Duration) {
	p := &x.upload
	if p.task == nil || p.fault.Load() != nil {
		return 0
	}
	from, over := p.sentAt()
	if !over {
		from = now
	}
	return x.patience(stream, from)
}

// spliceDown has content go past the relay. useless says that none does.
func (x *Exchange) spliceDown(u *upstream.Conn) (useless bool, fault *Error) {
	var by time.Duration
	if x.route.Whole {
		by = x.deadline
	}
	m := x.splice(x.client.ResponseWriter, u, spliceMin, by)
	x.log.BytesOut += m.Given
	switch {
	case m.WriteErr != nil:
		return false, clientError(m.WriteErr)
	case m.ReadErr != nil:
		now := x.rt.Now()
		if errors.Is(m.ReadErr, engine.ErrTimeout) && x.longer(false, now) > now {
			return false, nil // the relay waits on
		}
		return false, x.blame(m.ReadErr)
	}
	return m.Taken == 0, nil
}

// patience is until when the relay waits for an endpoint that is silent since from. A route's timeout bounds the
// whole exchange, but an event stream only up to its head: it may be silent for as long as
// the route says, by default for any time, which is zero.
func (x *Exchange) patience(stream bool, from time.Duration) time.Duration {
	if stream && x.route.Stall == 0 {
		return 0
	}
	by := from + cmp.Or(x.route.Stall, x.table.Stall)
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
