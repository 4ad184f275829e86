package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Probe is an active health check: one request on a connection of its own, so that it
// also tells whether the endpoint still accepts connections.
type Probe struct {
	Port   int    // 0: the endpoint's. Endpoints at unix sockets have none
	Method string // "": the probe connects, and that is all
	Path   string // and query
	Host   string // "": the endpoint's
	Fields []message.Field
	Expect func(status int) bool
	Match  func(content []byte) bool // of the first contentMost bytes; nil: anything passes
}

// contentMost is how much of a response's content a probe reads.
const contentMost = 64 << 10

// Do probes e, whose connections are pool's, and returns by the given instant. nil: it
// passed.
func (p *Probe) Do(rt engine.Runtime, pool *Pool, e *endpoint.Endpoint, by time.Duration) error {
	t := pool.current.Load()
	s, err := p.dial(rt, t, by)
	if err != nil {
		return err
	}
	if p.Method == "" {
		return s.Close()
	}
	c := newConn(rt, pool, s, t)
	defer c.release()
	defer s.Close()
	c.Head(p.request(e))
	s.SetWriteDeadline(by)
	if err := c.out.Flush(); err != nil {
		return err
	}
	var r message.Response
	for r.Status < 200 {
		r.Reset()
		if err := c.ReadHead(&r, []byte(p.Method), by); err != nil {
			return err
		}
	}
	if !p.Expect(r.Status) {
		return fmt.Errorf("status %d", r.Status)
	}
	return p.match(c, by)
}

// dial connects to the port to be probed. That nothing listens there says nothing about the
// endpoint's own port, if it is another one.
func (p *Probe) dial(rt engine.Runtime, t *target, by time.Duration) (engine.Stream, error) {
	address, elsewhere := t.address, false
	if host, port, err := net.SplitHostPort(address); err == nil && t.network == "tcp" && p.Port != 0 {
		address = net.JoinHostPort(host, strconv.Itoa(p.Port))
		elsewhere = port != strconv.Itoa(p.Port)
	}
	s, err := rt.Dial(&engine.Dial{Network: t.network, Address: address, TLS: t.tls, By: by})
	if elsewhere && errors.Is(err, engine.ErrRefused) {
		return nil, fmt.Errorf("port %d: %s", p.Port, err.Error())
	}
	return s, err
}

// errNoMatch says that the content is not what the check wants.
var errNoMatch = errors.New("the content does not match")

// match reads the content, as far as it is looked at, and judges it.
func (p *Probe) match(c *Conn, by time.Duration) error {
	if p.Match == nil {
		return nil
	}
	var content []byte
	for len(content) < contentMost {
		piece, err := c.Content(true, by)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		content = append(content, piece[:min(len(piece), contentMost-len(content))]...)
	}
	if !p.Match(content) {
		return errNoMatch
	}
	return nil
}

// Connect tells whether anything listens at the endpoint: it connects, with TLS where that
// is spoken, and closes again. It returns by the given instant; nil: something does.
func (p *Pool) Connect(rt engine.Runtime, by time.Duration) error {
	t := p.current.Load()
	s, err := rt.Dial(&engine.Dial{Network: t.network, Address: t.address, TLS: t.tls, By: by})
	if err != nil {
		return err
	}
	return s.Close()
}

func (p *Probe) request(e *endpoint.Endpoint) *message.Request {
	host := p.Host
	if host == "" {
		host = e.Spec().Authority()
	}
	return &message.Request{
		Method: []byte(p.Method),
		Path:   []byte(p.Path),
		Host:   []byte(host),
		Fields: p.fields(),
		Minor:  1,
	}
}

// fields are those of the request. A copy is made for each, since fields may be changed.
func (p *Probe) fields() []message.Field {
	fields := make([]message.Field, 0, len(p.Fields)+1)
	named := false
	for _, f := range p.Fields {
		named = named || message.EqualFold(f.Name, "user-agent")
		fields = append(fields, f)
	}
	if !named {
		fields = append(fields, message.NewField("User-Agent", "poise-probe"))
	}
	return fields
}
