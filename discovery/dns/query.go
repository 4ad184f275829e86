package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	udpBytes  = 1232 // an answer that passes everywhere in one datagram
	cnamesMax = 16   // links of a chain of names
)

var errTruncated = errors.New("truncated")

// A query is one question to one name server.
type query struct {
	server  string // address:port
	timeout time.Duration
}

// ask sends the question over UDP, and over TCP if the answer did not fit.
func (q *query) ask(ctx context.Context, name string, kind dnsmessage.Type) answer {
	a, err := q.over(ctx, "udp", name, kind, true)
	if errors.Is(err, errFormat) { // a server from before RFC 6891
		a, err = q.over(ctx, "udp", name, kind, false)
	}
	if errors.Is(err, errTruncated) {
		a, err = q.over(ctx, "tcp", name, kind, true)
	}
	if err != nil && !denied(err) {
		err = fmt.Errorf("name server %s: %w", q.server, err)
	}
	a.err = err
	return a
}

var errFormat = errors.New("the server did not understand the question")

func (q *query) over(ctx context.Context, network, name string, kind dnsmessage.Type, edns bool) (answer, error) {
	id := uint16(rand.Uint32())
	message, question, err := build(id, name, kind, edns)
	if err != nil {
		return answer{}, err
	}
	d := net.Dialer{Timeout: q.timeout}
	conn, err := d.DialContext(ctx, network, q.server)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(q.timeout))
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		return askStream(conn, message, id, question)
	}
	if _, err := conn.Write(message); err != nil {
		return answer{}, err
	}
	buf := make([]byte, 64<<10)
	for { // strangers' datagrams are skipped until the deadline
		n, err := conn.Read(buf)
		if err != nil {
			return answer{}, err
		}
		if a, ours, err := read(buf[:n], id, question); ours {
			return a, err
		}
	}
}

// askStream puts the length in front of messages (RFC 1035 §4.2.2).
func askStream(conn net.Conn, message []byte, id uint16, question dnsmessage.Question) (answer, error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
	if _, err := conn.Write(framed); err != nil {
		return answer{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return answer{}, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return answer{}, err
	}
	a, ours, err := read(reply, id, question)
	if !ours {
		return answer{}, errors.New("an answer to something else")
	}
	return a, err
}

func build(id uint16, name string, kind dnsmessage.Type, edns bool) ([]byte, dnsmessage.Question, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, dnsmessage.Question{}, err
	}
	q := dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	errs := []error{b.StartQuestions(), b.Question(q), b.StartAdditionals()}
	if edns {
		var h dnsmessage.ResourceHeader
		errs = append(errs, h.SetEDNS0(udpBytes, dnsmessage.RCodeSuccess, false), b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	packed, err := b.Finish()
	return packed, q, errors.Join(append(errs, err)...)
}

// read reads a reply. ours is false if it is not the answer to the question.
func read(reply []byte, id uint16, question dnsmessage.Question) (a answer, ours bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(reply)
	if err != nil || h.ID != id || !h.Response {
		return answer{}, false, err
	}
	if h.RCode == dnsmessage.RCodeFormatError { // may come without the question
		return answer{}, true, errFormat
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 || questions[0].Type != question.Type ||
		questions[0].Class != question.Class || !sameName(questions[0].Name, question.Name) {
		return answer{}, false, err
	}
	switch {
	case h.RCode == dnsmessage.RCodeNameError:
		return answer{ttl: negative(&p)}, true, errNotFound
	case h.RCode != dnsmessage.RCodeSuccess:
		return answer{}, true, fmt.Errorf("it answered %s", strings.TrimPrefix(h.RCode.String(), "RCode"))
	case h.Truncated:
		return answer{}, true, errTruncated
	}
	a, err = collect(&p, question)
	switch {
	case err != nil:
		return answer{}, true, err
	case len(a.services) > 0:
		if a.extra, err = additional(&p); err != nil {
			return answer{}, true, err
		}
	case len(a.addrs) == 0:
		a.ttl = negative(&p)
	}
	return a, true, nil
}

// negative is how long an answer without addresses holds, by the zone's SOA in it (RFC 2308
// §5), at least a second; 0: it does not say.
func negative(p *dnsmessage.Parser) time.Duration {
	if p.SkipAllAnswers() != nil {
		return 0
	}
	for {
		h, err := p.AuthorityHeader()
		if err != nil {
			return 0 // none is left, or the message is broken
		}
		if h.Type != dnsmessage.TypeSOA {
			if p.SkipAuthority() != nil {
				return 0
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return 0
		}
		return time.Duration(max(1, min(h.TTL, soa.MinTTL))) * time.Second
	}
}

func sameName(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }

// A record is one of a message, of the types that are looked at.
type record struct {
	header  dnsmessage.ResourceHeader // of other types and classes: Type is 0
	alias   dnsmessage.Name           // of a CNAME
	service service                   // of an SRV
	addr    netip.Addr                // of an A or AAAA
}

// records reads the answers one by one: a parser of every type there is would be as large
// as the rest of this package.
func records(p *dnsmessage.Parser) (all []record, err error) {
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		r, known, err := body(p, h)
		if !known {
			err = p.SkipAnswer()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
}

// body reads the record behind a header, in whatever section the parser is. Known is false
// if it is of no type that is looked at; the caller must skip it.
func body(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) (r record, known bool, err error) {
	r.header = h
	kind := h.Type
	if h.Class != dnsmessage.ClassINET {
		kind = 0
	}
	switch kind {
	case dnsmessage.TypeCNAME:
		var body dnsmessage.CNAMEResource
		body, err = p.CNAMEResource()
		r.alias = body.CNAME
	case dnsmessage.TypeA:
		var body dnsmessage.AResource
		body, err = p.AResource()
		r.addr = netip.AddrFrom4(body.A)
	case dnsmessage.TypeAAAA:
		var body dnsmessage.AAAAResource
		body, err = p.AAAAResource()
		r.addr = netip.AddrFrom16(body.AAAA).Unmap()
	case dnsmessage.TypeSRV:
		var body dnsmessage.SRVResource
		body, err = p.SRVResource()
		r.service = service{body.Priority, body.Weight, body.Port, body.Target.String()}
	default:
		r.header.Type = 0
		return r, false, nil
	}
	return r, true, err
}

// collect follows the chain of names from the question to its records. The answer holds as
// long as the shortest time to live of all that was used.
func collect(p *dnsmessage.Parser, question dnsmessage.Question) (answer, error) {
	all, err := records(p)
	if err != nil {
		return answer{}, err
	}
	const never = 1 << 31
	a, name, ttl := answer{}, question.Name, uint32(never)
	for range cnamesMax {
		var alias *record
		for i, r := range all {
			if !sameName(r.header.Name, name) {
				continue
			}
			switch {
			case r.header.Type == question.Type:
				a.add(r)
				ttl = min(ttl, r.header.TTL)
			case r.header.Type == dnsmessage.TypeCNAME && alias == nil:
				alias = &all[i]
				ttl = min(ttl, r.header.TTL)
			}
		}
		if alias == nil {
			a.ttl = time.Duration(ttl) * time.Second
			return a, nil
		}
		name = alias.alias
	}
	return answer{}, fmt.Errorf("more than %d names lead to it", cnamesMax)
}

// add adds a record of the type that was asked for.
func (a *answer) add(r record) {
	if r.addr.IsValid() {
		a.addrs = append(a.addrs, r.addr)
	} else {
		a.services = append(a.services, r.service)
	}
}
