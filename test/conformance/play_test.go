package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// A testCase is one thing that a proxy has to do.
type testCase struct {
	name string
	rfc  string // where it says so
	play func(p *play)

	setup setup
	// std says why a server of net/http, which reads and writes the client's side there,
	// decides otherwise: then the case has to fail on the std engine.
	std string
}

// setup is what a case wants of its proxy. The zero value is one endpoint, and ordinary
// timeouts.
type setup struct {
	two   bool // endpoints
	quick bool // clients get little time for heads and between requests
}

// A stage is a proxy with endpoints behind it.
type stage struct {
	address   string // of the proxy
	endpoints []net.Listener
	close     func()
}

// A play is one run of a case.
type play struct {
	stage
	patience time.Duration // how long is waited for what has to come

	mu     sync.Mutex
	open   []net.Conn
	seen   []*message // whole requests that serve has answered
	part   []error    // why others were not whole
	closed bool
	tasks  sync.WaitGroup
}

// failure is how a step ends a play.
type failure string

// run plays a case: "" if the proxy has done what it should, else what it did instead.
func run(c *testCase, s *stage, patience time.Duration) (verdict string) {
	p := &play{stage: *s, patience: patience}
	defer p.end()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			verdict = string(r)
		default:
			panic(r)
		}
	}()
	c.play(p)
	return ""
}

func (p *play) failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// own has c closed when the play ends.
func (p *play) own(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open = append(p.open, c); p.closed {
		c.Close()
	}
}

func (p *play) end() {
	p.mu.Lock()
	p.closed = true
	for _, c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	for _, l := range p.endpoints {
		l.Close()
	}
	p.tasks.Wait()
	p.close()
}

// dial is a new client.
func (p *play) dial() *conn {
	c, err := net.DialTimeout("tcp", p.address, p.patience)
	if err != nil {
		p.failf("no connection: %v", err)
	}
	return newConn(p, c)
}

// accept waits for a connection of the proxy to the first endpoint.
func (p *play) accept() *conn {
	l := p.endpoints[0].(*net.TCPListener)
	l.SetDeadline(time.Now().Add(p.patience))
	c, err := l.Accept()
	l.SetDeadline(time.Time{})
	if err != nil {
		p.failf("not forwarded")
	}
	return newConn(p, c)
}

// serve has all endpoints answer every whole request with what reply makes of it; nil:
// 200 and the request line. The endings fin and reset at its end do that.
func (p *play) serve(reply func(*message) string) {
	if reply == nil {
		reply = func(m *message) string { return answerTo(m) }
	}
	for _, l := range p.endpoints {
		p.tasks.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				e := newConn(p, c)
				p.tasks.Go(func() { e.serve(reply) })
			}
		})
	}
}

// serve answers request after request.
func (c *conn) serve(reply func(*message) string) {
	for {
		m, err := c.head()
		if err == nil {
			if m.has("Expect", "100-continue") && strings.HasSuffix(m.start, "/1.1") {
				c.send("HTTP/1.1 100 Continue\r\n\r\n")
			}
			err = c.finishRequest(m)
		}
		c.play.mu.Lock()
		if err == nil {
			c.play.seen = append(c.play.seen, m)
		} else if err != io.EOF {
			c.play.part = append(c.play.part, err)
		}
		c.play.mu.Unlock()
		if err != nil || !c.send(reply(m)) {
			c.Close()
			return
		}
	}
}

// requests are those that serve has answered, but for those of next.
func (p *play) requests() (out []*message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.seen {
		if m.target() != nextTarget {
			out = append(out, m)
		}
	}
	return out
}

// wholly fails if serve has received something that is no whole request.
func (p *play) wholly() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.part) > 0 {
		p.failf("the endpoint got nonsense: %v", p.part[0])
	}
}

// Endings of what an endpoint sends.
const (
	fin   = "\xff fin"
	reset = "\xff reset"
)

// send sends everything and reports whether the connection is still good. That it is not
// is no failure: what can be read tells more.
func (c *conn) send(text string) bool {
	text, ends := strings.CutSuffix(text, fin)
	text, breaks := strings.CutSuffix(text, reset)
	c.SetWriteDeadline(time.Now().Add(c.play.patience))
	_, err := io.WriteString(c.Conn, text)
	switch {
	case ends:
		c.finish()
	case breaks:
		c.abort()
	}
	return err == nil && !ends && !breaks
}

// finish sends FIN.
func (c *conn) finish() { c.Conn.(*net.TCPConn).CloseWrite() }

// abort resets the connection.
func (c *conn) abort() {
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// request reads a whole request.
func (c *conn) request() *message {
	m, err := c.tryRequest()
	if err != nil {
		c.play.failf("request: %v", explain(err))
	}
	return m
}

// answer reads a whole response.
func (c *conn) answer(method string) *message {
	m, err := c.tryAnswer(method)
	if err != nil {
		c.play.failf("response: %v", explain(err))
	}
	return m
}

// answerHead reads the head of a response only.
func (c *conn) answerHead() *message {
	m, err := c.tryHead()
	if err != nil {
		c.play.failf("response: %v", explain(err))
	}
	return m
}

func explain(err error) error {
	if err == io.EOF {
		return errors.New("the connection ended before")
	}
	return err
}

// expect reads exactly that text next.
func (c *conn) expect(text string) {
	buf := make([]byte, len(text))
	c.wait()
	n, err := io.ReadFull(c.in, buf)
	if err != nil {
		c.play.failf("%.40q instead of %.40q: %v", buf[:n], text, explain(why(err, n > 0)))
	}
	if string(buf) != text {
		c.play.failf("%.40q instead of %.40q", buf, text)
	}
}

// ended expects the end of the connection and nothing before it.
func (c *conn) ended() {
	c.wait()
	switch b, err := c.in.ReadByte(); {
	case err == nil:
		rest, _ := c.in.Peek(c.in.Buffered())
		c.play.failf("more came: %.40q", string(b)+string(rest))
	case why(err, false) == errNothing:
		c.play.failf("connection left open")
	}
}

// nextTarget is what a request asks for that shows that others have not come before it.
const nextTarget = "/next"

// next shows that the proxy works, with a request of another client.
func (p *play) next() {
	c := p.dial()
	c.send(get(nextTarget, "Connection: close"))
	if a := c.answer("GET"); a.status() != 200 {
		p.failf("the next client gets %d", a.status())
	}
}

// settled shows that a connection is over, or that the next request on it is understood.
func (c *conn) settled() {
	c.send(get(nextTarget))
	switch a, err := c.tryAnswer("GET"); {
	case err == errNothing:
		c.play.failf("the next request is not answered")
	case err == io.EOF:
	case err != nil:
		c.play.failf("after the answer: %v", err)
	case a.status() != 200 || a.content != "GET "+nextTarget:
		c.play.failf("the next request is answered %d %.30q", a.status(), a.content)
	}
}
