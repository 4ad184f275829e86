//go:build linux

package stage

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/test/internal/rig"
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
	due   time.Time   // the next request
	gap   float64     // mean nanoseconds between two
	free  []*client   // wait for a request to be due
	queue []time.Time // due and not sent: every connection is busy
}

// A client is one connection of an open loop.
type client struct {
	*task
	due time.Time // of the request under way; zero: none
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

// turn runs the load and measures it.
func (ld *load) turn() (r Result, err error) {
	defer func() {
		for _, t := range ld.tasks {
			ld.loop.stop(t)
		}
	}()
	if err := ld.begin(); err != nil {
		return r, err
	}
	if ld.Kind == Open {
		ld.gap = 1e9 / ld.Rate
		ld.due = time.Now().Add(ld.Warm / 2) // when all are connected
	}
	if err := ld.warmUp(); err != nil {
		return r, err
	}
	if err := ld.rest(); err != nil {
		return r, err
	}
	r.Before = ld.latency.n
	ld.latency, ld.late, ld.resumed = histogram{}, histogram{}, 0
	var before, after usage
	if before, err = ld.usage(); err != nil {
		return r, err
	}
	began := time.Now()
	ld.goOn()
	if err := ld.until(began.Add(ld.Time)); err != nil {
		return r, err
	}
	if err := ld.rest(); err != nil {
		return r, err
	}
	r.Elapsed = time.Since(began)
	if after, err = ld.usage(); err != nil {
		return r, err
	}
	ld.unanswered()
	return ld.result(r, before, after), nil
}

// begin starts the clients, few enough at a time that no listener's queue overflows.
func (ld *load) begin() error {
	f := map[string]func(*task) error{
		Closed: ld.closed,
		Fresh:  ld.fresh,
		Open:   func(t *task) error { return ld.open(&client{task: t}) },
	}[ld.Kind]
	if f == nil {
		return fmt.Errorf("no command %q", ld.Kind)
	}
	end := time.Now().Add(holdTime)
	return ld.loop.run(func(now time.Time) time.Time {
		if ld.connected >= ld.Connections || ld.errors >= errorsMax || now.After(end) {
			return now
		}
		for len(ld.tasks) < min(ld.Connections, ld.connected+openingMax) {
			ld.task(f)
		}
		return now.Add(10 * time.Millisecond) // looks again
	})
}

func (ld *load) result(r Result, before, after usage) Result {
	h := &ld.latency
	r.Requests, r.CPU, r.Own = h.n, after.proxy-before.proxy, after.own-before.own
	r.P50, r.P90, r.P99, r.P999, r.Max = h.quantile(.5), h.quantile(.9), h.quantile(.99), h.quantile(.999), h.max
	r.Late, r.Resumed, r.Errors = ld.late.quantile(.99), ld.resumed, ld.errors
	if ld.first != nil {
		r.Error = ld.first.Error()
	}
	return r
}

// warmMax bounds the time before what counts.
const warmMax = 6 * time.Second

// warmUp runs the loop for a while and up to a number of answers.
func (ld *load) warmUp() error {
	began := time.Now()
	for {
		if err := ld.until(time.Now().Add(ld.Warm)); err != nil {
			return err
		}
		if ld.latency.n >= ld.WarmAnswers || ld.errors >= errorsMax || time.Since(began) > warmMax {
			return nil
		}
	}
}

// restMax bounds the wait for the last answers.
const restMax = 15 * time.Second

// rest has the clients of a closed loop send nothing more and returns when all answers are
// there, so that what the proxy did is what was answered: with 8,000 connections, a third
// of a second's requests may be under way. An open loop goes on, whatever happens.
func (ld *load) rest() error {
	if ld.Kind == Open || ld.errors >= errorsMax {
		return nil
	}
	ld.resting = true
	end := time.Now().Add(restMax)
	err := ld.loop.run(func(now time.Time) time.Time {
		if len(ld.parked) == len(ld.tasks) || ld.errors >= errorsMax || now.After(end) {
			return now
		}
		return now.Add(2 * time.Millisecond) // looks again
	})
	if err == nil && len(ld.parked) < len(ld.tasks) && ld.errors == 0 {
		err = fmt.Errorf("%d requests without an answer after %v", len(ld.tasks)-len(ld.parked), restMax)
	}
	return err
}

// goOn ends a rest.
func (ld *load) goOn() {
	all := ld.parked
	ld.resting, ld.parked = false, nil
	for _, t := range all {
		t.next()
	}
}

// gate is where clients rest, between two requests.
func (ld *load) gate(t *task) error {
	if !ld.resting {
		return nil
	}
	ld.parked = append(ld.parked, t)
	if err := t.await(0); err != nil {
		return err
	}
	if ld.resting {
		ld.parked = slices.DeleteFunc(ld.parked, func(p *task) bool { return p == t })
		return errors.New("an idle connection was reset")
	}
	return nil
}

// until runs the loop up to an instant.
func (ld *load) until(end time.Time) error {
	return ld.loop.run(func(now time.Time) time.Time {
		if ld.errors >= errorsMax {
			return now
		}
		if ld.Kind != Open {
			return end
		}
		for !ld.due.After(now) {
			ld.send(now)
			ld.due = ld.due.Add(time.Duration(ld.chance.ExpFloat64() * ld.gap))
		}
		if ld.due.Before(end) {
			return ld.due
		}
		return end
	})
}

// usage is processor time so far.
type usage struct{ proxy, own time.Duration }

func (ld *load) usage() (u usage, err error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.own = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if ld.Process != 0 {
		u.proxy, err = rig.CPU(ld.Process)
	}
	return u, err
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

// open is a connection on which requests are sent when they are due.
func (ld *load) open(c *client) error {
	rw, _, err := ld.connect(c.task)
	if err != nil {
		return err
	}
	buf := make([]byte, headMax)
	for {
		c.due = time.Time{}
		if len(ld.queue) > 0 {
			c.due = ld.queue[0]
			ld.queue = ld.queue[1:]
		} else {
			ld.free = append(ld.free, c)
			if err := c.await(unix.EPOLLIN); err != nil {
				return err
			}
			if c.due.IsZero() {
				ld.forget(c)
				return errors.New("an idle connection was ended")
			}
		}
		if err := ld.do(rw, buf); err != nil {
			return err
		}
		ld.latency.add(time.Since(c.due))
	}
}

// send has a free connection send the request that is due now.
func (ld *load) send(now time.Time) {
	if len(ld.free) == 0 {
		ld.queue = append(ld.queue, ld.due)
		return
	}
	c := ld.free[len(ld.free)-1]
	ld.free = ld.free[:len(ld.free)-1]
	c.due = ld.due
	ld.late.add(now.Sub(ld.due))
	c.next()
}

// forget takes a connection out of those that are free.
func (ld *load) forget(c *client) {
	ld.free = slices.DeleteFunc(ld.free, func(f *client) bool { return f == c })
}

// unanswered counts requests that were due and never sent, with what they have waited so
// far: left out, they would make a proxy that stalls look quick.
func (ld *load) unanswered() {
	now := time.Now()
	for _, due := range ld.queue {
		ld.latency.add(now.Sub(due))
	}
}
