package upstream

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Probe is an active health check: one request on a connection of its own, so that it
// also shows whether the endpoint still accepts connections. It is the same for every
// protocol: a Prober opens the call.
type Probe struct {
	Port   int    // 0: the endpoint's. Endpoints at unix sockets have none
	Method string // "": the probe connects, and that is all
	Path   string // and query
	Host   string // "": the endpoint's
	Fields []message.Field
	Expect func(status int) bool
	Match  func(content []byte) bool // of the first contentMost bytes; nil: anything passes
	// GRPC: the probe asks a gRPC server by grpc.health.v1. Method is not empty then, but neither it
	// nor Path, Expect and Match are looked at.
	GRPC *GRPC
}

// A Prober makes the connections of probes to one endpoint, which its pool does not count.
type Prober interface {
	// Alone opens a call on a connection of its own, which Done closes. port is the one to
	// connect to, 0: the endpoint's. All of it is over at the given instant.
	Alone(rt engine.Runtime, port int, by time.Duration) (Call, error)
	// Connect connects, with TLS where that is spoken, and closes again; nil: something
	// listens at that port.
	Connect(rt engine.Runtime, port int, by time.Duration) error
}

// contentMost is how much of a response's content a probe reads.
const contentMost = 64 << 10

// Do probes e by way of the Prober that leads there, and returns by the given instant. nil:
// the probe passed.
func (p *Probe) Do(rt engine.Runtime, to Prober, e *endpoint.Endpoint, by time.Duration) error {
	if p.Method == "" {
		return to.Connect(rt, p.Port, by)
	}
	c, err := to.Alone(rt, p.Port, by)
	if err != nil {
		return err
	}
	defer c.Done(false)
	if p.GRPC != nil {
		return p.ask(rt, c, e, by)
	}
	c.Head(p.request(e))
	if err := c.Flush(); err != nil {
		return err
	}
	r, err := final(c, []byte(p.Method), by)
	if err != nil {
		return err
	}
	if !p.Expect(r.Status) {
		return fmt.Errorf("status %d", r.Status)
	}
	return p.match(c, by)
}

// final reads heads up to the final one, and returns that.
func final(c Receiver, method []byte, by time.Duration) (*message.Response, error) {
	var r message.Response
	for r.Status < 200 {
		r.Reset()
		if err := c.ReadHead(&r, method, by); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

// errNoMatch says that the content is not what the check wants.
var errNoMatch = errors.New("the content does not match")

// match reads the content, as far as it is looked at, and judges it.
func (p *Probe) match(c Receiver, by time.Duration) error {
	if p.Match == nil {
		return nil
	}
	content, err := beginning(c, by)
	if err != nil {
		return err
	}
	if !p.Match(content) {
		return errNoMatch
	}
	return nil
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

// beginning reads content up to contentMost and, if it is not longer, to its end.
func beginning(c Receiver, by time.Duration) (content []byte, err error) {
	for len(content) < contentMost {
		piece, err := c.Content(true, by)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		content = append(content, piece[:min(len(piece), contentMost-len(content))]...)
	}
	return content, nil
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
