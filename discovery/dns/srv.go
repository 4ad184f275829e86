package dns

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// SRV records (RFC 2782) name hosts with ports, weights and priorities:
//
//	                        priority weight port target
//	_http._tcp.users.test.  SRV   10      3 8080 a.test.
//	                        SRV   10      1 8081 b.test.
//	                        SRV   20      0 8080 spare.test.
//
// Each address of a target is an endpoint. Only one priority is in use: the lowest number
// that has an address, here 10. The targets of the others are not even asked for.
//
// One lookup asks for the records and then for the addresses of their targets, unless these
// came with the answer. A target is resolved as any host name is, so its last addresses stay
// in use while it cannot be asked for, and a failing name server does not change the priority.

const (
	errNoRecord denial = "the name has no SRV records"
	errNoTarget denial = "none of its targets has an address"
	// errNone is what a single target of "." says (RFC 2782).
	errNone denial = "its SRV record says that the service is not available there"
)

const (
	// targetsAtOnce bounds the targets that are asked for at the same time.
	targetsAtOnce = 16
	// targetsPatience bounds the time for all of them together. A target without an answer by
	// then has failed.
	targetsPatience = 20 * time.Second
)

// A service is one SRV record.
type service struct {
	priority, weight, port uint16
	target                 string // absolute, as the record has it
}

// A target is the host of SRV records and what is known of it. One goroutine at a time may use
// it.
type target struct {
	source *Source // its known are the addresses
	addrs  []netip.Addr
	ttl    time.Duration
	err    error // why addrs is empty
}

// services looks up the SRV records once, and is for them what resolve is for addresses.
func (s *Source) services(ctx context.Context, hosts *hostsFile) (set discovery.Update, ttl time.Duration, err error) {
	conf := s.resolvConf()
	ttl, err = s.search(conf, func(name string) (time.Duration, error) {
		a := conf.ask(ctx, name, dnsmessage.TypeSRV)
		switch {
		case a.err != nil:
			return a.ttl, a.err
		case len(a.services) == 0:
			return a.ttl, errNoRecord
		}
		a.services = slices.DeleteFunc(a.services, func(r service) bool { return r.target == "." })
		if len(a.services) == 0 {
			return a.ttl, errNone
		}
		next, ttl, err := s.reachable(ctx, a, hosts)
		if err == nil {
			s.found = name
		}
		set = next
		return ttl, err
	})
	return set, ttl, err
}

// reachable is the set of the lowest priority that has an address. With errNoTarget it is empty
// and says why.
func (s *Source) reachable(ctx context.Context, a answer, hosts *hostsFile) (discovery.Update, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, targetsPatience)
	defer cancel()
	slices.SortFunc(a.services, func(x, y service) int {
		return cmp.Or(cmp.Compare(x.priority, y.priority), cmp.Compare(x.target, y.target), cmp.Compare(x.port, y.port), cmp.Compare(x.weight, y.weight))
	})
	s.forget(a.services)
	out := found{ttl: max(a.ttl, s.config.TTLMin)} // 0 would mean none
	rest := a.services
	for len(rest) > 0 && len(out.set.Endpoints) == 0 {
		n := slices.IndexFunc(rest, func(r service) bool { return r.priority != rest[0].priority })
		if n < 0 {
			n = len(rest)
		}
		s.find(ctx, rest[:n], a.extra, hosts)
		s.add(&out, rest[:n])
		rest = rest[n:]
	}
	switch {
	case len(out.set.Endpoints) > 0:
		return out.set, max(min(out.ttl, s.config.TTLMax), s.config.TTLMin), nil
	case out.failure != nil:
		return discovery.Update{}, 0, out.failure
	}
	return out.set, out.ttl, errNoTarget
}

// forget removes the targets that no record names any more.
func (s *Source) forget(records []service) {
	kept := make(map[string]*target, len(s.targets))
	for _, r := range records {
		if name := r.host(); s.targets[name] != nil {
			kept[name] = s.targets[name]
		}
	}
	s.targets = kept
}

// host is the target in the form of a Spec's Host: in lower case, without its final dot.
func (r service) host() string { return strings.ToLower(strings.TrimSuffix(r.target, ".")) }

// check reports why no endpoint can be made of a record.
func (r service) check() error {
	_, name, err := discovery.Address(r.host(), int(r.port))
	if err == nil && name != r.host() {
		err = fmt.Errorf("%q is not the name of a host", r.host())
	}
	return err
}

