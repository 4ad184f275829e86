package h2

// The other side: an endpoint that breaks rules, frame by frame, towards a proxy whose client sends
// one request of HTTP/1.1. A case says what the endpoint does with the request, and what has to
// become of the client, the connection to the endpoint and the next request. The endpoint is
// built of x/net's Framer and hpack, as the hostile client is.

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

// An answering is one case: an endpoint that answers, well or badly.
type answering struct {
	part    string // of answeringParts
	section string
	name    string
	play    func(h *peer, id uint32) // with the request, which has come whole
	want    fate

	method  string      // of the request; empty: POST, which is repeated only if it was not processed
	content int         // bytes of its content; 0: three, -1: none
	begin   func(*peer) // the endpoint's first frames; nil: SETTINGS
	early   bool        // play does not wait for the content
	slow    bool        // it takes timeouts: only in virtual worlds
}

// A fate is what becomes of a request to a hostile endpoint.
type fate struct {
	status string // that the client sees; empty: none, its connection is closed
	reason string // poise-reason
	body   string
	cut    bool // the response is cut short; with a status: or answered with that
	passed bool // a whole response of 200 may reach the client, too
	over   bool // the connection to the endpoint ends: the next request comes by another
	any    bool // it may come by any
	lax    bool // any failure of the proxy's own will do, also where the request may be repeated
	code   http2.ErrCode
	told   bool // code is what the endpoint is told: by GOAWAY if over, else by RST_STREAM
}

// A hostile is the endpoint. Its connections are numbered from 1.
type hostile struct {
	place place
	play  *answering

	mu    sync.Mutex // never held while waiting
	links []*link
	asked int // requests of the case so far
}

// A link is what the test may know of a connection.
type link struct {
	wire   wire
	resets map[uint32]http2.ErrCode
	goAway []http2.ErrCode
	id     uint32 // stream of the case
}

// serve serves one connection to the endpoint.
func (e *hostile) serve(w wire) {
	defer w.Close()
	h := newPeer(e.place, w)
	h.server = true
	l := &link{wire: w, resets: map[uint32]http2.ErrCode{}}
	h.note = func() { e.note(h, l) }
	e.mu.Lock()
	e.links = append(e.links, l)
	number := len(e.links)
	begin := e.play.begin
	e.mu.Unlock()
	if h.skipPreface() != nil {
		return
	}
	if begin != nil && number == 1 {
		begin(h)
	} else {
		h.framer.WriteSettings()
	}
	for {
		if !h.read(time.Hour, func() bool { return len(h.asks) > 0 }) {
			return
		}
		id := h.asks[0]
		h.asks = h.asks[1:]
		a := h.answer(id)
		if field(a.fields, ":path") != "/case" {
			respond2(h, id, fmt.Sprint("fine ", number))
			continue
		}
		e.mu.Lock()
		e.asked++
		first := e.asked == 1
		if first {
			l.id = id
		}
		e.mu.Unlock()
		if !e.play.early && !h.read(time.Hour, func() bool { return a.over || a.reset }) {
			return
		}
		if first {
			e.play.play(h, id)
		} else {
			respond2(h, id, "again")
		}
	}
}

// note copies what the proxy has said.
func (e *hostile) note(h *peer, l *link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, a := range h.answers {
		if a.reset {
			l.resets[id] = a.code
		}
	}
	for _, g := range h.goAways[len(l.goAway):] {
		l.goAway = append(l.goAway, g.ErrCode)
	}
}

func (c *peer) skipPreface() error {
	for len(c.unread) < len(http2.ClientPreface) {
		room := make([]byte, 4<<10)
		n, err := c.wire.Read(room)
		if c.unread = append(c.unread, room[:n]...); n == 0 && err != nil {
			return err
		}
	}
	if !strings.HasPrefix(string(c.unread), http2.ClientPreface) {
		return errors.New("no preface")
	}
	c.unread = c.unread[len(http2.ClientPreface):]
	return nil
}

