package dns

import (
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A name server may send the addresses of the targets of SRV records along, in the additional
// section of its answer. That saves a query for each target.

// extra are the addresses that a name server sends along with SRV records, by the name in
// lower case without its final dot, one answer for each family.
type extra map[string]*[2]answer

// additional reads them. The parser has read the answers.
func additional(p *dnsmessage.Parser) (extra, error) {
	if err := p.SkipAllAuthorities(); err != nil {
		return nil, err
	}
	out := make(extra)
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		r, known, err := body(p, h)
		if !known {
			err = p.SkipAdditional()
		}
		if err != nil {
			return nil, err
		}
		if r.addr.IsValid() {
			out.add(r)
		}
	}
}

func (e extra) add(r record) {
	name := strings.ToLower(strings.TrimSuffix(r.header.Name.String(), "."))
	if e[name] == nil {
		e[name] = new([2]answer)
	}
	one := &e[name][slices.Index(families[:], r.header.Type)]
	ttl := time.Duration(r.header.TTL) * time.Second
	if len(one.addrs) == 0 {
		one.ttl = ttl
	}
	one.addrs, one.ttl = append(one.addrs, r.addr), min(one.ttl, ttl)
}
