//go:build linux

package stage

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
)

// errorsMax ends a turn in which nothing works.
const errorsMax = 100

// A load is the clients of one turn.
type load struct {
	Command
	loop     *loop
	to       netip.AddrPort
	tls      *tls.Config // nil: plain
	requests [][]byte
	chance   *rand.Rand
	scratch  []byte
	tasks    []*task

	latency   histogram
	late      histogram
	resumed   int
	resting   bool    // no request is sent
	parked    []*task // wait for the end of that
	connected int     // so far, over all
	errors    int
	first     error

	// Of an open loop.
	due     time.Time // the next request
	sent    time.Time // up to which what was due was sent, or put into the queue
	gap     float64   // mean nanoseconds between two
	clients []*client
	free    []*client   // wait for a request to be due
	queue   []time.Time // due and not sent: every connection is busy
}

func newLoad(l *loop, c Command) (*load, error) {
	to, err := netip.ParseAddrPort(c.Address)
	if err != nil {
		return nil, err
	}
	ld := &load{Command: c, loop: l, to: to, chance: rand.New(rand.NewPCG(1, 2)), scratch: make([]byte, 256<<10)}
	if c.TLS {
		ld.tls = &tls.Config{
			MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13,
			CurvePreferences:   []tls.CurveID{tls.X25519},
			InsecureSkipVerify: true, // a self-signed one; its signature of the handshake is checked
			ServerName:         "bench.test",
		}
		if c.Multi {
			ld.tls.NextProtos = []string{"h2"}
		}
		if c.Resume {
			ld.tls.ClientSessionCache = &ticket{}
		}
	}
	for _, path := range c.Paths {
		ld.requests = append(ld.requests, c.request(path))
	}
	if len(ld.requests) == 0 {
		return nil, errors.New("no path to ask for")
	}
	return ld, nil
}

// request is what a browser's might look like, with its content.
func (c *Command) request(path string) []byte {
	var b strings.Builder
	method, connection := "GET", ""
	if c.Upload > 0 {
		method = "PUT"
	}
	switch {
	case c.Kind == Fresh:
		connection = "Connection: close\r\n"
	case c.Hold == HoldTalk:
		connection = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + wsKey + "\r\n"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench.test\r\n%s"+
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"+
		"Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nX-Request-Token: 0123456789abcdef\r\n", method, path, connection)
	if c.Upload > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", c.Upload)
	}
	b.WriteString("\r\n" + strings.Repeat("y", c.Upload))
	return []byte(b.String())
}

// ticket keeps the newest session ticket, and never gives it up.
type ticket struct{ state *tls.ClientSessionState }

func (t *ticket) Get(string) (*tls.ClientSessionState, bool) { return t.state, t.state != nil }
func (t *ticket) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		t.state = s
	}
}

// task runs f anew after each of its errors, up to the end of the turn.
func (ld *load) task(f func(*task) error) {
	t := ld.loop.start(func(t *task) {
		for {
			err := f(t)
			t.drop()
			if t.over || ld.errors >= errorsMax {
				return
			}
			if err != nil {
				ld.fail(err)
			}
		}
	})
	ld.tasks = append(ld.tasks, t)
}

func (ld *load) fail(err error) {
	ld.errors++
	if ld.first == nil {
		ld.first = err
	}
}

// connect dials, with the handshake of TLS.
func (ld *load) connect(t *task) (rw io.ReadWriter, resumed bool, err error) {
	if err := t.dial(ld.to); err != nil {
		return nil, false, fmt.Errorf("connecting: %w", err)
	}
	if ld.tls == nil {
		ld.connected++
		return t, false, nil
	}
	c := tls.Client(t, ld.tls)
	if err := c.Handshake(); err != nil {
		return nil, false, fmt.Errorf("handshake: %w", err)
	}
	state := c.ConnectionState()
	if name := tls.CipherSuiteName(state.CipherSuite); name != Cipher {
		return nil, false, fmt.Errorf("cipher suite %s", name)
	}
	ld.connected++
	return c, state.DidResume, nil
}

// do is one request and its answer.
func (ld *load) do(rw io.ReadWriter, buf []byte) error {
	request := ld.requests[0]
	if len(ld.requests) > 1 {
		request = ld.requests[ld.chance.IntN(len(ld.requests))]
	}
	if _, err := rw.Write(request); err != nil {
		return err
	}
	head, status, err := readAnswer(rw, buf, ld.scratch)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %q", status, head)
	}
	return err
}

func (ld *load) closed(t *task) error {
	rw, _, err := ld.connect(t)
	if err != nil {
		return err
	}
	buf := make([]byte, headMax)
	for {
		if err := ld.gate(t); err != nil {
			return err
		}
		began := time.Now()
		if err := ld.do(rw, buf); err != nil {
			return err
		}
		ld.latency.add(time.Since(began))
	}
}

// fresh is one connection. The proxy ends it, so that the client is left with no port that
// has to rest.
func (ld *load) fresh(t *task) error {
	if err := ld.gate(t); err != nil {
		return err
	}
	began := time.Now()
	rw, resumed, err := ld.connect(t)
	if err != nil {
		return err
	}
	if err := ld.do(rw, make([]byte, headMax)); err != nil {
		return err
	}
	if _, err := rw.Read(ld.scratch); err != io.EOF {
		return fmt.Errorf("the connection was to end: %v", err)
	}
	ld.latency.add(time.Since(began))
	if resumed {
		ld.resumed++
	}
	return nil
}
