package h2

// WebSocket over HTTP/2 (RFC 8441). A client opens a tunnel on a stream by an extended CONNECT. To
// what is behind this package it is the upgrade of HTTP/1.1 (RFC 6455 §4) that it stands for:
//
//	:method: CONNECT, :protocol: websocket     GET, Upgrade: websocket, Sec-WebSocket-Key
//	:status: 200                               101, Sec-WebSocket-Accept
//	DATA                                       bytes of the connection
//	END_STREAM                                 FIN
//
// The key is made here and its answer checked here: see message.WebSocketKey.

import (
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

const keyLen = 24 // 16 bytes in base64

var (
	methodGet  = []byte("GET")
	errConnect = &http1.Error{Status: 501, Reason: reason.ConnectNotSupported}
	errAccept  = &http1.Error{Status: 502, Reason: reason.BadUpgrade}
)

// connects reports whether q is an extended CONNECT.
func connects(q *message.Request) bool { return q.Upgrade != nil && string(q.Method) == "CONNECT" }

// upgrade makes of q, an extended CONNECT, the upgrade it stands for.
func (x *client) upgrade(q *message.Request) error {
	if !message.EqualFold(q.Upgrade, message.WebSocket) {
		return errConnect
	}
	x.connect = true
	var raw [16]byte
	binary.NativeEndian.PutUint64(raw[:8], x.rt.Rand())
	binary.NativeEndian.PutUint64(raw[8:], x.rt.Rand())
	base64.StdEncoding.Encode(x.key[:], raw[:])
	q.Method, q.Body = methodGet, message.NoBody
	q.Fields = slices.DeleteFunc(q.Fields, func(f message.Field) bool { return message.EqualFold(f.Name, message.WebSocketKeyName) })
	q.Fields = append(q.Fields, message.Field{Name: []byte(message.WebSocketKeyName), Value: x.key[:]})
	return nil
}

// Upgrade answers an extended CONNECT with 200, and gives the stream away as a tunnel.
func (x *client) Upgrade(r *message.Response) (engine.Stream, []byte, error) {
	if !x.connect {
		return nil, nil, engine.ErrClosed
	}
	if got, _ := message.Get(r.Fields, message.WebSocketAcceptName); string(got) != message.WebSocketAccept(x.key[:]) {
		return nil, nil, errAccept
	}
	x.sent = true
	head := message.Response{Status: 200, Body: message.Chunked}
	for _, f := range r.Fields {
		if !message.EqualFold(f.Name, message.WebSocketAcceptName) {
			head.Fields = append(head.Fields, f)
		}
	}
	x.dated.Date(&head, x.settings.Clock)
	if err := x.s.SendResponse(&head, false, x.by()); err != nil {
		return nil, nil, gone(err)
	}
	return x.s.Tunnel(), nil, x.Flush()
}

// refuseTunnel makes r, the answer to an extended CONNECT, one that opens no tunnel: in HTTP/2 any
// 2xx would, but only 101 has (RFC 8441 §5).
func (x *client) refuseTunnel(r *message.Response) {
	if x.connect && r.Status >= 200 && r.Status < 300 {
		r.Status = errAccept.Status
	}
}
