package nethttp

import (
	"net/http"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
)

// streamsMax is how many requests a client may have under way on one connection of HTTP/2: as many
// as browsers and nginx take for usual. A client that wants more opens another connection.
const streamsMax = 128

// pingMin keeps a very short head timeout from making connections busy with pings.
const pingMin = time.Second

// perField is what the size of a field counts in HTTP/2 beside its name and value
// (RFC 9113 §6.5.2).
const perField = 32

// Limit has s, which was not started yet, held to settings as far as net/http can do that: idle,
// head and the size of heads for connections, and stall for connections of HTTP/2 that take no
// byte. Fields up to twice the limit are read and refused with a reason; what is longer net/http
// refuses itself, by a bare 431. A connection of HTTP/2 that sends no frame for the head timeout,
// be it in the middle of a head, is asked whether it is alive, and closed if it does not answer for
// as long.
func Limit(s *http.Server, t *downstream.Settings) {
	s.ReadHeaderTimeout, s.IdleTimeout = t.Head, t.Idle
	s.MaxHeaderBytes = 2*t.Limits.Bytes + perField*t.Limits.Fields
	ping := max(t.Head, pingMin)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: streamsMax,
		SendPingTimeout:      ping,
		PingTimeout:          ping,
		WriteByteTimeout:     t.Stall,
	}
}
