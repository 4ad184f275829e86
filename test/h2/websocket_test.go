package h2

// WebSocket over HTTP/2 (RFC 8441): an extended CONNECT of a client reaches an endpoint as an upgrade
// of HTTP/1.1.

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/poise-lb/poise"
)

// websocket switches and echoes, or refuses what is no upgrade that RFC 6455 §4.1 describes.
func (e *endpoint) websocket(s io.Writer, in io.Reader, q *http.Request) {
	if q.Method != "GET" || q.Header.Get("Upgrade") != "websocket" || q.Header.Get("Sec-Websocket-Version") != "13" {
		respond(s, "no upgrade")
		return
	}
	sum := sha1.Sum([]byte(q.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(s, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: %s\r\n\r\nhello ", base64.StdEncoding.EncodeToString(sum[:]))
	io.Copy(s, in)
}

func TestWebSocket(t *testing.T) {
	t.Run("virtual", func(t *testing.T) { inWorlds(t, nil, func(w *world) error { return webSockets(w) }) })
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			if err := webSockets(onSockets(t, engine)); err != nil {
				t.Error(err)
			}
		})
	}
}

func webSockets(p place) error {
	c, err := dial(p, false)
	if err != nil {
		return err
	}
	defer c.wire.Close()
	if !c.read(patience, func() bool { return c.offers }) {
		return fmt.Errorf("extended CONNECT is not offered: %s", c)
	}
	connect := func(id uint32, path, protocol string) *answer {
		c.head(id, false, ":method", "CONNECT", ":protocol", protocol, ":scheme", "http", ":path", path, ":authority", "a.example",
			"sec-websocket-version", "13", "sec-websocket-protocol", "chat")
		a := c.answer(id)
		c.read(patience, func() bool { return a.status != "" })
		return a
	}
	a := connect(1, "/websocket", "websocket")
	if a.status != "200" || field(a.fields, "sec-websocket-protocol") != "chat" {
		return fmt.Errorf("the tunnel: %v", a.fields)
	}
	for _, name := range []string{"connection", "upgrade", "sec-websocket-accept"} {
		if v := field(a.fields, name); v != "" {
			return fmt.Errorf("%s: %s is a field of HTTP/1.1", name, v)
		}
	}
	c.framer.WriteData(1, false, []byte("from h2"))
	if !c.read(patience, func() bool { return string(a.content) == "hello from h2" }) {
		return fmt.Errorf("the tunnel has brought %q", a.content)
	}
	c.framer.WriteData(1, true, []byte(", bye"))
	if c.finished(1); !a.over || string(a.content) != "hello from h2, bye" {
		return fmt.Errorf("its end: %q, over %v, reset %v", a.content, a.over, a.reset)
	}
	if a := connect(3, "/fast", "websocket"); a.status != "502" {
		return fmt.Errorf("an endpoint that does not switch: %s", a.status)
	}
	if a := connect(5, "/websocket", "connect-udp"); a.status != "501" {
		return fmt.Errorf("another protocol: %s", a.status)
	}
	return nil
}
