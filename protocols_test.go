package poise_test

// Which versions of HTTP a listener speaks: listen.protocol.

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise"
)

// A client says hello with one version, and reports with which it was answered.
const (
	helloHTTP1 = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	helloHTTP2 = http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

func TestProtocolsOfListeners(t *testing.T) {
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			secured := selfSigned(t)
			c := toAll(named(t, "a"))
			c.Engine = engine
			p := start(t, c)
			for _, test := range []struct{ protocol, clearOne, clearTwo, alpnOne, alpnTwo, alpnNone string }{
				{"auto", "HTTP/1.1 200", "SETTINGS", "HTTP/1.1 200", "SETTINGS", "HTTP/1.1 200"},
				{"http1", "HTTP/1.1 200", "HTTP/1.1 505", "HTTP/1.1 200", "no handshake", "HTTP/1.1 200"},
				// crypto/tls lets a client of HTTP/1.1 go on where h2 is all that is offered.
				{"http2", "GOAWAY PROTOCOL_ERROR", "SETTINGS", "GOAWAY PROTOCOL_ERROR", "SETTINGS", "GOAWAY PROTOCOL_ERROR"},
			} {
				plain, secure := protocolListener(t, p, test.protocol, nil), protocolListener(t, p, test.protocol, &secured)
				for _, ask := range []struct {
					name, got, want string
				}{
					{"HTTP/1.1 in the clear", answered(t, plain, helloHTTP1, nil), test.clearOne},
					{"HTTP/2 in the clear", answered(t, plain, helloHTTP2, nil), test.clearTwo},
					{"HTTP/1.1 by ALPN", answered(t, secure, helloHTTP1, []string{"http/1.1"}), test.alpnOne},
					{"HTTP/2 by ALPN", answered(t, secure, helloHTTP2, []string{"h2"}), test.alpnTwo},
					{"HTTP/1.1 without ALPN", answered(t, secure, helloHTTP1, []string{}), test.alpnNone},
				} {
					if ask.got != ask.want {
						t.Errorf("protocol %s, %s: %s, want %s", test.protocol, ask.name, ask.got, ask.want)
					}
				}
			}
			if _, err := p.ProtocolListener(nil, "h2"); err == nil || !strings.Contains(err.Error(), "auto, http1 or http2") {
				t.Errorf("an unknown word: %v", err)
			}
		})
	}
}

// protocolListener serves an address of its own.
func protocolListener(t *testing.T, p *poise.Proxy, protocol string, secure *poise.TLS) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if l, err = p.ProtocolListener(l, protocol); err == nil && secure != nil {
		l, err = p.TLSListener(l, *secure)
	}
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(l)
	return at
}

// answered says hello and returns how it was answered; protocols are those of ALPN, nil: in the clear.
func answered(t *testing.T, at, hello string, protocols []string) string {
	c := dialSocket(t, at)
	if protocols != nil {
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if s.Handshake() != nil {
			return "no handshake"
		}
		c = s
	}
	io.WriteString(c, hello)
	head := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(c, head); err != nil {
		return err.Error()
	}
	if strings.HasPrefix(string(head), "HTTP/1.1") {
		return string(head)
	}
	f := http2.NewFramer(nil, io.MultiReader(strings.NewReader(string(head)), c))
	first, err := f.ReadFrame()
	for ; err == nil; first, err = f.ReadFrame() {
		switch g := first.(type) {
		case *http2.GoAwayFrame:
			return "GOAWAY " + g.ErrCode.String()
		case *http2.SettingsFrame:
			if g.IsAck() { // of ours: HTTP/2 is spoken
				return "SETTINGS"
			}
		}
	}
	return err.Error()
}
