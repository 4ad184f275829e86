package std

import (
	"net/http"
	"net/netip"

	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/message"
)

// A Handler serves exchanges of a core.Proxy to net/http.
type Handler struct {
	Core    *core.Proxy
	Runtime *goroutine.Runtime
}

// ServeHTTP answers r. It panics with http.ErrAbortHandler when a response cannot be
// completed, so that net/http lets the client see it cut short.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &client{rt: h.Runtime, w: w, r: r, ctl: http.NewResponseController(w)}
	defer c.close()
	h.Core.ServeExchange(peerOf(r), c, func(q *message.Request) { c.fill(q) })
	if c.cut {
		panic(http.ErrAbortHandler)
	}
}

func peerOf(r *http.Request) exchange.Peer {
	p := exchange.Peer{Scheme: "http", Proto: r.Proto}
	if r.TLS != nil {
		p.Scheme = "https"
	}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = a.Addr().Unmap()
		p.IP = p.Addr.AppendTo(nil)
	}
	return p
}

// fill makes the neutral head of the request. Its bytes are copied into one array: the
// strings of an http.Header must not be written to. What middleware did to r.URL counts,
// not the target as the client sent it.
func (c *client) fill(q *message.Request) {
	r := c.r
	path, query := r.URL.EscapedPath(), r.URL.RawQuery
	if path == "" {
		path = "/"
	}
	size := len(r.Method) + len(path) + len(query) + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
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
			f := message.Field{Name: put(name), Value: put(v)}
			if f.Kind = message.KindOf(f.Name); f.Kind != message.ContentLength && f.Kind != message.TransferEncoding {
				q.Fields = append(q.Fields, f)
			}
		}
	}
	q.Minor = 1
	if r.ProtoMajor == 1 {
		q.Minor = uint8(r.ProtoMinor)
	}
	c.minor = q.Minor
	q.Derive()
	c.frame(q)
}

// frame says how the content is delimited. Chunked stands for a length unknown.
func (c *client) frame(q *message.Request) {
	switch r := c.r; {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		q.Body = message.NoBody
		c.read.Store(true)
	case r.ContentLength > 0:
		q.Body, q.Length = message.Length, r.ContentLength
	default:
		q.Body = message.Chunked
	}
}