// respond2 is a whole response of HTTP/2.
func respond2(h *peer, id uint32, content string) {
	h.head(id, false, ":status", "200")
	h.framer.WriteData(id, true, []byte(content))
}

// A reply is what the client has got.
type reply struct {
	status   string
	fields   http.Header
	body     string
	err      error // of the content, or of the head if status is empty
	trailers http.Header
}

// asks sends a request on a connection of its own, and reads until its end.
func asks(p place, method, path string, content int, limit time.Duration) (r reply) {
	w, err := p.Dial()
	if err != nil {
		return reply{err: err}
	}
	defer w.Close()
	w.SetReadDeadline(p.Now() + limit)
	fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n", method, path)
	if content > 0 {
		fmt.Fprintf(w, "Content-Length: %d\r\n", content)
	}
	io.WriteString(w, "\r\n"+strings.Repeat("a", max(content, 0)))
	all, err := readAll(w)
	in := bufio.NewReader(bytes.NewReader(all))
	for {
		got, headErr := http.ReadResponse(in, &http.Request{Method: method})
		if headErr != nil {
			return reply{err: fmt.Errorf("%w, %w, %q", err, headErr, all)}
		}
		if got.StatusCode < 200 {
			continue
		}
		body, bodyErr := io.ReadAll(got.Body)
		return reply{status: fmt.Sprint(got.StatusCode), fields: got.Header, body: string(body), err: bodyErr, trailers: got.Trailer}
	}
}

// readAll is io.ReadAll, and an error only if nothing has come.
func readAll(w io.Reader) (all []byte, err error) {
	for {
		room := make([]byte, 16<<10)
		n, err := w.Read(room)
		if all = append(all, room[:n]...); n == 0 && err != nil {
			return all, err
		}
	}
}

// try plays the case with a method, and says what is wrong.
func (e *hostile) try(p place, method string, want fate) error {
	if e.place == nil { // on sockets connections are served already
		e.place = p
	}
	r := asks(p, method, "/case", cmp.Or(e.play.content, 3), 2*time.Minute)
	if err := want.judge(&r); err != nil {
		return err
	}
	// A response may be there before the task that reads the endpoint's connection has seen its end.
	next := asks(p, "GET", "/next", 0, 2*time.Minute)
	if next.status != "200" || !strings.HasPrefix(next.body, "fine ") {
		return fmt.Errorf("the next request: status %s %s, %q, %v", next.status, next.fields.Get("Poise-Reason"), next.body, next.err)
	}
	if gone := next.body != "fine 1"; gone != want.over && !want.any {
		return fmt.Errorf("the next request came by connection %q; want the first one to end: %v", next.body, want.over)
	}
	if !want.told {
		return nil
	}
	var said string
	for by := p.Now() + patience; p.Now() < by; p.Sleep(5 * time.Millisecond) {
		e.mu.Lock()
		l := e.links[0]
		code, reset := l.resets[l.id]
		goAway := slices.Clone(l.goAway)
		e.mu.Unlock()
		if said = fmt.Sprint("reset: ", reset, " ", code, ", GOAWAY: ", goAway); !want.over && reset && code == want.code || want.over && slices.Contains(goAway, want.code) {
			return nil
		}
	}
	return fmt.Errorf("the endpoint was told %s; want %v", said, want.code)
}

// judge says what is wrong with what the client got.
func (f *fate) judge(r *reply) error {
	got := fmt.Sprintf("status %s %s, %.80q, error %v", r.status, r.fields.Get("Poise-Reason"), r.body, r.err)
	switch {
	case f.cut && r.status == "200" && r.err != nil:
		return nil
	case f.passed && r.status == "200" && r.err == nil:
		return nil
	case f.lax && f.enough(r):
		return nil
	case f.cut && f.status == "":
		return fmt.Errorf("%s; want a response that is cut short", got)
	case r.status != f.status || f.reason != "" && r.fields.Get("Poise-Reason") != f.reason:
		return fmt.Errorf("%s; want %s %s", got, f.status, f.reason)
	case r.status == "200" && (r.err != nil || r.body != f.body):
		return fmt.Errorf("%s; want %.80q", got, f.body)
	}
	return nil
}

