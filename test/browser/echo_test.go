package browser

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// An echo is a gRPC server by hand, over HTTP/2 without TLS: gRPC is a few bytes on top of that, and
// a server of net/http is not made by those who made the clients. Its messages are StringValues.
//
//	Unary   one message
//	Watch   three messages; the second and third each when Next was called
//	Fail    a status in the head, with details
//	Late    a message, then a status that is an error
//	Hang    a message, then nothing until the call is cancelled
type echo struct {
	URL       string
	next      chan struct{}
	cancelled atomic.Int32
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{URL: "h2c://" + l.Addr().String(), next: make(chan struct{})}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(e.serve), Protocols: protocols}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return e
}

// failDetails is a google.rpc.Status: the code 5, and the message in its own words.
const failDetails = "\x08\x05\x12\x0dno cart of \u00fc"

func (e *echo) serve(w http.ResponseWriter, r *http.Request) {
	text, err := readMessage(r.Body)
	if r.Header.Get("Content-Type") != "application/grpc+proto" && r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" || err != nil {
		http.Error(w, "no gRPC: "+r.Header.Get("Content-Type"), http.StatusUnsupportedMediaType)
		return
	}
	h := w.Header()
	h.Set("Content-Type", r.Header.Get("Content-Type"))
	status := "0"
	switch r.URL.Path {
	case "/shop.Echo/Unary":
		h.Set("X-Hidden", "not exposed")
		writeMessage(w, "hello "+text)
	case "/shop.Echo/Next":
		e.next <- struct{}{}
		writeMessage(w, "next")
	case "/shop.Echo/Watch":
		for i, what := range []string{"one", "two", "three"} {
			if i > 0 {
				select {
				case <-e.next:
				case <-r.Context().Done():
					return
				}
			}
			writeMessage(w, what)
		}
	case "/shop.Echo/Fail":
		h.Set("Grpc-Status", "5")
		h.Set("Grpc-Message", "no cart of %C3%BC")
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString([]byte(failDetails)))
		return
	case "/shop.Echo/Late":
		writeMessage(w, "first")
		status = "8"
		h.Set(http.TrailerPrefix+"Grpc-Message", "enough")
	case "/shop.Echo/Hang":
		writeMessage(w, "here")
		<-r.Context().Done()
		e.cancelled.Add(1)
		return
	}
	h.Set(http.TrailerPrefix+"Grpc-Status", status)
	h.Set(http.TrailerPrefix+"X-Cost", "7")
}

// readMessage reads the one message of a request.
func readMessage(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	if string(b) == "\x00\x00\x00\x00\x00" {
		return "", nil // an empty text has no field
	}
	if len(b) < 7 || int(binary.BigEndian.Uint32(b[1:])) != len(b)-5 || b[5] != 0x0a || int(b[6]) != len(b)-7 {
		return "", errors.New("no message")
	}
	return string(b[7:]), nil
}

// writeMessage sends a message at once.
func writeMessage(w http.ResponseWriter, text string) {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)+2))
	w.Write(append(append(b, 0x0a, byte(len(text))), text...))
	w.(http.Flusher).Flush()
}

// webSocket sends one text of less than 126 bytes back (RFC 6455).
func webSocket(w http.ResponseWriter, r *http.Request) {
	c, b, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	head := make([]byte, 6) // text, length and mask
	if _, err := io.ReadFull(b, head); err != nil {
		return
	}
	text := make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(b, text); err != nil {
		return
	}
	for i := range text {
		text[i] ^= head[2+i%4]
	}
	c.Write(append([]byte{0x81, byte(len(text))}, text...))
	io.Copy(io.Discard, b) // until the browser closes
}
