package upstream

// How an endpoint is dialed, whatever is spoken then.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
)

// A Target is an endpoint as it is dialed. It is not modified.
type Target struct {
	Network, Address string
	TLS              *tls.Config // nil: plain
}

// The names of ALPN (RFC 7301) for the versions of HTTP.
const (
	alpnHTTP1 = "http/1.1"
	alpnHTTP2 = "h2"
)

// NewTarget returns the Target of e by these settings.
func NewTarget(e *endpoint.Endpoint, s *Settings) Target {
	t := Target{Network: "tcp", Address: e.ID().Address}
	if path, ok := strings.CutPrefix(t.Address, "unix:"); ok {
		t.Network, t.Address = "unix", path
	}
	if e.ID().Scheme == "https" {
		t.TLS = clientTLS(s, e.Spec().Host, t.Address)
	}
	return t
}

func clientTLS(s *Settings, host, address string) *tls.Config {
	c := &tls.Config{}
	if s.TLS != nil {
		c = s.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	if c.ServerName == "" { // a unix socket, whose Host is the same: see endpoint.Spec.Authority
		c.ServerName = "localhost"
	}
	switch s.Version {
	case HTTP1:
		c.NextProtos = []string{alpnHTTP1}
	case HTTP2:
		c.NextProtos = []string{alpnHTTP2}
	case Negotiated:
		c.NextProtos = []string{alpnHTTP2, alpnHTTP1}
	}
	return c
}

// AgreedHTTP2 reports whether ALPN has agreed on HTTP/2 for a connection under TLS.
func AgreedHTTP2(s engine.Stream) bool {
	a, ok := s.(engine.Agreed)
	return ok && a.Protocol() == alpnHTTP2
}

// shedPause is how long idle connections, which other workers may have to close, are given
// to make room.
const shedPause = time.Millisecond

// Dial connects, and sends preface first, which may be nil. Where the kernel says that something has run out, idle connections of w to
// other endpoints give way, once. w may be nil.
func (t *Target) Dial(rt engine.Runtime, w Workers, preface []byte, by time.Duration) (engine.Stream, error) {
	d := &engine.Dial{Network: t.Network, Address: t.Address, Preface: preface, TLS: t.TLS, By: by}
	s, err := rt.Dial(d)
	if err == nil || w == nil || !engine.Exhausted(err) || !w.Shed(rt.Worker()) {
		return s, err
	}
	if err := rt.Sleep(rt.Now() + shedPause); err != nil {
		return nil, err
	}
	return rt.Dial(d)
}

// DialPort connects to a port of the endpoint's host; 0: the endpoint's own. That nothing
// listens there says nothing about the endpoint's own port, if it is another one, which gets no
// preface.
func (t *Target) DialPort(rt engine.Runtime, port int, preface []byte, by time.Duration) (engine.Stream, error) {
	address, elsewhere := t.Address, false
	if host, own, err := net.SplitHostPort(address); err == nil && t.Network == "tcp" && port != 0 {
		address = net.JoinHostPort(host, strconv.Itoa(port))
		if elsewhere = own != strconv.Itoa(port); elsewhere {
			preface = nil
		}
	}
	s, err := rt.Dial(&engine.Dial{Network: t.Network, Address: address, Preface: preface, TLS: t.TLS, By: by})
	if elsewhere && errors.Is(err, engine.ErrRefused) {
		return nil, fmt.Errorf("port %d: %s", port, err.Error())
	}
	return s, err
}

// ErrDescriptors says that no descriptor is left for a connection to an endpoint.
var ErrDescriptors = fmt.Errorf("connections use up the descriptors of this process: %w", engine.ErrExhausted)
