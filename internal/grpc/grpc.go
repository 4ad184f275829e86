// Package grpc has what gRPC adds to HTTP, as its protocol document has it
// (grpc/grpc, doc/PROTOCOL-HTTP2.md): which requests are gRPC, the status of a call, its
// message and its timeout, each as a field has it. It knows no connection and no message of
// an application; what comes of a status is for its callers.
//
//	content-type: application/grpc+proto    Is
//	grpc-timeout: 1500m                     ParseTimeout, AppendTimeout
//	grpc-status: 14                         ParseCode, AppendCode
//	grpc-message: no endpoint %C3%BC        AppendMessage, Message
//
// Nothing here allocates, except where a function makes a string.
package grpc

import "github.com/poise-lb/poise/internal/message"

// The names of fields, in lower case.
const (
	Status  = "grpc-status"
	Text    = "grpc-message"
	Timeout = "grpc-timeout"
)

// The content types: that of gRPC, of an answer without a message as well, and those of gRPC-Web.
// What follows one is the format of messages, "+proto" for instance, and parameters.
const (
	ContentType = "application/grpc"
	Web         = "application/grpc-web"
	WebText     = "application/grpc-web-text"
)

// Is reports whether a value of Content-Type is that of gRPC: application/grpc, alone or
// followed by the format of messages ("+proto") or parameters (";charset=utf-8").
// application/grpc-web, another protocol, is not.
func Is(contentType []byte) bool {
	kind, _ := Parse(contentType)
	return kind == Calls
}

// Kind says what wraps the messages that a content type announces.
type Kind uint8

const (
	Other     Kind = iota // another protocol
	Calls                 // gRPC
	Binary                // gRPC-Web
	TextCoded             // gRPC-Web in base64
)

// Parse takes a content type apart: format is what names the encoding of messages, "+proto" for
// instance, and parameters. It points into contentType.
func Parse(contentType []byte) (kind Kind, format []byte) {
	rest, ok := after(contentType, ContentType)
	if !ok {
		return Other, nil
	}
	kind = Calls
	if web, ok := after(rest, Web[len(ContentType):]); ok {
		kind, rest = Binary, web
		if text, ok := after(rest, WebText[len(Web):]); ok {
			kind, rest = TextCoded, text
			if coded, ok := after(rest, "-base64"); ok { // the only coding there is, and the default
				rest = coded
			}
		}
	}
	if !ends(rest) {
		return Other, nil
	}
	return kind, rest
}

// after returns what follows prefix, in any case, in a content type; false: it does not begin with
// that.
func after(contentType []byte, prefix string) (rest []byte, ok bool) {
	if len(contentType) < len(prefix) || !message.EqualFold(contentType[:len(prefix)], prefix) {
		return nil, false
	}
	return contentType[len(prefix):], true
}

// ends reports whether a content type is over where rest begins: application/grpcx is another one.
func ends(rest []byte) bool {
	return len(rest) == 0 || rest[0] == '+' || rest[0] == ';' || rest[0] == ' ' || rest[0] == '\t'
}

// Asks reports whether these are the fields of a gRPC request. The known kind of Content-Type
// makes it a walk over numbers for all other requests.
func Asks(fields []message.Field) bool {
	v, ok := message.GetKind(fields, message.ContentType)
	return ok && Is(v)
}

// StatusOf finds the status in the trailers of a response, or in its head where it has only
// that. ok false: there is none, or none that is a number of gRPC; then a gRPC client takes
// the status of HTTP for it.
func StatusOf(fields []message.Field) (c Code, ok bool) {
	v, ok := message.Get(fields, Status)
	if !ok {
		return 0, false
	}
	return ParseCode(v)
}
