package exchange

// The filters of an exchange whose route has some: when they are called, and how content passes
// through them.
//
//	prepare    request filters before Rewrite, the service of a split, the route's rules, the
//	           other request filters;
//	           one of them may answer, then no endpoint is asked
//	deliver    response filters, each once, however many attempts there were
//	answer     response filters of a reply: only of those filters that have seen the request
//	record     all of them end
//
// Content passes through transforms, which wrap the parts of the client:
//
//	upload ◄─ transformedContent ◄─ client.RequestContent
//	relay ──► transformedResponse ──► client.ResponseWriter
//
// So upload and relay know nothing of filters. A wrapped part is neither a spliceSource nor a
// spliceSink, so content that a filter sees is copied rather than spliced.

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

// filtering is the state of an exchange's filters. An Exchange makes it for its first request of
// a route with filters and uses it again.
type filtering struct {
	filter.Exchange
	chain   *filter.Chain // nil: the route of this request has none
	reached int           // how many filters have seen the request: those see the response too
	up      transformedContent
	down    transformedResponse
}

// prepare changes the request into what the endpoint gets: fields, filters, the route's rules.
// nil: go on. A reply answers the request: a filter has made it, or a filter has made a path
// that is not safe.
func (x *Exchange) prepare() *message.Reply {
	clientIP := x.forward.fields(&x.Request, x.peer, x.table)
	if x.traced {
		x.sendTrace(clientIP)
	}
	if x.route.Filters == nil {
		x.choose(clientIP)
		x.rewrite(clientIP)
		return nil
	}
	return x.filter(clientIP)
}

// filter is prepare for a route with filters. clientIP is as in rewrite.
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
	if reply = x.filterRPC(); reply != nil {
		return reply
	}
	if !bytes.Equal(path, x.Request.Path) { // rules go by the normal form
		if _, bad := x.forward.normalize(x.Request.Path); bad != nil && (bad != route.Backslash || !x.route.Lenient) {
			return x.replyTo(&Error{Status: 400, Reason: reason.BadPath, Side: ByClient, Err: bad})
		}
	}
	x.choose(clientIP)
	x.rewrite(clientIP)
	if f.reached, reply = c.Request(&f.Exchange, filter.Rewrite, filter.Compress+1); reply != nil {
		return reply
	}
	x.filterRequestContent()
	return nil
}

// filterRequestContent wraps the request's content in its transforms, if there are any. What is
// kept for another attempt is their output, so they see the content once.
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

// filterResponse passes the endpoint's final response head through the filters, and wraps the
// client's writer in transforms if there is content for them.
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
		message.Drop(r.Fields, message.ContentLength) // a response to HEAD would contain it
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

// filterReply passes the head of a reply of the proxy through the filters that have seen the
// request. It does nothing on a route without filters.
func (x *Exchange) filterReply(r *message.Response) {
	if f := x.filters; f != nil && f.chain != nil {
		f.chain.Response(&f.Exchange, r, f.reached)
	}
}

// runningFilter is the name of the filter that was running when a panic was recovered; "": none
// was, or a Transform was.
func (x *Exchange) runningFilter() string {
	if f := x.filters; f != nil && f.chain != nil {
		return f.chain.Running(&f.Exchange)
	}
	return ""
}

// unfilter makes sure that no further filter is called, after one has panicked.
func (x *Exchange) unfilter() {
	if x.filters != nil {
		x.filters.reached = 0
	}
}

// endFilters ends the filters of this request and drops all references to it.
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

// transformedContent is the request's content as filters have changed it. The same rules as for
// downstream.RequestContent apply to which task may call what.
type transformedContent struct {
	downstream.RequestContent
	x          *Exchange
	transforms filter.Transforms
	trailers   []message.Field
	over       atomic.Bool // Content returns io.EOF from now on
}

// Content implements downstream.RequestContent. The forked task of an upload may call it, where
// no rescue is deferred, so a panic of a filter becomes the error of the content.
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
		case err != nil:
			return nil, err
		case data == nil: // nothing more has come: the caller flushes, and waits
			data, err = t.transforms.Flush()
			if err != nil {
				return nil, filterError(err)
			}
			if len(data) == 0 {
				return nil, nil
			}
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

// ContentRead and Trailers implement downstream.RequestContent.
func (t *transformedContent) ContentRead() bool         { return t.over.Load() }
func (t *transformedContent) Trailers() []message.Field { return t.trailers }

// transformedResponse passes the content of a response through filters to the client.
type transformedResponse struct {
	downstream.ResponseWriter
	x          *Exchange
	transforms filter.Transforms
}

// Write implements downstream.ResponseWriter: it writes what the transforms make of p.
func (t *transformedResponse) Write(p []byte) error {
	out, err := t.transforms.Piece(p)
	if err != nil {
		return filterError(err)
	}
	t.x.log.BytesOut += int64(len(out) - len(p)) // the relay has counted len(p)
	if len(out) == 0 {
		return nil
	}
	return t.ResponseWriter.Write(out)
}

// Flush implements downstream.ResponseWriter: it writes what the transforms hold back before it
// flushes.
func (t *transformedResponse) Flush() error {
	held, err := t.transforms.Flush()
	if err != nil {
		return filterError(err)
	}
	if len(held) > 0 {
		t.x.log.BytesOut += int64(len(held))
		if err := t.ResponseWriter.Write(held); err != nil {
			return err
		}
	}
	return t.ResponseWriter.Flush()
}

// End implements downstream.ResponseWriter: it writes what the transforms still hold.
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

// errFilter is the error of content whose filter has failed or panicked.
var errFilter error = &http1.Error{Status: 500, Reason: reason.InternalError}

// filterError returns err if it wraps an *http1.Error, with which a filter refuses content, and
// otherwise errFilter. Either counts as an error of the client's side: no endpoint is blamed.
func filterError(err error) error {
	var refused *http1.Error
	if errors.As(err, &refused) {
		return err
	}
	return errFilter
}
