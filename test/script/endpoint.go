package script

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A stage is where actors live: sockets and goroutines, or a virtual world.
type stage interface {
	Now() time.Duration
	Sleep(d time.Duration)
	// Go starts an actor's task; it ends when its conns and listeners are closed.
	Go(name string, f func())
	// Listen takes an address, or one of its choice if it is "".
	Listen(address string) (listener, error)
	// Dial connects a client; from is its own IP address, or "".
	Dial(from, address string) (conn, error)
	// BlackHole makes connecting to an address that nobody listens on never end.
	BlackHole(address string) error
}

type listener interface {
	Accept() (conn, error)
	Address() string
	Close()
}

// An endpointActor plays an endpoint. Its behaviour is a program, run once for each
// request; the script may change it at any time.
type endpointActor struct {
	name    string
	stage   stage
	address string
	ears    listener // nil while it refuses; the script's task alone uses it

	mu       sync.Mutex // never held while waiting
	standing []statement
	next     [][]statement // for the next requests, one each
	seen     []*message    // requests the script has not asked about
	hangups  int           // exchanges the proxy ended early
	accepted int
	open     []*wire
	stopped  bool
}

// newEndpoint starts an endpoint that answers 200 with its name.
func newEndpoint(s stage, name string) (*endpointActor, error) {
	e := &endpointActor{name: name, stage: s}
	e.standing = steps(0, []string{"reply", "200", "body", name})
	return e, e.listen()
}

func (e *endpointActor) listen() error {
	ears, err := e.stage.Listen(e.address)
	if err != nil {
		return err
	}
	e.ears, e.address = ears, ears.Address()
	e.stage.Go("endpoint "+e.name, func() {
		for {
			c, err := ears.Accept()
			if err != nil {
				return
			}
			e.stage.Go("endpoint "+e.name+" connection", func() { e.serve(c) })
		}
	})
	return nil
}

// behave changes the behaviour.
func (e *endpointActor) behave(line int, words []string, more []statement) error {
	var program []statement
	once := len(words) > 0 && words[0] == "next"
	if once {
		words = words[1:]
	}
	program = append(steps(line, words), more...)
	if len(program) == 0 {
		return errors.New("no behaviour")
	}
	switch word := program[0].words[0]; word {
	case "refuse", "black-hole":
		e.stop(false)
		if word == "black-hole" {
			return e.stage.BlackHole(e.address)
		}
		return nil
	case "hangup":
		e.closeConns(true)
		return nil
	}
	for _, step := range program {
		if err := checkStep(step); err != nil {
			return err
		}
	}
	e.mu.Lock()
	if once {
		e.next = append(e.next, program)
	} else {
		e.standing = program
	}
	e.mu.Unlock()
	if e.ears == nil {
		return e.listen()
	}
	return nil
}

// stop closes the listener and all connections, as an endpoint whose process ended.
func (e *endpointActor) stop(forGood bool) {
	e.mu.Lock()
	e.stopped = forGood
	e.mu.Unlock()
	if e.ears != nil {
		e.ears.Close()
		e.ears = nil
	}
	e.closeConns(false)
}

// closeConns closes the connections: all, or those between requests.
func (e *endpointActor) closeConns(idleOnly bool) {
	e.mu.Lock()
	var conns []*wire
	for _, w := range e.open {
		if w.idle || !idleOnly {
			conns = append(conns, w)
		}
	}
	e.mu.Unlock()
	for _, w := range conns {
		w.Close()
	}
}

// program takes the program for a request; at accept time only those count that do not
// look at one.
func (e *endpointActor) program(accepting bool) []statement {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.standing
	if len(e.next) > 0 {
		p = e.next[0]
	}
	if accepting != strings.HasSuffix(p[0].words[0], "-at-once") {
		return nil
	}
	if len(e.next) > 0 {
		e.next = e.next[1:]
	}
	return p
}

func (e *endpointActor) serve(c conn) {
	w := &wire{conn: c, idle: true}
	e.mu.Lock()
	e.accepted++
	e.open = append(e.open, w)
	late := e.stopped
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.open = slices.DeleteFunc(e.open, func(o *wire) bool { return o == w })
		e.mu.Unlock()
		w.Close()
	}()
	if p := e.program(true); p != nil {
		if p[0].words[0] == "reset-at-once" {
			w.Abort()
		}
		return
	}
	for keep := !late; keep; {
		keep = e.exchange(w)
	}
}

// exchange serves one request and reports whether the connection lives on.
func (e *endpointActor) exchange(w *wire) bool {
	if len(w.unread) == 0 {
		e.setIdle(w, true)
		if err := w.more(); err != nil {
			return false
		}
		e.setIdle(w, false)
	}
	request, err := w.head("")
	if err != nil {
		e.record(&message{start: "malformed: " + err.Error()})
		return false
	}
	s := serving{endpoint: e, wire: w, request: request}
	for _, step := range e.program(false) {
		if err := s.do(step); err != nil {
			if !errors.Is(err, errDone) {
				e.mu.Lock()
				e.hangups++
				e.mu.Unlock()
			}
			return false
		}
	}
	return !s.last && request.ended && !slices.Contains(request.get("Connection"), "close")
}

