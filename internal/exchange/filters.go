package exchange

// The filters of an exchange whose route has some: when they are called, and how content is
// passed through them. They stand in front of the parts of the client, so that upload and relay
// know nothing of them; since a part that is wrapped is neither a spliceSource nor a spliceSink,
// content that is looked at is copied.

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/route"
)

// filtering is an exchange's state of its filters. It is made for the first exchange of a
// route with filters and used again.
type filtering struct {
	filter.Exchange
	chain   *filter.Chain // nil: the route has none
	reached int           // so many filters have seen the request; of the Responses, these are called
	up      transformedContent
	down    transformedResponse
}

// prepare makes of the request what the endpoint is to see. A reply means that a filter has
// answered it.
func (x *Exchange) prepare() *message.Reply {
	clientIP := x.forward.fields(&x.Request, x.peer, x.table)
	if x.route.Filters == nil {
		x.rewrite(clientIP)
		return nil
	}
	return x.filter(clientIP)
}

// filter is prepare for a route with filters.
func (x *Exchange) filter(clientIP []byte) *message.Reply {
	if x.filters == nil {
		x.filters = new(filtering)
	}
	f, c := x.filters, x.route.Filters
	f.chain = c
	f.Runtime, f.Request, f.ClientIP = x.rt, &x.Request, clientIP
	if x.deadline != never {
		f.Deadline = x.deadline
	}
	c.Begin(&f.Exchange)
	path := x.Request.Path
	var reply *message.Reply
	if f.reached, reply = c.Request(&f.Exchange, 0, filter.Rewrite); reply != nil {
		return reply
	}
	if !bytes.Equal(path, x.Request.Path) { // rules go by the normal form
		if _, bad := x.forward.normalize(x.Request.Path); bad != nil && (bad != route.Backslash || !x.route.Lenient) {
			return x.replyTo(&Error{Status: 400, Reason: reason.BadPath, Side: ByClient, Err: bad})
		}
	}
	x.rewrite(clientIP)
	if f.reached, reply = c.Request(&f.Exchange, filter.Rewrite, filter.Compress+1); reply != nil {
		return reply
	}
	x.filterRequestContent()
	return nil
}

// filterRequestContent puts the transforms in front of the request's content. What is kept
// for another attempt stands behind them: they see the content once.
func (x *Exchange) filterRequestContent() {
	f, q := x.filters, &x.Request
	if q.Body == message.NoBody {
		return
	}
	transforms, reframes := f.chain.RequestContent(&f.Exchange)
	if len(transforms) == 0 {
		return
	}
	if reframes {
		q.Body = message.Chunked
	}
	f.up.RequestContent, f.up.x, f.up.transforms = x.client.RequestContent, x, transforms
	x.client.RequestContent = &f.up
}

// filterResponse passes the endpoint's final response head through the filters, and puts
// transforms in front of the client for its content.
func (x *Exchange) filterResponse(r *message.Response) {
	f := x.filters
	f.chain.Response(&f.Exchange, r, f.reached)
	if r.Status == 101 || r.Body == message.NoBody && string(x.Request.Method) != "HEAD" {
		return
	}
	transforms, reframes := f.chain.ResponseContent(&f.Exchange, r)
	if len(transforms) == 0 {
		return
	}
	if reframes {
		message.Drop(r.Fields, message.ContentLength) // HEAD would tell it
	}
	if r.Body == message.NoBody {
		return
	}
	if reframes {
		r.Body = message.Chunked
	}
	f.down = transformedResponse{ResponseWriter: x.client.ResponseWriter, x: x, transforms: transforms}
	x.client.ResponseWriter = &f.down
}

// filterReply passes the head of a reply through the filters that have seen the request.
func (x *Exchange) filterReply(r *message.Response) {
	if f := x.filters; f != nil && f.chain != nil {
		f.chain.Response(&f.Exchange, r, f.reached)
	}
}

// runningFilter names the filter that has panicked; "": it was none, or a Transform.
func (x *Exchange) runningFilter() string {
	if f := x.filters; f != nil && f.chain != nil {
		return f.chain.Running(&f.Exchange)
	}
	return ""
}

// unfilter has no further filter called: one has panicked.
func (x *Exchange) unfilter() {
	if x.filters != nil {
		x.filters.reached = 0
	}
}

// endFilters lets go of what filters have kept.
func (x *Exchange) endFilters() {
	f := x.filters
	if f == nil || f.chain == nil {
		return
	}
	f.chain.End(&f.Exchange)
	f.chain, f.reached, f.down = nil, 0, transformedResponse{}
	f.up.RequestContent, f.up.x, f.up.transforms, f.up.trailers = nil, nil, nil, nil
	f.up.over.Store(false)
}

// transformedContent is the request's content behind filters.
type transformedContent struct {
	downstream.RequestContent
	x          *Exchange
	transforms filter.Transforms
	trailers   []message.Field
	over       atomic.Bool // Content returns io.EOF
}

// Content may be called by a forked task, where a panic of a filter would not be answered: it
// becomes the error of the content.
func (t *transformedContent) Content(wait bool) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			t.x.logPanic(p, "of the request's content")
			data, err = nil, errFilter
		}
	}()
	for !t.over.Load() {
		data, err = t.RequestContent.Content(wait)
		switch {
		case err == io.EOF:
			if data, t.trailers, err = t.transforms.End(t.RequestContent.Trailers()); err != nil {
				return nil, filterError(err)
			}
			t.over.Store(true)
		case err != nil, data == nil:
			return nil, err
		default:
			if data, err = t.transforms.Piece(data); err != nil {
				return nil, filterError(err)
			}
		}
		if len(data) > 0 {
			return data, nil
		}
	}
	return nil, io.EOF
}

func (t *transformedContent) ContentRead() bool         { return t.over.Load() }
func (t *transformedContent) Trailers() []message.Field { return t.trailers }

// transformedResponse is the client's response behind filters.
type transformedResponse struct {
	downstream.ResponseWriter
	x          *Exchange
	transforms filter.Transforms
}

func (t *transformedResponse) Write(p []byte) error {
	out, err := t.transforms.Piece(p)
	if err != nil {
		return filterError(err)
	}
	t.x.log.BytesOut += int64(len(out) - len(p)) // which the relay has counted
	if len(out) == 0 {
		return nil
	}
	return t.ResponseWriter.Write(out)
}

func (t *transformedResponse) End(trailers []message.Field) error {
	rest, trailers, err := t.transforms.End(trailers)
	if err != nil {
		return filterError(err)
	}
	if len(rest) > 0 {
		t.x.log.BytesOut += int64(len(rest))
		if err := t.ResponseWriter.Write(rest); err != nil {
			return err
		}
	}
	return t.ResponseWriter.End(trailers)
}

// errFilter is the error of content whose filter has failed.
var errFilter error = &http1.Error{Status: 500, Reason: reason.InternalError}

// filterError is err as an error of the client's side, which no endpoint is blamed for.
func filterError(err error) error {
	var refused *http1.Error
	if errors.As(err, &refused) {
		return err
	}
	return errFilter
}
