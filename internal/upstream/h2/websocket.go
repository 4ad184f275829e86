package h2

// WebSocket over HTTP/2 (RFC 8441), towards endpoints. An exchange knows the upgrade of HTTP/1.1
// only (RFC 6455 §4), whatever its client speaks; a call makes an extended CONNECT of it, and of
// its answer a 101:
//
//	GET, Upgrade: websocket, Sec-WebSocket-Key     :method: CONNECT, :protocol: websocket
//	101, Sec-WebSocket-Accept                      :status: 2xx
//	bytes of the connection                        DATA
//	FIN, a failure                                 END_STREAM, RST_STREAM(CANCEL)
//
// An endpoint says in its SETTINGS whether it takes extended CONNECT. What is done where it does
// not is decided by package alpn.

import (
	"slices"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

var (
	_ upstream.Tunneler = (*call)(nil)

	methodConnect = []byte("CONNECT")
	nameAccept    = []byte(message.WebSocketAcceptName)
	protocol      = []byte(message.WebSocket)
)

// Tunnels reports whether the endpoint takes WebSockets on the call's connection.
func (x *call) Tunnels() bool { return x.conn.mux.Connects() }

// connect sends q, which opens a WebSocket with that key, as an extended CONNECT. Its stream stays open:
// what the client sends behind it is the tunnel's.
func (x *call) connect(q *message.Request, key []byte) {
	x.accept = message.WebSocketAccept(key)
	as := *q
	as.Method, as.Upgrade = methodConnect, protocol
	as.Fields = slices.DeleteFunc(slices.Clone(q.Fields), func(f message.Field) bool {
		return message.EqualFold(f.Name, message.WebSocketKeyName)
	})
	x.s.SendRequest(&as, x.conn.scheme, false)
}

// connected makes of r, the final answer to an extended CONNECT, what it is in HTTP/1.1. One that
// opens no tunnel is an ordinary response; the request is over then, too.
func (x *call) connected(r *message.Response) {
	if r.Status/100 != 2 {
		x.s.End(nil) // an error says nothing about the response, which may be whole
		return
	}
	r.Status, r.Upgrade = 101, protocol
	r.Fields = slices.DeleteFunc(r.Fields, func(f message.Field) bool {
		return f.Kind == message.ContentLength || message.EqualFold(f.Name, message.WebSocketAcceptName)
	})
	r.Fields = append(r.Fields, message.Field{Name: nameAccept, Value: []byte(x.accept)})
}

// Tunnel implements upstream.Tunneler. What has come behind the head is still in the stream.
func (x *call) Tunnel() (engine.Stream, []byte) { return x.s.Tunnel(), nil }
