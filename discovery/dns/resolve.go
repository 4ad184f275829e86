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

// A denial is the answer of a name server that there is nothing. The name server has
// answered, so a denial is knowledge and no failure.
type denial string

// Error is the denial as text.
func (d denial) Error() string { return string(d) }

const (
	errNotFound denial = "no such host"
	errNoAddr   denial = "the name has no addresses"
)

// denied reports whether err is a denial.
func denied(err error) bool {
	_, ok := errors.AsType[denial](err)
	return ok
}

// families are the types of records that are asked for.
var families = [2]dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}

// partialTTL is when an answer is asked for again of which one family is missing.
const partialTTL = 5 * time.Second

// An answer is what is known of a name for one type of records. Without records and error the
// name exists and has none.
type answer struct {
	addrs    []netip.Addr
	services []service     // of SRV records
	extra    extra         // addresses that came with services
	ttl      time.Duration // of a negative answer too; there 0: it did not say
	err      error         // errNotFound, or why it is not known
}

func (a answer) failed() bool { return a.err != nil && !denied(a.err) }

// resolve asks for the name, with the search domains as resolv.conf says, and returns its
// addresses in order, and for how long they hold. With a denial, that is how long this holds,
// or 0. Once the name had addresses, a denial is no error: it has none.
func (s *Source) resolve(ctx context.Context) (addrs []netip.Addr, ttl time.Duration, err error) {
	conf := s.resolvConf()
	ttl, err = s.search(conf, func(name string) (time.Duration, error) {
		answers := conf.both(ctx, name)
		v4, v6 := &answers[0], &answers[1]
		switch {
		case len(v4.addrs)+len(v6.addrs) > 0:
			var ttl time.Duration
			addrs, ttl = s.keep(name, answers)
			return ttl, nil
		case v4.failed():
			return 0, v4.err
		case v6.failed():
			return 0, v6.err
		case v4.err != nil && v6.err != nil:
			return shorter(v4.ttl, v6.ttl), errNotFound
		}
		return shorter(v4.ttl, v6.ttl), errNoAddr
	})
	return addrs, ttl, err
}

// resolvConf is how the name servers are asked now: the file is read at every resolution.
func (s *Source) resolvConf() *resolvConf {
	conf := readResolv(s.config.Resolv)
	if s.config.Server != "" {
		conf.servers = []string{s.config.Server}
	}
	return conf
}

// search tries the names that s.name may mean, in order, until one has records. try returns
// how long its answer holds, and as an error a denial or why the answer is not known. search
// returns the same. Once a name was found, a denial by all of them is no error: s has nothing
// any more.
func (s *Source) search(conf *resolvConf, try func(name string) (time.Duration, error)) (time.Duration, error) {
	reason := error(errNotFound)
	var least time.Duration // of the denials
	for _, name := range candidates(s.name(), conf) {
		ttl, err := try(name)
		switch {
		case err == nil:
			return ttl, nil
		case !denied(err):
			reason = err
			// Another domain may have the name, but not while this one is known to: its
			// endpoints would be replaced by those of another name.
			if name == s.found {
				return 0, err
			}
		case reason == errNotFound:
			reason = err
		}
		least = shorter(least, ttl)
	}
	switch {
	case !denied(reason):
		return 0, reason
	case s.found == "":
		return least, reason
	}
	s.known, s.targets = [2][]netip.Addr{}, nil
	return min(max(least, s.config.TTLMin), againMost), nil
}

// shorter is the shorter of two times to live, of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
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
	return s.addrs(), max(ttl, s.config.TTLMin)
}

// addrs are the last known addresses of both families, in order.
func (s *Source) addrs() []netip.Addr {
	addrs := slices.Concat(s.known[0], s.known[1])
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
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
func (c *resolvConf) ask(ctx context.Context, name string, kind dnsmessage.Type) answer {
	var last answer
	for range c.attempts {
		for _, server := range c.servers {
			if ctx.Err() != nil {
				return answer{err: ctx.Err()}
			}
			q := query{server: server, timeout: c.timeout}
			last = q.ask(ctx, name, kind)
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
