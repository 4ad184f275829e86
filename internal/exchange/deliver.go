package exchange

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// deliver passes the endpoint's response on to the client.
func (a *attempt) deliver() *Error {
	x, r := a.x, &a.response
	x.log.Status = r.Status
	if r.Status == 101 {
		return a.tunnel()
	}
	stream := isEventStream(r)
	message.DropHopByHop(r.Fields)
	x.route.Rules.Response(r)
	if x.route.Filters != nil {
		x.filterResponse(r)
	}
	if a.upload.task == nil {
		x.client.Skip()
	}
	if err := x.client.Head(r); err != nil {
		return clientError(err)
	}
	return a.relay(stream)
}

// relay passes content on as it comes. Whatever has arrived is written before the next
// wait, so that an event is never held back; while it waits nothing is buffered. Much
// content goes past it, as far as the engine can do that, and unless the route has an own
// limit for the endpoint's silence: splicing has one for both sides.
func (a *attempt) relay(stream bool) *Error {
	x := a.x
	for copying := stream || x.route.Stall != 0; ; {
		data, err := a.call.Content(false, 0)
		if data == nil && err == nil {
			if err := x.client.Flush(); err != nil {
				return clientError(err)
			}
			if !copying {
				var fault *Error
				if copying, fault = a.spliceDown(); fault != nil {
					return fault
				}
			}
			data, err = a.more(stream)
		}
		if err == io.EOF {
			if err := x.client.End(a.call.Trailers()); err != nil {
				return clientError(err)
			}
			return nil
		}
		if err != nil {
			return a.blame(err)
		}
		x.log.BytesOut += int64(len(data))
		if err := x.client.Write(data); err != nil {
			return clientError(err)
		}
	}
}

// more waits for the next piece of content.
func (a *attempt) more(stream bool) (data []byte, err error) {
	for by := a.x.patience(stream, a.x.rt.Now()); ; {
		if data, err = a.call.Content(true, by); !errors.Is(err, engine.ErrTimeout) {
			return data, err
		}
		now := a.x.rt.Now()
		if by = a.longer(stream, now); by <= now {
			return nil, err
		}
	}
}

// longer is until when the relay waits for the endpoint after a wait has expired; not later
// than now: no longer. An endpoint may be silent until it has read the request, so its limit
// counts from the end of the content; while that is sent, in good order, each wait of the
// upload has a limit of its own.
func (a *attempt) longer(stream bool, now time.Duration) (by time.Duration) {
	p := &a.upload
	if p.task == nil || p.fault.Load() != nil {
		return 0
	}
	from, over := p.sentAt()
	if !over {
		from = now
	}
	return a.x.patience(stream, from)
}

// spliceDown has content go past the relay. useless says that none does.
func (a *attempt) spliceDown() (useless bool, fault *Error) {
	x := a.x
	var by time.Duration
	if x.route.Whole {
		by = x.deadline
	}
	m := a.splice(x.client.ResponseWriter, a.call, spliceMin, by)
	x.log.BytesOut += m.Given
	switch {
	case m.WriteErr != nil:
		return false, clientError(m.WriteErr)
	case m.ReadErr != nil:
		now := x.rt.Now()
		if errors.Is(m.ReadErr, engine.ErrTimeout) && a.longer(false, now) > now {
			return false, nil // the relay waits on
		}
		return false, a.blame(m.ReadErr)
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
