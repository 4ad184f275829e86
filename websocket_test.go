package poise_test

// WebSockets to endpoints of every kind, from clients with HTTP/1.1 and with HTTP/2 (RFC 8441). The
// endpoint with HTTP/2 that offers extended CONNECT is another Poise: net/http's server does not.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/message"
)

// tunnelled opens a WebSocket on HTTP/1.1, says "hello " and the protocol it was asked by, and echoes
// until the client ends its side, which it says too. /declined is no WebSocket.
var tunnelled = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/declined" || r.Header.Get("Upgrade") != "websocket" {
		w.Header().Set("X-Proto", r.Proto)
		http.Error(w, "no socket here", http.StatusUpgradeRequired)
		return
	}
	c, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\nhello %s;", message.WebSocketAccept([]byte(r.Header.Get("Sec-WebSocket-Key"))), r.Proto)
	io.Copy(c, in)
	io.WriteString(c, "bye")
})

// A socketClient is one WebSocket of a client.
type socketClient interface {
	// open asks for path, and returns the status and Poise-Reason of the answer: 101 stands for 200
	// of HTTP/2.
	open(path string) (status, why string, err error)
	say(text string) error
	finish() error              // ends the client's side
	rest() (string, error)      // all that comes up to the end
	read(n int) (string, error) // n bytes
}

func TestWebSocketsToEndpoints(t *testing.T) {
	one := httptest.NewServer(tunnelled)
	defer one.Close()
	secure := endpointH2(t, true, false, tunnelled)  // HTTP/1.1 or HTTP/2 without extended CONNECT
	without := endpointH2(t, false, true, tunnelled) // HTTP/2 without extended CONNECT
	h2c := func(url string) string { return strings.Replace(url, "http://", "h2c://", 1) }
	insecure := &poise.EndpointTLS{Insecure: true}
	for _, engine := range poise.Engines() {
		chained := "h2c://" + serve(t, start(t, onEngine(engine, poise.Service{Endpoints: []poise.Endpoint{{URL: one.URL}}})))
		for name, test := range map[string]struct {
			service poise.Service
			reason  string
		}{
			"http":                  {service: poise.Service{Endpoints: []poise.Endpoint{{URL: one.URL}}}},
			"h2c":                   {service: poise.Service{Endpoints: []poise.Endpoint{{URL: chained}}}},
			"https, auto":           {service: poise.Service{Endpoints: []poise.Endpoint{{URL: secure.URL}}, TLS: insecure, Protocol: "auto"}},
			"https, http2, without": {poise.Service{Endpoints: []poise.Endpoint{{URL: secure.URL}}, TLS: insecure, Protocol: "http2"}, "no-tunnel"},
			"h2c, without":          {poise.Service{Endpoints: []poise.Endpoint{{URL: h2c(without.URL)}}}, "no-tunnel"},
			"h2c, one of them":      {service: poise.Service{Endpoints: []poise.Endpoint{{URL: h2c(without.URL)}, {URL: chained}}}},
		} {
			t.Run(engine+", "+name, func(t *testing.T) {
				at := serve(t, start(t, onEngine(engine, test.service)))
				for version, dial := range map[string]func(testing.TB, string) socketClient{"h1": dialH1, "h2": dialH2} {
					if err := conversation(func() socketClient { return dial(t, at) }, test.reason); err != nil {
						t.Errorf("client with %s: %v", version, err)
					}
				}
			})
		}
	}
}

// onEngine is the configuration with that one service.
func onEngine(engine string, s poise.Service) poise.Config {
	s.Connections.ConnectTimeout = time.Minute // handshakes are slow under the race detector
	return poise.Config{Engine: engine, Services: map[string]poise.Service{"all": s}, Routes: []poise.Route{{Service: "all"}}, Logger: quiet}
}

// conversation opens WebSockets; want is the reason why that fails, "" if it does not.
func conversation(dial func() socketClient, want string) error {
	for range 3 { // over connections that are open by then
		c := dial()
		status, why, err := c.open("/socket")
		if err != nil {
			return err
		}
		if want != "" {
			if status != "502" || why != want {
				return fmt.Errorf("answered with %s, %s", status, why)
			}
			continue
		}
		if status != "101" {
			return fmt.Errorf("answered with %s, %s", status, why)
		}
		if got, err := c.read(len("hello HTTP/1.1;")); err != nil || got != "hello HTTP/1.1;" {
			return fmt.Errorf("greeted with %q, %v", got, err)
		}
		much := strings.Repeat("0123456789abcdef", 20<<10/16)
		for range 5 {
			if err := c.say(much); err != nil {
				return err
			}
			if got, err := c.read(len(much)); err != nil || got != much {
				return fmt.Errorf("%d bytes came back of %d: %v", len(got), len(much), err)
			}
		}
		if err := c.finish(); err != nil {
			return err
		}
		if got, err := c.rest(); err != nil || got != "bye" {
			return fmt.Errorf("behind the end of the client's side: %q, %v", got, err)
		}
	}
	if want != "" {
		return nil
	}
	if status, _, err := dial().open("/declined"); err != nil || status != "426" {
		return fmt.Errorf("an endpoint that declines: %s, %v", status, err)
	}
	return nil
}

