package front

// Send: a request of an operator goes through the proxy as one of a client on this machine does,
// and what became of it is kept. It takes the way of ServeHTTP, so it can reach what routes lead to
// and nothing else: no part of the question is an address that is connected to.
//
//	question ─core.Question─► head ─net/http─► Handler ─► exchange ─► endpoint
//	                                              outcome ◄─ Trace

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream/nethttp"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/explain"
	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/internal/record"
)

const (
	sendFor     = 10 * time.Second // for the whole answer
	sendBytes   = 64 << 10         // of the answer's content; the rest is not read
	contentMost = 32 << 10         // of the request
)

// A SendRequest is what is sent.
type SendRequest struct {
	Method  string          `json:"method"` // GET if it is empty
	URL     string          `json:"url"`    // http://host/path?query, or a path alone
	Fields  []explain.Field `json:"fields,omitempty"`
	Content string          `json:"content,omitempty"` // at most 32 KiB

	// Listener is the name of the listener by which it comes, which match.listener of routes asks
	// for; empty: one without a name.
	Listener string `json:"listener,omitempty"`
}

// A Sent is what became of it.
type Sent struct {
	Status   int             `json:"status"` // 0: the answer has no head
	Fields   []explain.Field `json:"fields"`
	Content  string          `json:"content,omitempty"` // of text only, the first 64 KiB
	Bytes    int             `json:"bytes"`             // of the content that were read
	Cut      string          `json:"cut,omitempty"`     // why the answer is not complete, for people
	Took     time.Duration   `json:"took"`
	Route    string          `json:"route,omitempty"`   // its identity
	Service  string          `json:"service,omitempty"` // "": none was reached
	Reason   string          `json:"reason,omitempty"`  // of a failure
	Attempts []SentAttempt   `json:"attempts"`
}

// A SentAttempt is one try at one endpoint.
type SentAttempt struct {
	Endpoint string        `json:"endpoint"`         // scheme://address
	Status   int           `json:"status,omitempty"` // 0: no response head came
	Reason   string        `json:"reason,omitempty"` // "": it went well
	Start    time.Duration `json:"start"`            // since the start of the request
	Took     time.Duration `json:"took"`
}

// ownFields are those that say how a connection carries a request: they are not the sender's.
var ownFields = []string{"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}

// Send sends q and returns what became of it. The error says that q is no request; all else that
// goes wrong is in Sent. It takes at most sendFor. Any goroutine may call it.
func (srv *Server) Send(ctx context.Context, q SendRequest) (Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	r, err := q.request(ctx)
	if err != nil {
		return Sent{}, err
	}
	conf := srv.core.Config()
	if err := knownListener(conf, q.Listener); err != nil {
		return Sent{}, err
	}
	out := Sent{Fields: []explain.Field{}, Attempts: []SentAttempt{}}
	h := nethttp.Handler{Core: srv.core, Runtime: srv.rt, Listener: q.Listener, Ended: func(s *exchange.Service, route *exchange.Route, t *record.Trace) {
		if s != nil {
			out.Service = s.Name
		}
		if route != nil && route.Index < len(conf.Routes) {
			out.Route = conf.Routes[route.Index].Identity()
		}
		out.Reason = t.Reason
		for _, a := range t.Attempts() {
			out.Attempts = append(out.Attempts, SentAttempt{a.Scheme + "://" + a.Address, a.Status, a.Reason, a.Start, a.Time})
		}
	}}
	w := &outcome{header: make(http.Header)}
	began := time.Now()
	aborted := serve(&h, w, r)
	out.Took = time.Since(began)
	w.tell(&out)
	switch {
	case w.full:
		out.Cut = fmt.Sprintf("the first %d bytes were read", sendBytes)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		out.Cut = "there was no complete answer in time"
	case aborted:
		out.Cut = "the answer was broken off"
	}
	return out, nil
}

// knownListener returns why name is no listener that a request could come by; nil: it is one, or
// empty. Names of listeners that a program has given to Serve are known by the routes that ask for
// them.
func knownListener(c *config.Config, name string) error {
	if name == "" {
		return nil
	}
	var known []string
	for _, l := range c.Listen {
		known = append(known, l.Name)
	}
	for _, r := range c.Routes {
		known = append(known, r.Match.Listener)
	}
	known = slices.DeleteFunc(known, func(name string) bool { return name == "" })
	slices.Sort(known)
	known = slices.Compact(known)
	near := nearest.Word(name, known)
	switch {
	case slices.Contains(known, name):
		return nil
	case near != "":
		return fmt.Errorf("listener %q: there is none of that name; did you mean %s?", name, near)
	case len(known) == 0:
		return fmt.Errorf("listener %q: no listener has a name, and no route asks for one: leave it out", name)
	}
	return fmt.Errorf("listener %q: there is none of that name, only %s", name, strings.Join(known, ", "))
}

// serve reports whether the answer was broken off, which net/http is to be told by a panic.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (aborted bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		} else if p != nil {
			aborted = true
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// request is q as net/http would have read it from a connection of this machine.
func (q *SendRequest) request(ctx context.Context) (*http.Request, error) {
	for _, f := range q.Fields {
		if slices.Contains(ownFields, strings.ToLower(f.Name)) {
			return nil, fmt.Errorf("the field %s says how a connection carries the request: leave it out", f.Name)
		}
	}
	if len(q.Content) > contentMost {
		return nil, fmt.Errorf("the content has %d bytes, at most %d are sent", len(q.Content), contentMost)
	}
	peer, asked, head, err := core.Question(explain.Request{Method: q.Method, URL: q.URL, Fields: q.Fields})
	if err != nil {
		return nil, err
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, fmt.Errorf("%s %s is no request: %w", asked.Method, q.URL, err)
	}
	if r.ContentLength = int64(len(q.Content)); q.Content != "" {
		r.Body = io.NopCloser(strings.NewReader(q.Content))
	}
	if asked.Scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	r.RemoteAddr = net.JoinHostPort(peer.Addr.String(), "0")
	return r.WithContext(ctx), nil
}

// An outcome is the http.ResponseWriter that keeps the answer. One goroutine uses it.
type outcome struct {
	header  http.Header
	status  int // 0: no final head was written
	sent    http.Header
	content []byte
	full    bool
}

// Header implements http.ResponseWriter.
func (w *outcome) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. Interim responses are left out.
func (w *outcome) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// errFull ends an answer that is longer than what is kept.
var errFull = errors.New("the answer is longer than what is kept of it")

// Write implements http.ResponseWriter.
func (w *outcome) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n := min(len(p), sendBytes-len(w.content))
	w.content = append(w.content, p[:n]...)
	if n < len(p) {
		w.full = true
		return n, errFull
	}
	return n, nil
}

// Flush implements http.Flusher: there is nothing that holds content back.
func (w *outcome) Flush() {}

// tell fills in what the answer was.
func (w *outcome) tell(out *Sent) {
	out.Status, out.Bytes = w.status, len(w.content)
	for _, name := range slices.Sorted(maps.Keys(w.sent)) {
		for _, v := range w.sent[name] {
			out.Fields = append(out.Fields, explain.Field{Name: name, Value: v})
		}
	}
	text := w.content
	if w.full { // it may end within a character
		for i := 0; i < utf8.UTFMax && len(text) > 0 && !utf8.Valid(text); i++ {
			text = text[:len(text)-1]
		}
	}
	if utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 {
		out.Content = string(text)
	}
}
