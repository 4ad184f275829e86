package route

// What a gRPC call is: the requests that patterns with GRPC take. By the protocol of gRPC over
// HTTP/2 it is a POST whose content type begins with application/grpc. gRPC-Web is the same call
// in other wrapping, and a browser asks by OPTIONS whether it may send one:
//
//	POST     application/grpc, application/grpc+proto      a call
//	POST     application/grpc-web-text                     a call, by gRPC-Web
//	OPTIONS  Access-Control-Request-Headers: x-grpc-web    the question for it (CORS preflight)
//	POST     application/json                              none
//	GET                                                    none

import (
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/message"
)

// CallsGRPC reports whether q is a gRPC call, or a browser's question whether it may send one.
func CallsGRPC(q *message.Request) bool {
	switch string(q.Method) {
	case "POST":
		v, _ := message.GetKind(q.Fields, message.ContentType)
		kind, _ := grpc.Parse(v)
		return kind != grpc.Other
	case "OPTIONS":
		return asksWeb(q.Fields)
	}
	return false
}

// asksWeb reports whether a browser asks for a call of gRPC-Web, whose clients all send X-Grpc-Web.
func asksWeb(fields []message.Field) bool {
	v, _ := message.Get(fields, "Access-Control-Request-Headers")
	return message.HasToken(v, "x-grpc-web")
}