// socketTime is how long a conversation may take.
const socketTime = time.Minute

func dialSocket(t testing.TB, at string) net.Conn {
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(socketTime))
	return c
}

// socketH1 is a client with HTTP/1.1.
type socketH1 struct {
	net.Conn
	in *bufio.Reader
}

func dialH1(t testing.TB, at string) socketClient {
	c := dialSocket(t, at)
	return &socketH1{c, bufio.NewReader(c)}
}

func (c *socketH1) open(path string) (status, why string, err error) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n", path, key)
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return "", "", err
	}
	if h := r.Header; r.StatusCode == 101 && (len(h["Sec-Websocket-Accept"]) != 1 || h.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		h.Get("Sec-WebSocket-Protocol") != "chat" || h.Get("Upgrade") != "websocket" || h.Get("Content-Length") != "") {
		return "", "", fmt.Errorf("the 101 has the fields %v", h)
	}
	return fmt.Sprint(r.StatusCode), r.Header.Get("Poise-Reason"), nil
}

func (c *socketH1) say(text string) error { _, err := io.WriteString(c, text); return err }

func (c *socketH1) finish() error { return c.Conn.(*net.TCPConn).CloseWrite() }

func (c *socketH1) rest() (string, error) { b, err := io.ReadAll(c.in); return string(b), err }

func (c *socketH1) read(n int) (string, error) {
	b := make([]byte, n)
	k, err := io.ReadFull(c.in, b)
	return string(b[:k]), err
}

// socketH2 is a client with HTTP/2, on a connection with one stream.
type socketH2 struct {
	*http2.Framer
	decoder *hpack.Decoder
	got     []byte
	over    bool
	status  string
	why     string
}

func dialH2(t testing.TB, at string) socketClient {
	c := dialSocket(t, at)
	io.WriteString(c, http2.ClientPreface)
	s := &socketH2{Framer: http2.NewFramer(c, c), decoder: hpack.NewDecoder(4096, nil)}
	s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	s.WriteWindowUpdate(0, 1<<24)
	return s
}

func (c *socketH2) open(path string) (status, why string, err error) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "a"}, {":path", path},
		{"sec-websocket-version", "13"}, {"sec-websocket-protocol", "chat"}} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	for c.status == "" {
		if err := c.frame(); err != nil {
			return "", "", err
		}
	}
	if c.status == "200" {
		return "101", "", nil
	}
	return c.status, c.why, nil
}

// frame reads one.
func (c *socketH2) frame() error {
	f, err := c.ReadFrame()
	if err != nil {
		return err
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		fields, err := c.decoder.DecodeFull(f.HeaderBlockFragment())
		for _, f := range fields {
			switch f.Name {
			case ":status":
				c.status = f.Value
			case "poise-reason":
				c.why = f.Value
			case "sec-websocket-accept", "upgrade", "connection", "content-length":
				if c.status == "200" {
					return fmt.Errorf("%s: %s behind 200", f.Name, f.Value)
				}
			}
		}
		c.over = c.over || f.StreamEnded()
		return err
	case *http2.DataFrame:
		c.got = append(c.got, f.Data()...)
		c.over = c.over || f.StreamEnded()
	case *http2.RSTStreamFrame:
		return fmt.Errorf("RST_STREAM %v", f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("GOAWAY %v", f.ErrCode)
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.WritePing(true, f.Data)
		}
	}
	return nil
}

// say sends text in frames that windows of 16 KiB and more take at once, as what came before was
// echoed.
func (c *socketH2) say(text string) error {
	for len(text) > 0 {
		n := min(len(text), 10<<10)
		if err := c.WriteData(1, false, []byte(text[:n])); err != nil {
			return err
		}
		for mark := len(c.got); len(c.got) < mark+n; {
			if err := c.frame(); err != nil {
				return err
			}
		}
		text = text[n:]
	}
	return nil
}

func (c *socketH2) finish() error { return c.WriteData(1, true, nil) }

func (c *socketH2) rest() (string, error) {
	for !c.over {
		if err := c.frame(); err != nil {
			return string(c.got), err
		}
	}
	return string(c.got), nil
}

func (c *socketH2) read(n int) (string, error) {
	for len(c.got) < n {
		if c.over {
			return string(c.got), io.ErrUnexpectedEOF
		}
		if err := c.frame(); err != nil {
			return string(c.got), err
		}
	}
	text := string(c.got[:n])
	c.got = c.got[n:]
	return text, nil
}
