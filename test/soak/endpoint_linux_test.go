package soak

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An endpoint is a server on raw sockets that does what it is ordered to, and that can
// die and come back at the same address.
type endpoint struct {
	soak    *soak
	name    string
	service string
	network string
	address string
	secure  *tls.Config // nil: plain
	h2c     bool        // it speaks HTTP/2

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	serving  sync.WaitGroup
	dead     atomic.Bool
}

func (e *endpoint) url() string {
	switch {
	case e.h2c:
		return "h2c://" + e.address
	case e.network == "unix":
		return "unix:" + e.address
	case e.secure != nil:
		return "https://" + e.address
	}
	return "http://" + e.address
}

// rise begins to listen: the first time anywhere, later where it did before.
func (e *endpoint) rise() error {
	l, err := net.Listen(e.network, e.address)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener == nil {
		e.address = l.Addr().String() // from now on
	}
	e.listener, e.conns = l, make(map[net.Conn]struct{})
	e.dead.Store(false)
	if e.h2c {
		e.serving.Go(func() { e.serveH2(l) })
		return nil
	}
	e.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !e.keep(c) {
				reset(c)
				return
			}
			e.serving.Go(func() {
				defer e.forget(c)
				e.serve(c)
			})
		}
	})
	return nil
}

func (e *endpoint) keep(c net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead.Load() {
		return false
	}
	e.conns[c] = struct{}{}
	return true
}

// enter counts a handler that die waits for; false: the endpoint is dead already.
func (e *endpoint) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead.Load() {
		return false
	}
	e.serving.Add(1)
	return true
}

func (e *endpoint) forget(c net.Conn) {
	c.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// die resets everything and waits until nothing is left.
func (e *endpoint) die() {
	e.mu.Lock()
	e.dead.Store(true)
	e.listener.Close()
	for c := range e.conns {
		reset(c)
	}
	e.mu.Unlock()
	e.serving.Wait()
}

func (e *endpoint) open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns)
}

// reset closes a connection so that the peer learns that it broke.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// A request is one as it arrived.
type request struct {
	method, target string
	fields         map[string]string
	length         int // -1: in chunks, or none
	chunked        bool
}

// errBroken: the connection ended in the middle of something.
var errBroken = errors.New("broke off")

func readRequest(in *bufio.Reader) (*request, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	q := &request{fields: make(map[string]string), length: -1}
	var ok bool
	if q.method, q.target, ok = strings.Cut(line, " "); ok {
		q.target, ok = strings.CutSuffix(q.target, " HTTP/1.1")
	}
	if !ok || strings.Contains(q.target, " ") {
		return nil, fmt.Errorf("not a request line: %.80q", line)
	}
	if err := readFields(in, q.fields); err != nil {
		return nil, err
	}
	if v, ok := q.fields["content-length"]; ok {
		if _, err := fmt.Sscanf(v, "%d", &q.length); err != nil || fmt.Sprint(q.length) != v {
			return nil, fmt.Errorf("Content-Length: %.80q", v)
		}
	}
	if v, ok := q.fields["transfer-encoding"]; ok {
		if q.chunked = true; v != "chunked" || q.length >= 0 {
			return nil, fmt.Errorf("Transfer-Encoding: %.80q with a length of %d", v, q.length)
		}
	}
	return q, nil
}

// readLine reads a line that must end in CRLF. The bytes of a line that did not come whole
// are errBroken.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBroken, err)
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\x00") {
		return "", fmt.Errorf("not a line: %.80q", line)
	}
	return line, nil
}

// readFields reads fields up to the empty line. None of ours comes twice.
func readFields(in *bufio.Reader, fields map[string]string) error {
	for {
		line, err := readLine(in)
		if err != nil || line == "" {
			return err
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(name)
		if _, twice := fields[name]; !ok || twice || name == "" || strings.ContainsAny(name, " \t") {
			return fmt.Errorf("not a field, or one that was there already: %.80q", line)
		}
		fields[name] = strings.Trim(value, " \t")
	}
}

// serve answers the requests of one connection.
func (e *endpoint) serve(raw net.Conn) {
	c := raw
	if e.secure != nil {
		s := tls.Server(raw, e.secure)
		raw.SetDeadline(time.Now().Add(patience))
		if s.Handshake() != nil {
			return
		}
		raw.SetDeadline(time.Time{})
		c = s
	}
	x := &answer{endpoint: e, raw: raw, conn: c, in: bufio.NewReaderSize(c, 16<<10)}
	for {
		if _, err := x.in.Peek(1); err != nil {
			return // between requests: it may
		}
		q, err := readRequest(x.in)
		if err != nil {
			if !errors.Is(err, errBroken) {
				e.soak.fail("%s: %v", e.name, err)
			}
			return
		}
		if !x.request(q) {
			break
		}
	}
	if c != raw {
		c.Close() // says goodbye
	}
}
