package nethttp

import (
	"net/http"

	"github.com/poise-lb/poise/internal/message"
)

// net/http brings the names of fields into one form, upper case after hyphens: of
// Sec-WebSocket-Key it makes Sec-Websocket-Key. Names have no case (RFC 9110 §5.1), but some
// endpoints and clients compare bytes with what the documents write. So well-known names go
// out as they are written there. Other engines pass names as they came.

// usual are names by their form in net/http, where it differs from the usual one.
var usual = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept", // RFC 6455 §11.3
		"WWW-Authenticate", "ETag", "Content-MD5", "MIME-Version", "DAV", "IM", "A-IM", "SOAPAction", "HTTP2-Settings", "CDN-Loop", "Expect-CT", "NEL",
		"DNT", "Sec-GPC", "ECT", "RTT", "DPR", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-CH-UA-Arch", "Sec-CH-UA-Model",
		"X-XSS-Protection", "X-UA-Compatible", "X-DNS-Prefetch-Control", "X-CSRF-Token", "X-WebKit-CSP", "X-ATT-DeviceId", "X-UIDH", "X-B3-TraceId",
		"X-B3-SpanId", "X-B3-ParentSpanId", "SourceMap", "TE",
	} {
		m[http.CanonicalHeaderKey(name)] = name
	}
	return m
}() // read only

// requestName is the usual spelling of a name in an http.Header.
func requestName(name string) string {
	if u, ok := usual[name]; ok {
		return u
	}
	return name
}

// responseName is the key of a field in the http.Header of a response. ETag stays as net/http
// writes it, because middleware around the handler looks it up by that name.
func responseName(f *message.Field) string {
	if f.Kind != message.Other {
		return http.CanonicalHeaderKey(f.Kind.String())
	}
	name := http.CanonicalHeaderKey(string(f.Name))
	if u, ok := usual[name]; ok && u != "ETag" {
		return u
	}
	return name
}
