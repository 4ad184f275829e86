package script

import (
	"errors"
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
	// BlackHole makes connecting to an address without a listener never end.
	BlackHole(address string) error
	NewWakeup() wakeup
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
	http2   bool // it speaks HTTP/2
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
func newEndpoint(s stage, name string, http2 bool) (*endpointActor, error) {
	e := &endpointActor{name: name, stage: s, http2: http2}
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
	var http2 *serverConn
	if e.http2 {
		http2 = newServerConn(e, w)
		w.conn = http2
	}
	e.mu.Lock()
	e.accepted++
	e.open = append(e.open, w)
	late := e.stopped
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.open = slices.DeleteFunc(e.open, func(o *wire) bool { return o == w })
		e.mu.Unlock()
		c.Close()
	}()
	if p := e.program(true); p != nil {
		if p[0].words[0] == "reset-at-once" {
			c.Abort()
		}
		return
	}
	if http2 != nil && !late {
		http2.serve()
		return
	}
	for keep := !late; keep; {
		keep = e.exchange(w)
	}
}

// serveStream serves one request that came by HTTP/2.
func (e *endpointActor) serveStream(s *serverStream) {
	if e.exchange(&wire{conn: s}) {
		s.end()
	} else {
		s.Close()
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
