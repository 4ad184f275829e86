package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	errNotFound = errors.New("no such host")
	errNoAddr   = errors.New("the name has no addresses")
)

// families are the types of records that are asked for.
var families = [2]dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}

// partialTTL is when an answer is asked for again of which one family is missing.
const partialTTL = 5 * time.Second

// An answer is what is known of a name for one family. Without addresses and error the
// name exists and has none.
type answer struct {
	addrs []netip.Addr
	ttl   time.Duration // of a negative answer too; there 0: it did not say
	err   error         // errNotFound, or why it is not known
}

func (a answer) failed() bool { return a.err != nil && !errors.Is(a.err, errNotFound) }

// resolve asks for the name, with the search domains as resolv.conf says, and returns its
// addresses in order, and for how long they hold. With errNotFound or errNoAddr, that is how
// long this holds, or 0. Once the name had addresses, these two are no errors: it has none.
func (s *Source) resolve(ctx context.Context) ([]netip.Addr, time.Duration, error) {
	conf := readResolv(s.config.Resolv)
	if s.config.Server != "" {
		conf.servers = []string{s.config.Server}
	}
	reason := errNotFound
	var ttl time.Duration // the shortest of the negative answers
	for _, name := range candidates(s.config.Host, conf) {
		answers := conf.both(ctx, name)
		v4, v6 := &answers[0], &answers[1]
		switch {
		case len(v4.addrs)+len(v6.addrs) > 0:
			addrs, ttl := s.keep(name, answers)
			return addrs, ttl, nil
		case v4.failed() || v6.failed():
			reason = v4.err
			if !v4.failed() {
				reason = v6.err
			}
			// Another domain may have the name, but not while this one is known to: its
			// endpoints would be replaced by strangers.
			if name == s.found {
				return nil, 0, reason
			}
		case !errors.Is(v4.err, errNotFound) || !errors.Is(v6.err, errNotFound):
			if reason == errNotFound {
				reason = errNoAddr
			}
		}
		for _, a := range answers {
			if a.ttl > 0 && (ttl == 0 || a.ttl < ttl) {
				ttl = a.ttl
			}
		}
	}
	switch {
	case reason != errNotFound && reason != errNoAddr:
		return nil, 0, reason
	case s.found == "":
		return nil, ttl, reason
	}
	s.known = [2][]netip.Addr{}
	return nil, min(max(ttl, s.config.TTLMin), againMost), nil
}

// keep notes the answers and returns all addresses that are valid now.
func (s *Source) keep(name string, answers [2]answer) ([]netip.Addr, time.Duration) {
	if name != s.found {
		s.found, s.known = name, [2][]netip.Addr{}
	}
	ttl := s.config.TTLMax
	for i, a := range answers {
		switch {
		case a.failed(): // keep what was known
			ttl = min(ttl, partialTTL)
		case len(a.addrs) == 0:
			s.known[i] = nil
		default:
			s.known[i], ttl = a.addrs, min(ttl, a.ttl)
		}
	}
	addrs := slices.Concat(s.known[0], s.known[1])
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), max(ttl, s.config.TTLMin)
}

// both asks for both families at the same time.
func (c *resolvConf) both(ctx context.Context, name string) (answers [2]answer) {
	var asking sync.WaitGroup
	for i, family := range families {
		asking.Go(func() { answers[i] = c.ask(ctx, name, family) })
	}
	asking.Wait()
	return answers
}

// ask goes through the name servers until one knows.
func (c *resolvConf) ask(ctx context.Context, name string, family dnsmessage.Type) answer {
	var last answer
	for range c.attempts {
		for _, server := range c.servers {
			if ctx.Err() != nil {
				return answer{err: ctx.Err()}
			}
			q := query{server: server, timeout: c.timeout}
			last = q.ask(ctx, name, family)
			if !last.failed() {
				return last
			}
		}
	}
	return last
}

// candidates returns the absolute names to try for host, in order (resolv.conf(5)).
func candidates(host string, conf *resolvConf) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	absolute := host + "."
	var out []string
	if strings.Count(host, ".") >= conf.ndots {
		out = append(out, absolute)
	}
	for _, domain := range conf.search {
		if name := absolute + domain; checkHost(name) == nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if !slices.Contains(out, absolute) {
		out = append(out, absolute)
	}
	return out
}

// checkHost refuses what no name server can be asked.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return fmt.Errorf("%q is an address, not a name", host)
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(host) > 253 {
		return fmt.Errorf("%q is too long for a name", host)
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q is not a name", host)
		}
	}
	return nil
}
