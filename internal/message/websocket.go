package message

// What opens a WebSocket (RFC 6455 §4). In HTTP/1.1 it is an upgrade, in HTTP/2 an extended CONNECT
// (RFC 8441); between the two sides of the proxy it always has the form of HTTP/1.1:
//
//	GET, Upgrade: websocket, Sec-WebSocket-Key     :method: CONNECT, :protocol: websocket
//	101, Sec-WebSocket-Accept                      :status: 200
//
// The key and its answer only prove that the peer of HTTP/1.1 has understood. HTTP/2 has neither, so
// the side that speaks HTTP/2 makes what is missing.

import (
	"crypto/sha1"
	"encoding/base64"
)

// The words of a WebSocket's opening.
const (
	WebSocket           = "websocket"
	WebSocketKeyName    = "Sec-WebSocket-Key"
	WebSocketAcceptName = "Sec-WebSocket-Accept"
)

// acceptSuffix is what the answer to a key is made of beside it (RFC 6455 §1.3).
const acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// WebSocketKey is the key of a request that opens a WebSocket; nil: q is none. A request with
// content is none, since the content could not be told from what the tunnel carries.
func WebSocketKey(q *Request) []byte {
	if q.Upgrade == nil || q.Body != NoBody || string(q.Method) != "GET" || !HasToken(q.Upgrade, WebSocket) {
		return nil
	}
	if key, ok := Get(q.Fields, WebSocketKeyName); ok && len(key) > 0 {
		return key
	}
	return nil
}

// WebSocketAccept is the answer to a key.
func WebSocketAccept(key []byte) string {
	h := sha1.New()
	h.Write(key)
	h.Write([]byte(acceptSuffix))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
