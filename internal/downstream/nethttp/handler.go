package nethttp

import (
	"net/http"
	"strings"

	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
)

// A Handler serves exchanges of a core.Proxy to net/http.
type Handler struct {
	Core    *core.Proxy
	Runtime *goroutine.Runtime
	// Listener is the name of the listener by which all requests come; empty: it has none.
	Listener string
	// Ended is exchange.Peer.Ended of every request; nil: nothing asks for it.
	Ended func(s *exchange.Service, r *exchange.Route, t *record.Trace)
}

// ServeHTTP answers r. It panics with http.ErrAbortHandler when a response cannot be
// completed, so that net/http lets the client see it cut short.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &client{
		rt: h.Runtime, w: w, r: r, ctl: http.NewResponseController(w),
		core: h.Core, settings: h.Core.ClientSettings(),
	}
	c.stalls = stallWatch{rt: c.rt, ctl: c.ctl, limit: c.settings.Stall}
	defer c.close()
	parts := downstream.Client{RequestContent: c, ResponseWriter: c, Connection: c}
	peer := peerOf(r)
	peer.Ended, peer.Listener = h.Ended, h.Listener
	h.Core.ServeExchange(peer, parts, c, c.fill)
	if c.cut {
		panic(http.ErrAbortHandler)
	}
}

func peerOf(r *http.Request) exchange.Peer {
	p := exchange.Peer{Scheme: "http"}
	if r.TLS != nil {
		p.Scheme, p.TLS = "https", r.TLS.Version
		if len(r.TLS.VerifiedChains) > 0 {
			p.Cert = ClientCert(r.TLS)
		}
	}
	if a, ok := exchange.ParseAddress([]byte(r.RemoteAddr)); ok { // middleware may have cut the port off
		p.Addr = a
		p.IP = a.AppendTo(nil)
	}
	return p
}

// fill makes the neutral head of the request. Its bytes are copied into one array: the
// strings of an http.Header must not be written to. What middleware did to r.URL counts,
// not the target as the client sent it.
func (c *client) fill(q *message.Request) *http1.Error {
	r := c.r
	path, query := r.URL.EscapedPath(), r.URL.RawQuery
	if path == "" {
		path = "/"
	}
	if wholeServer(r) {
		path = "*"
	}
	size, tooLarge := measure(r, &c.settings.Limits)
	if tooLarge != nil {
		q.Method, q.Path = []byte(r.Method), []byte(path)
		c.last.Store(true)
		return tooLarge
	}
	size += len(path) + len(query)
	room := make([]byte, 0, size)
	put := func(s string) []byte {
		n := len(room)
		room = append(room, s...)
		return room[n:len(room):len(room)]
	}
	q.Method, q.Path, q.Host = put(r.Method), put(path), put(r.Host)
	q.Target = q.Path
	q.Query = nil
	if query != "" || r.URL.ForceQuery {
		q.Query = put(query)
	}
	for name, values := range r.Header {
		for _, v := range values {
			f := message.Field{Name: put(requestName(name)), Value: put(v)}
			if f.Kind = message.KindOf(f.Name); f.Kind != message.ContentLength && f.Kind != message.TransferEncoding {
				q.Fields = append(q.Fields, f)
			}
		}
	}
	for name := range r.Trailer { // net/http has taken the field Trailer out
		q.Fields = append(q.Fields, message.Field{Name: put("Trailer"), Kind: message.Trailer, Value: put(requestName(name))})
	}
	q.Minor = 1
	if r.ProtoMajor == 1 {
		q.Minor = uint8(r.ProtoMinor)
	}
	c.minor = q.Minor
	q.Derive()
	c.expects = q.ExpectContinue
	c.patient = r.ProtoMajor == 2 && grpc.Asks(q.Fields)
	c.frame(q)
	err := check(q, r)
	if err != nil {
		c.last.Store(true)
	}
	return err
}

// measure holds a head to the limits, and returns how long it is as HTTP/1.1 writes it. The
// order of the refusals is that of package h1.
func measure(r *http.Request, l *limits.Head) (size int, _ *http1.Error) {
	if len(r.RequestURI) > l.Target {
		return 0, &http1.Error{Status: 414, Reason: reason.TargetTooLong}
	}
	size = len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n\r\n")
	fields := 0
	if r.Host != "" { // net/http takes it out of the fields
		fields, size = 1, size+len("Host: \r\n")+len(r.Host)
	}
	for name, values := range r.Header {
		fields += len(values)
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	switch {
	case fields > l.Fields:
		return 0, &http1.Error{Status: 431, Reason: reason.TooManyFields}
	case size > l.Bytes:
		return 0, &http1.Error{Status: 431, Reason: reason.HeadTooLarge}
	}
	return size, nil
}

// wholeServer recognises OPTIONS about the server as a whole in a target of absolute form
// (RFC 9112 §3.2.4). A path that middleware has made empty is another thing.
func wholeServer(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.URL.Path == "" && r.URL.RawQuery == "" && !r.URL.ForceQuery &&
		r.RequestURI != "" && r.RequestURI[0] != '/'
}

// check refuses what net/http lets through although our own codec would not: here it
// would be asked for, or taken for something else, by an endpoint.
func check(q *message.Request, r *http.Request) *http1.Error {
	switch {
	case r.Method == http.MethodConnect:
		return &http1.Error{Status: 501, Reason: reason.ConnectNotSupported}
	case r.URL.Opaque != "", strings.Contains(r.RequestURI, "#"), string(q.Path) == "*" && r.Method != http.MethodOptions:
		return &http1.Error{Status: 400, Reason: reason.BadTarget}
	case !message.ValidHost(q.Host):
		return &http1.Error{Status: 400, Reason: reason.BadHost}
	}
	return nil
}

// frame says how the content is delimited. Chunked stands for a length unknown.
func (c *client) frame(q *message.Request) {
	switch r := c.r; {
	case r.ContentLength == 0 && r.Header["Content-Length"] != nil:
		q.Body = message.Length // of zero, which some methods are to say (RFC 9110 §8.6)
		c.read.Store(true)
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		q.Body = message.NoBody
		c.read.Store(true)
	case r.ContentLength > 0:
		q.Body, q.Length = message.Length, r.ContentLength
	default:
		q.Body = message.Chunked
	}
}