// find brings the targets of records up to date: from the hosts file, from what came with the
// records, or else by asking.
func (s *Source) find(ctx context.Context, records []service, extra extra, hosts *hostsFile) {
	done := make(map[string]bool, len(records))
	var ask []*target
	for _, r := range records {
		name := r.host()
		if done[name] || r.check() != nil {
			continue
		}
		done[name] = true
		t := s.targets[name]
		if t == nil {
			c := s.config
			c.SRV, c.Host = "", name+"." // a target is absolute: no search domains
			t = &target{source: New(c)}
			s.targets[name] = t
		}
		if addrs := t.source.local(hosts); addrs != nil {
			t.addrs, t.ttl, t.err = addrs, 0, nil
		} else if known := extra[name]; known != nil {
			t.addrs, t.ttl = t.source.keep(name+".", *known)
			t.err = nil
		} else if len(ask) < hostsMax {
			ask = append(ask, t)
		} else {
			t.addrs, t.ttl, t.err = nil, 0, errTooMany
		}
	}
	var asking sync.WaitGroup
	slots := make(chan struct{}, targetsAtOnce)
	for _, t := range ask {
		slots <- struct{}{}
		asking.Go(func() {
			t.ask(ctx)
			<-slots
		})
	}
	asking.Wait()
}

// ask resolves the target. One that cannot be asked for keeps its addresses. The first failure
// of several in a row stays the reason: the text of each may differ, and a set with another
// reason would be published as a new one.
func (t *target) ask(ctx context.Context) {
	addrs, ttl, err := t.source.resolve(ctx)
	switch {
	case err != nil && !denied(err):
		t.addrs, t.ttl = t.source.addrs(), partialTTL
		if t.err == nil || denied(t.err) {
			t.err = err
		}
		return
	case len(addrs) == 0:
		if err == nil { // it had addresses before
			err = errNoAddr
		}
		ttl = min(cmp.Or(ttl, againMost), againMost)
	}
	t.addrs, t.ttl, t.err = addrs, ttl, err
}

// A found is what the priorities have that were looked at so far.
type found struct {
	set     discovery.Update
	ttl     time.Duration // the shortest of all that was used
	failure error         // of the first target that is not known
}

// reject says that a record is no endpoint.
func (f *found) reject(r service, err error) {
	id := net.JoinHostPort(r.host(), strconv.Itoa(int(r.port)))
	f.set.Rejected = append(f.set.Rejected, discovery.Reject{ID: id, Reason: err.Error()})
}

// add adds the records of one priority whose targets have addresses, and rejects the others.
func (s *Source) add(out *found, records []service) {
	metadata := map[string]string{"priority": strconv.Itoa(int(records[0].priority))}
	ofZero := weightOfZero(records)
	index := make(map[string]int) // of addresses in Endpoints
	for _, r := range records {
		if err := r.check(); err != nil {
			out.reject(r, err)
			continue
		}
		t := s.targets[r.host()]
		out.ttl = shorter(out.ttl, t.ttl)
		if len(t.addrs) == 0 {
			if !denied(t.err) && out.failure == nil {
				out.failure = fmt.Errorf("its target %s: %w", r.host(), t.err)
			}
			out.reject(r, fmt.Errorf("its host name is not resolved: %w", t.err))
			continue
		}
		weight := float64(r.weight)
		if r.weight == 0 {
			weight = ofZero
		}
		weight /= float64(len(t.addrs))
		for _, addr := range t.addrs {
			address := netip.AddrPortFrom(addr, r.port).String()
			if i, ok := index[address]; ok { // two records for one address: it has both shares
				out.set.Endpoints[i].Weight += weight
				continue
			}
			index[address] = len(out.set.Endpoints)
			out.set.Endpoints = append(out.set.Endpoints, endpoint.Spec{
				ID:   endpoint.ID{Scheme: s.config.Scheme, Address: address},
				Host: r.host(), Weight: weight, Metadata: metadata,
			})
		}
	}
}

// weightOfZero is the weight of a record that says 0, among the records of one priority. The
// draw of RFC 2782 takes a random number from 0 to the sum of all weights, both included, and
// only 0 leads to a record with weight 0. So all of these together have the share of the
// weight 1. If there is no other record, each has the weight 1.
func weightOfZero(records []service) float64 {
	zeros := 0
	for _, r := range records {
		if r.weight == 0 {
			zeros++
		}
	}
	if zeros == 0 || zeros == len(records) {
		return 1
	}
	return 1 / float64(zeros)
}
