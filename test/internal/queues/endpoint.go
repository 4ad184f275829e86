package queues

import (
	"bytes"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// An endpoint is one server: what has arrived waits for one of its workers.
type endpoint struct {
	row   *Row
	odd   bool
	index int
	began time.Time
	jobs  chan chan<- struct{}
	taken atomic.Int64 // requests that have arrived

	mu       sync.Mutex
	address  string
	listener net.Listener // nil: it is down
	conns    map[net.Conn]*state
}

// state is what a connection is doing.
type state struct {
	busy   bool // a request is under way
	ending bool // the response under way is the last one
}

var (
	answerOK   = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")
	answerLast = []byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n")
	answerFail = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
)

// start listens, and starts the workers.
func (e *endpoint) start() error {
	e.jobs = make(chan chan<- struct{}, 1<<16)
	for range Workers {
		go e.work() // ends with the process
	}
	if err := e.rise(); err != nil {
		return err
	}
	switch {
	case e.odd && e.row.Down.Every > 0:
		go e.cycle(e.row.Down, e.reset)
	case e.row.Restart.Every > 0:
		// Each has its turn: the cycle is as long as that of all, and begins later for the next.
		turn := e.row.Restart
		time.AfterFunc(time.Duration(e.index)*turn.Every, func() {
			e.cycle(Cycle{Endpoints * turn.Every, turn.For}, e.end)
		})
	}
	return nil
}

// cycle has the endpoint leave and come back, for good.
func (e *endpoint) cycle(c Cycle, leave func()) {
	for {
		time.Sleep(c.Every - c.For)
		leave()
		time.Sleep(c.For)
		for e.rise() != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// rise listens at the address that the endpoint had before, if it had one.
func (e *endpoint) rise() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.address == "" {
		e.address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		return err
	}
	e.address, e.listener, e.conns = l.Addr().String(), l, make(map[net.Conn]*state)
	go e.accept(l, e.conns)
	return nil
}

// reset ends the endpoint as a crash does.
func (e *endpoint) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listener.Close()
	for c := range e.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// end ends the endpoint in good order: idle connections are closed, others behind their response.
func (e *endpoint) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listener.Close()
	for c, s := range e.conns {
		if s.ending = true; !s.busy {
			c.Close()
		}
	}
}

func (e *endpoint) accept(l net.Listener, conns map[net.Conn]*state) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s := &state{}
		e.mu.Lock()
		conns[c] = s
		e.mu.Unlock()
		go func() {
			e.serve(c, s)
			c.Close()
			e.mu.Lock()
			delete(conns, c)
			e.mu.Unlock()
		}()
	}
}

// serve answers one request after the other: GET without content is all it will see.
func (e *endpoint) serve(c net.Conn, s *state) {
	done := make(chan struct{}, 1)
	buf := make([]byte, 4<<10)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		n = 0
		e.set(s, true)
		e.taken.Add(1)
		answer := answerFail
		if !e.odd || !e.row.Fails {
			e.jobs <- done
			<-done
			answer = answerOK
		}
		last := e.set(s, false)
		if last {
			answer = answerLast
		}
		if _, err := c.Write(answer); err != nil || last {
			return
		}
	}
}

// set notes whether a request is under way, and reports whether the connection is to end.
func (e *endpoint) set(s *state, busy bool) (last bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.busy = busy
	return s.ending
}

// work takes one job after the other.
func (e *endpoint) work() {
	for done := range e.jobs {
		time.Sleep(e.time())
		if at := time.Since(e.began); e.odd && e.row.Stall.on(at) {
			time.Sleep(e.row.Stall.left(at))
		}
		done <- struct{}{}
	}
}

// time draws how long a request takes.
func (e *endpoint) time() time.Duration {
	r := e.row
	if r.Long > 0 && rand.Float64() < r.Long {
		return LongTime
	}
	t := rand.ExpFloat64() * float64(r.mean())
	switch {
	case e.odd && r.Slow > 0:
		t *= r.Slow
	case e.odd && e.taken.Load() <= int64(r.Cold):
		t *= ColdTimes
	}
	return time.Duration(t)
}