// enough reports whether RFC 9113 demands no more than what the client got: a failure of any kind, a
// response that is seen to be cut short, one that is within limits of the proxy's own, or one of
// a request that need not have been repeated.
func (f *fate) enough(r *reply) bool {
	failed := strings.HasPrefix(r.status, "5") || r.status == ""
	switch {
	case strings.HasPrefix(f.status, "5"):
		return failed || r.err != nil || r.status == "200" && (f.reason == "too-many-fields" || f.reason == "response-head-too-large")
	case f.body == "again":
		return failed || r.status == "200" && r.err == nil
	}
	return false
}

// repeated is the fate of a request that may be repeated. A response that breaks a rule is final: the
// endpoint would answer so again.
func (f fate) repeated() fate {
	switch {
	case f.status != "502", f.reason != "" && f.reason != "endpoint-reset" && f.reason != "endpoint-closed":
		return f
	}
	f.status, f.reason, f.body = "200", "", "again"
	return f
}

// inHostileWorlds plays a case in virtual worlds.
func inHostileWorlds(t *testing.T, a *answering, method string, want fate) {
	t.Helper()
	for seed, longest := range []int{0, 900, 7} {
		w := &world{t: t, World: virtual.New(uint64(seed))}
		if w.SegmentMax = longest; longest == 7 && a.content > 1000 {
			continue
		}
		e := &hostile{place: w, play: a}
		cfg := configuration("h2c://10.0.0.1:80")
		quick(&cfg)
		w.play(uint64(seed), cfg, func(s engine.Stream) { e.serve(s) }, func(w *world) error { return e.try(w, method, want) })
		if t.Failed() {
			return
		}
	}
}

// quick has a hostile endpoint found out sooner.
func quick(c *config.Config) {
	c.Timeouts.Stall = 5 * time.Second
	c.Routes[0].Timeout = 20 * time.Second
}

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}

// hostilesLeast is how many cases there have to be.
const hostilesLeast = 200

// answeringParts are the parts of allAnswerings, in their order.
var answeringParts = []string{"messages", "frames, streams, HPACK", "connections, flow control, floods", "RST_STREAM of every code at every moment", "the end behind each byte"}

func allAnswerings() (all []answering) {
	for i, part := range [][]answering{badMessages, badFrames, badLives(), badResets(), badCuts()} {
		for _, a := range part {
			a.part = answeringParts[i]
			all = append(all, a)
		}
	}
	return all
}

// TestHostileEndpoints plays every case in virtual worlds and on every engine.
func TestHostileEndpoints(t *testing.T) {
	all := allAnswerings()
	if len(all) < hostilesLeast {
		t.Errorf("%d cases, want %d", len(all), hostilesLeast)
	}
	places := append([]string{"virtual"}, poise.Engines()...)
	for _, where := range places {
		t.Run(where, func(t *testing.T) {
			for i := range all {
				a := &all[i]
				if a.slow && where != "virtual" {
					continue
				}
				t.Run(a.section+" "+a.name, func(t *testing.T) {
					if where != "virtual" {
						t.Parallel() // on sockets they wait rather than compute
					}
					if a.method == "" {
						a.on(t, where, "POST", a.want)
						a.on(t, where, "GET", a.want.repeated())
						return
					}
					a.on(t, where, a.method, a.want)
				})
			}
		})
	}
}

// on plays a case at a place of its own.
func (a *answering) on(t *testing.T, where, method string, want fate) {
	t.Helper()
	if t.Failed() {
		return
	}
	if where == "virtual" {
		inHostileWorlds(t, a, method, want)
	} else {
		var e *hostile
		began := make(chan struct{})
		s := onSocketsWith(t, where, "h2c://", quick, func(c *net.TCPConn) {
			<-began
			e.serve(socket{c, e.place.(*sockets).began})
		})
		e = &hostile{place: s, play: a}
		close(began)
		if err := e.try(s, method, want); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("by %s", method)
	}
}
