package exchange

// Delivering a response: its head with the route's changes, then its content as it comes. The relay
// alternates between two steps:
//
//	take what has arrived, without waiting, and write it to the client
//	nothing there: flush, then wait for more
//
// So an event of an event stream is never held back, many small pieces leave in one write, and a
// slow client slows the endpoint down: no more than a buffer of content is in memory. Much
// content with a length is spliced (splice.go) instead of copied.
//
// The limit of a wait for the endpoint, by route:
//
//	                     event stream, gRPC   other content
//	no timeout, stall    none                 Table.Stall (60 s)
//	stall: 10 s          10 s                 10 s
//	timeout: 30 s        none after the head  Table.Stall, and 30 s for the whole exchange
//	grpc-timeout: 5S     5 s for the exchange

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// deliver passes the endpoint's response on to the client, its content and trailers included;
// nil: the client has all of it. After the head was written nothing is repeated any more: a
// fault cuts the response.
func (a *attempt) deliver() *Error {
	x, r := a.x, &a.response
	x.log.Status = r.Status
	if r.Status == 101 {
		return a.tunnel()
	}
	stream := isEventStream(r) || x.rpc.is
	if x.rpc.is {
		x.sawHead(r)
	}
	message.DropHopByHop(r.Fields)
	x.answerID(r)
	x.route.Rules.Response(r)
	a.stick(r)
	if x.route.Filters != nil {
		x.filterResponse(r)
	}
	if a.upload.task == nil {
		x.client.Skip()
	}
	x.logHead(r)
	if err := x.client.Head(r); err != nil {
		return clientError(err)
	}
	return a.relay(stream)
}

// relay passes the content on; stream: it is an event stream, or one of gRPC. Content is spliced if the engine
// can do that, but not if the route has a stall limit of its own: a splice has one limit for
// both sides.
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
			trailers := a.call.Trailers()
			if x.service.Reports {
				a.takeReport(trailers)
			}
			if x.rpc.is {
				x.sawStatus(trailers)
			}
			if err := x.client.End(trailers); err != nil {
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

// more waits for the next piece of content, within the limits of patience and longer. It
// returns io.EOF at the end of the content.
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

// longer is the new deadline of a wait that has expired; an instant that is not after now: there
// is none, the wait is over. An endpoint may be silent until it has read the whole request, so its
// limit counts from the end of the upload; while that is under way, its own waits have limits.
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

// spliceDown moves content to the client without copying it through this process. useless:
// nothing was moved, so the caller copies from now on.
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
			return false, nil // the caller goes on waiting
		}
		return false, a.blame(m.ReadErr)
	}
	return m.Taken == 0, nil
}

// patience is the instant until which the relay waits for an endpoint that is silent since the
// instant from, by the table above; 0: without limit.
func (x *Exchange) patience(stream bool, from time.Duration) time.Duration {
	timed := x.rpc.is && x.rpc.timed
	if stream && x.route.Stall == 0 {
		if timed && x.rpc.by != never {
			return x.rpc.by
		}
		return 0
	}
	by := from + cmp.Or(x.route.Stall, x.table.Stall)
	if timed {
		by = min(by, x.rpc.by)
	}
	if stream {
		return by
	}
	if x.route.Whole && x.deadline < by {
		by = x.deadline
	}
	return by
}

// isEventStream reports whether the content of r is server-sent events, parameters or not.
func isEventStream(r *message.Response) bool {
	v, ok := message.GetKind(r.Fields, message.ContentType)
	const name = "text/event-stream"
	return ok && len(v) >= len(name) && message.EqualFold(v[:len(name)], name)
}
