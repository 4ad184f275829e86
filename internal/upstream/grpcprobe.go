package upstream

// A probe of a gRPC server: Check of grpc.health.v1, which servers of every language have ready
// made. Its two messages have one field each, so they are written and read here by hand
// (https://github.com/grpc/grpc-proto, grpc/health/v1/health.proto):
//
//	00 00000000                        the server as a whole: no field
//	00 0000000b 0a 09 "shop.Cart"      a service: field 1, a string
//	00 00000002 08 01                  the answer: field 1, a number, SERVING
//
//	what comes                     verdict
//	status 0, SERVING              passes
//	status 0, NOT_SERVING          fails: the server says that it does not serve
//	status 5, NOT_FOUND            fails: the server does not know the service
//	status 12, UNIMPLEMENTED       fails: the server has no grpc.health.v1
//	anything else                  fails, with what it was

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/message"
)

// A GRPC is what a Probe asks a gRPC server: whether it serves Service; "": whether it serves at
// all.
type GRPC struct{ Service string }

const (
	healthPath = "/grpc.health.v1.Health/Check"
	frameLen   = 5 // a flag and the length, before each message
)

// The statuses of grpc.health.v1.
const (
	serving    = 1
	notServing = 2
)

var (
	errNotHTTP2     = errors.New("a check of gRPC needs HTTP/2, and the endpoint is spoken to with HTTP/1.1: see protocol of the service")
	errNotMessage   = errors.New("the answer to grpc.health.v1 cannot be read")
	errCompressed   = errors.New("the answer to grpc.health.v1 is compressed, which was not asked for")
	errNoGRPCStatus = errors.New("the answer to grpc.health.v1 has no grpc-status")
)

// ask sends the question by c and judges the answer; fields are those of the operator.
func (p *Probe) ask(rt engine.Runtime, c Call, e *endpoint.Endpoint, by time.Duration) error {
	if !c.Refusable() { // HTTP/2 alone can refuse
		return errNotHTTP2
	}
	q := p.request(e)
	q.Method, q.Path = []byte("POST"), []byte(healthPath)
	q.Body, q.TrailersOK = message.Chunked, true // no length in advance, as gRPC has it
	q.Fields = append(q.Fields, message.NewField("Content-Type", grpc.ContentType),
		message.NewField(grpc.Timeout, string(grpc.AppendTimeout(nil, by-rt.Now()))))
	c.Head(q)
	if err := c.Write(p.GRPC.question()); err != nil {
		return err
	}
	if err := c.End(nil); err != nil {
		return err
	}
	r, err := final(c, q.Method, by)
	if err != nil {
		return err
	}
	if kind, _ := message.GetKind(r.Fields, message.ContentType); r.Status != 200 || !grpc.Is(kind) {
		return fmt.Errorf("the answer is none of gRPC: status %d, content type %q", r.Status, kind)
	}
	code, known := grpc.StatusOf(r.Fields) // of a response that has only a head
	text := textOf(r.Fields)               // which is not valid any more behind Content
	content, err := beginning(c, by)
	if err != nil {
		return err
	}
	if !known {
		code, known = grpc.StatusOf(c.Trailers())
		text = textOf(c.Trailers())
	}
	if !known {
		return errNoGRPCStatus
	}
	if code != grpc.OK {
		return p.GRPC.declined(code, text)
	}
	return p.GRPC.judge(content)
}

// question is the message of the request, framed.
func (g *GRPC) question() []byte {
	var m []byte
	if n := len(g.Service); n > 0 {
		m = append(m, 1<<3|2) // field 1, with a length
		m = binary.AppendUvarint(m, uint64(n))
		m = append(m, g.Service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// judge reads the message of an answer with status 0.
func (g *GRPC) judge(content []byte) error {
	switch {
	case len(content) < frameLen || int(binary.BigEndian.Uint32(content[1:])) != len(content)-frameLen:
		return errNotMessage
	case content[0] != 0:
		return errCompressed
	}
	switch status, ok := healthStatus(content[frameLen:]); {
	case !ok:
		return errNotMessage
	case status == serving:
		return nil
	case status == notServing:
		return fmt.Errorf("%s is NOT_SERVING", g.name())
	default: // UNKNOWN, which is no answer, and SERVICE_UNKNOWN, which only Watch gives
		return fmt.Errorf("%s has the status %d of grpc.health.v1, which is not SERVING", g.name(), status)
	}
}

// declined is the error of an answer with another status than 0.
func (g *GRPC) declined(code grpc.Code, text string) error {
	switch code {
	case grpc.NotFound:
		return fmt.Errorf("the server does not know %s (grpc.health.v1: NOT_FOUND)", g.name())
	case grpc.Unimplemented:
		return errors.New("the server has no grpc.health.v1 (UNIMPLEMENTED): have it register the service, or check by tcp")
	}
	if text != "" {
		text = ": " + text
	}
	return fmt.Errorf("grpc.health.v1 ended with %s%s", code, text)
}

func (g *GRPC) name() string {
	if g.Service == "" {
		return "the server"
	}
	return "the service " + g.Service
}

// healthStatus reads a HealthCheckResponse: the number in field 1, 0 without it. Other fields are
// passed over; those of a later version may be there.
func healthStatus(m []byte) (status uint64, ok bool) {
	for len(m) > 0 {
		tag, n := binary.Uvarint(m)
		if n <= 0 {
			return 0, false
		}
		m = m[n:]
		var v uint64
		switch tag & 7 {
		case 0:
			v, n = binary.Uvarint(m)
		case 1:
			n = 8
		case 2:
			v, n = binary.Uvarint(m)
			if n <= 0 || v > uint64(len(m)-n) {
				return 0, false
			}
			n += int(v)
		case 5:
			n = 4
		default:
			return 0, false
		}
		if n <= 0 || n > len(m) {
			return 0, false
		}
		m = m[n:]
		if tag == 1<<3 {
			status = v
		}
	}
	return status, true
}

// textMost bounds what is kept of the text that a server gives with a status.
const textMost = 200

// textOf is the text of a status, for people.
func textOf(fields []message.Field) string {
	v, _ := message.Get(fields, grpc.Text)
	text := grpc.Message(v)
	return text[:min(len(text), textMost)]
}
