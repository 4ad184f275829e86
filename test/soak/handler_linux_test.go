package soak

import (
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"time"
)

// Endpoints that speak HTTP/2 without TLS: net/http has the frames. What resets a connection of HTTP/1.1
// resets a stream here, and what closes one is GOAWAY.

// streamsMost is so low that requests wait for each other.
const streamsMost = 8

func (e *endpoint) serveH2(l net.Listener) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{
		Handler: e, Protocols: &protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streamsMost},
		ErrorLog: stdlog.New(io.Discard, "", 0),
		ConnState: func(c net.Conn, now http.ConnState) {
			switch now {
			case http.StateNew:
				if !e.keep(c) {
					reset(c)
				}
			case http.StateClosed, http.StateHijacked:
				e.forget(c)
			}
		},
	}
	s.Serve(l) // ends when die closes l
	s.Close()
}

// ServeHTTP answers one request.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	if !e.enter() {
		panic(http.ErrAbortHandler)
	}
	defer e.serving.Done()
	w.Header()["Content-Type"] = nil
	if h.URL.Path == "/health" {
		return
	}
	r, err := e.soak.find(h.Header.Get("X-Token"))
	if err != nil {
		e.soak.fail("%s: %v", e.name, err)
		return
	}
	if r == nil { // the client left long ago
		e.soak.met.add("late requests")
		return
	}
	e.soak.met.add("requests by HTTP/2")
	first := r.heads.Add(1) == 1
	if wrong := e.wrong(requestOf(h, r), r, first); wrong != "" {
		e.soak.fail("%s: %s\norder: %s", e.name, wrong, r.text)
		return
	}
	resets := r.act == resetHead && first
	switch {
	case resets && r.up < 0:
		panic(http.ErrAbortHandler)
	case r.act == early:
		if e.respondH2(w, r); !r.expect {
			e.contentH2(h, r)
		}
		return
	case !e.contentH2(h, r):
		return
	case resets:
		panic(http.ErrAbortHandler)
	}
	e.respondH2(w, r)
}

// requestOf is a request as e.wrong takes it.
func requestOf(h *http.Request, r *entry) *request {
	q := &request{method: h.Method, target: h.RequestURI, fields: map[string]string{}, length: int(h.ContentLength)}
	for name, values := range h.Header {
		q.fields[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if r.expect { // net/http takes the field out
		q.fields["expect"] = "100-continue"
	}
	if q.length < 0 || r.up == 0 && r.upFrame == inChunks {
		q.chunked = true
	}
	return q
}

// contentH2 is content of a request that came by HTTP/2.
func (e *endpoint) contentH2(h *http.Request, r *entry) bool {
	want, n, buf := contentOf(r.token, upwards), 0, make([]byte, 8<<10)
	for {
		k, err := h.Body.Read(buf)
		if !want.has(buf[:k]) {
			e.soak.fail("%s: wrong content within %d bytes after the first %d\norder: %s", e.name, k, n, r.text)
			return false
		}
		n += k
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			e.soak.met.add("uploads cut")
			return false
		case n != max(r.up, 0):
			e.soak.fail("%s: %d bytes of content, which look whole\norder: %s", e.name, n, r.text)
			return false
		default:
			return true
		}
	}
}

// respondH2 writes the response in pieces.
func (e *endpoint) respondH2(w http.ResponseWriter, r *entry) {
	r.begun.Store(true)
	out, head := http.NewResponseController(w), w.Header()
	pause := time.Duration(r.at) * time.Millisecond
	head.Set("X-Token", r.token)
	head.Set("X-Endpoint", e.name)
	if r.downPad > 0 {
		head.Set("X-Pad", text(r.token, r.downPad))
	}
	switch {
	case r.status == 204:
	case r.downFrame == byLength:
		head.Set("Content-Length", fmt.Sprint(r.down))
	case r.downFrame == inChunks:
		head.Set("Trailer", "X-End")
	}
	switch r.act {
	case late:
		time.Sleep(10 * pause)
	case hinting: // net/http may still read the fields when this returns, so they stay as they are
		w.WriteHeader(http.StatusEarlyHints)
	case closing:
		head.Set("Connection", "close")
	}
	w.WriteHeader(r.status)
	out.Flush()
	if r.empty() {
		return
	}
	left := r.down
	if r.act == resetBody {
		left = min(left, r.at)
	}
	stream := contentOf(r.token, downwards)
	for piece := 1 + int(mix(stream.seed)%40_000); left > 0; piece = 1 + piece*7%60_000 {
		n := min(left, piece)
		left -= n
		if _, err := w.Write(appendContent(nil, stream, n, false)); err != nil {
			return
		}
		if r.act == slowly {
			out.Flush()
			time.Sleep(pause / 5)
		}
	}
	if r.act == resetBody {
		out.Flush()
		panic(http.ErrAbortHandler)
	}
	if r.downFrame == inChunks {
		head.Set("X-End", r.token)
	}
}