func (e *endpointActor) setIdle(w *wire, idle bool) {
	e.mu.Lock()
	w.idle = idle
	e.mu.Unlock()
}

func (e *endpointActor) record(m *message) {
	e.mu.Lock()
	e.seen = append(e.seen, m)
	e.mu.Unlock()
}

// take returns the oldest request the script has not asked about, or nil.
func (e *endpointActor) take() *message {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == 0 {
		return nil
	}
	m := e.seen[0]
	e.seen = e.seen[1:]
	return m
}

// errDone ends a program and the connection with it, as the script wants.
var errDone = errors.New("done")

// A serving is one run of a program.
type serving struct {
	endpoint *endpointActor
	wire     *wire
	request  *message
	recorded bool
	chunked  bool // how head announced the pieces
	last     bool // the connection cannot be used again
}

// checkStep finds mistakes when the script is read rather than in the middle of it.
func checkStep(step statement) error {
	word, rest := step.words[0], step.words[1:]
	var err error
	switch word {
	case "reply", "head", "interim":
		if len(rest) == 0 {
			return errors.New("no status")
		}
		_, err = parseOptions(rest[1:])
	case "end":
		_, err = parseOptions(rest)
	case "wait":
		_, err = parseDuration(rest)
	case "piece", "raw", "early", "read", "continue", "hang", "close", "reset", "echo", "close-at-once", "reset-at-once":
	default:
		err = fmt.Errorf("%s: an endpoint cannot do that", word)
	}
	return err
}

// do runs one step. The request's content is read before the first step that answers.
func (s *serving) do(step statement) error {
	word, rest := step.words[0], step.words[1:]
	switch word {
	case "wait":
		d, _ := parseDuration(rest)
		s.endpoint.stage.Sleep(d)
		return nil
	case "early":
		s.recordOnce()
		return nil
	case "read":
		if err := s.wire.rest(s.request); err != nil {
			return err
		}
		s.endpoint.record(s.request)
		return nil
	case "continue":
		return s.write("HTTP/1.1 100 Continue\r\n\r\n")
	case "interim":
		o, _ := parseOptions(rest[1:])
		return s.write(encode("HTTP/1.1 "+rest[0]+" Interim", nil, o, true))
	}
	if !s.recorded {
		if err := s.wire.rest(s.request); err != nil {
			return err
		}
		s.recordOnce()
	}
	switch word {
	case "reply", "head":
		return s.reply(word, rest)
	case "piece":
		if s.chunked {
			return s.write(encodeChunk(strings.Join(rest, "")))
		}
		return s.write(strings.Join(rest, ""))
	case "raw":
		return s.write(strings.Join(rest, ""))
	case "end":
		o, _ := parseOptions(rest)
		return s.write(encodeEnd(o.trailers))
	case "hang", "echo":
		return s.listenOn(word == "echo")
	case "reset":
		s.wire.Abort()
	}
	return errDone // close, too
}

func (s *serving) recordOnce() {
	if !s.recorded {
		s.recorded = true
		s.endpoint.record(s.request)
	}
}

func (s *serving) write(text string) error {
	_, err := s.wire.Write([]byte(text))
	return err
}

func (s *serving) reply(word string, rest []string) error {
	o, _ := parseOptions(rest[1:])
	status := rest[0]
	method, _, _ := strings.Cut(s.request.start, " ")
	contentless := word == "head" || method == "HEAD" || status == "204" || status == "304"
	silent := status < "200" || status == "204" || status == "304"
	if word == "reply" && o.content == nil && o.chunks == nil && o.length < 0 && !silent {
		o.content = new(string)
	}
	version := "HTTP/1.1 "
	if o.old {
		version = "HTTP/1.0 "
	}
	s.chunked = o.chunked
	s.last = o.untilClose || o.old && !slices.Contains(values(o.fields, "Connection"), "keep-alive") ||
		slices.Contains(values(o.fields, "Connection"), "close")
	return s.write(encode(version+status+" Status", []field{{endpointField, s.endpoint.name}}, o, contentless))
}

// listenOn reads until the peer ends its side, and may send back what it reads. An end
// is a hangup, except that a tunnel may end in good order.
func (s *serving) listenOn(echo bool) error {
	for {
		if len(s.wire.unread) == 0 {
			if err := s.wire.more(); err != nil {
				if echo && err == io.EOF {
					return errDone
				}
				return err
			}
		}
		if echo {
			if err := s.write(string(s.wire.unread)); err != nil {
				return err
			}
		}
		s.wire.unread = nil
	}
}
