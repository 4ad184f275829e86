// Package grpcweb is gRPC-Web (grpc/grpc, doc/PROTOCOL-WEB.md) towards clients, gRPC towards
// endpoints: a filter that translates requests and responses while they pass. A browser cannot read
// trailers, and some clients cannot read bytes, so gRPC-Web puts the trailers into the content, and
// has a form that is text:
//
//	             gRPC-Web                        gRPC
//	request      application/grpc-web+proto      application/grpc+proto, te: trailers
//	             frames                          the same frames
//	             application/grpc-web-text       application/grpc, te: trailers
//	             frames in base64                frames
//	response     application/grpc-web...         application/grpc...
//	             frames, then a frame 0x80       frames
//	             with the trailers               trailers
//	             the same in base64, if text
//
// A response that has its status in the head (trailers-only) keeps it there: clients look for it in
// both places. A response that is not gRPC, such as an error of HTTP, passes as it is.
package grpcweb

import (
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/message"
)

// Exposed are the fields of a response that a client on another origin must be able to read: a
// status in the head, and why the proxy has answered.
var Exposed = []string{"grpc-status", "grpc-message", "grpc-status-details-bin", "poise-reason"}

// New returns the filter. It leaves other requests alone, gRPC itself included.
func New() filter.Filter {
	return filter.Filter{
		Name: "grpc-web", Slot: filter.Translate, Reframes: true,
		Request: request, Response: response,
		RequestContent: requestContent, ResponseContent: responseContent,
	}
}

// call is what the filter keeps of one exchange: which forms both contents have, and the
// translators.
type call struct {
	textUp, textDown bool // the request, the response is in base64
	gRPC             bool // the endpoint has answered by gRPC
	up               decoder
	down             encoder
	ending           framer
}

// request makes a gRPC request of one of gRPC-Web. What the client says of codings it accepts is
// about the content that it gets, not about what the endpoint sends.
func request(x *filter.Exchange) *message.Reply {
	q := x.Request
	format, text, ok := ofWeb(q.Fields)
	if !ok || string(q.Method) != "POST" {
		return nil
	}
	c := &call{textUp: text, textDown: answersText(q.Fields, text)}
	x.SetState(c)
	for i := range q.Fields {
		f := &q.Fields[i]
		switch {
		case f.Kind == message.ContentType || f.Kind == message.Accept:
			f.Drop = true
		case f.Kind == message.Other && (message.EqualFold(f.Name, "x-grpc-web") || message.EqualFold(f.Name, "accept-encoding")):
			f.Drop = true
		}
	}
	q.Fields = append(q.Fields, message.NewField("content-type", typed(grpc.ContentType, format)))
	q.TrailersOK = true
	return nil
}

// response makes a response of gRPC-Web of one of gRPC, also of the proxy's own.
func response(x *filter.Exchange, r *message.Response) {
	c, ok := x.State().(*call)
	if !ok {
		return
	}
	v, _ := message.GetKind(r.Fields, message.ContentType)
	kind, format := grpc.Parse(v)
	if c.gRPC = kind == grpc.Calls; !c.gRPC {
		return
	}
	as := grpc.Web
	if c.textDown {
		as = grpc.WebText
	}
	message.Drop(r.Fields, message.ContentType)
	message.Drop(r.Fields, message.Trailer) // there are none any more
	r.Fields = append(r.Fields, message.NewField("content-type", typed(as, format)))
}

// requestContent decodes text. Frames of a request in bytes are gRPC's: they pass untouched.
func requestContent(x *filter.Exchange) filter.Transform {
	if c, ok := x.State().(*call); ok && c.textUp {
		return &c.up
	}
	return nil
}

// responseContent puts the trailers behind the frames, and encodes text.
func responseContent(x *filter.Exchange, _ *message.Response) filter.Transform {
	c, ok := x.State().(*call)
	switch {
	case !ok || !c.gRPC:
		return nil
	case c.textDown:
		return &c.down
	}
	return &c.ending
}

// ofWeb finds the form of a request: format is what follows the content type. ok false: it is
// not gRPC-Web.
func ofWeb(fields []message.Field) (format []byte, text, ok bool) {
	v, _ := message.GetKind(fields, message.ContentType)
	kind, format := grpc.Parse(v)
	return format, kind == grpc.TextCoded, kind == grpc.Binary || kind == grpc.TextCoded
}

// answersText reports whether the response is to be in base64: what Accept says, or else what the
// request is.
func answersText(fields []message.Field, request bool) bool {
	accept, _ := message.GetKind(fields, message.Accept)
	for t, rest := message.NextToken(accept); t != nil; t, rest = message.NextToken(rest) {
		switch kind, _ := grpc.Parse(t); kind {
		case grpc.TextCoded:
			return true
		case grpc.Binary:
			return false
		}
	}
	return request
}

func typed(name string, format []byte) []byte { return append([]byte(name), format...) }
