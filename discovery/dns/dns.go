// Package dns is the source that makes every address of a host name an endpoint, or every
// target of an SRV record. It asks again as the answer's time to live says, and keeps the
// last set when it cannot.
package dns

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// Config says what to resolve and how. Either Host and Port are needed or SRV, the rest has
// defaults.
type Config struct {
	// SRV is the name of an SRV record, as in _http._tcp.users.example. Its targets are the
	// endpoints, with the ports and weights of the record; Host, Port and Weight are ignored.
	// The Host of an endpoint is its target. A final dot keeps the search domains out.
	SRV string

	// Host is the name. A final dot keeps the search domains out. It becomes the Host of
	// every endpoint, without that dot, so that TLS asks for it and verifies it.
	Host   string
	Port   uint16
	Scheme string  // "http" or "https"; empty: "http"
	Weight float64 // of every endpoint; 0 means 1

	// Server is the name server to ask, address:port. Empty: those of /etc/resolv.conf, or
	// without any the one on this machine, after /etc/hosts has been looked at.
	Server string

	// TTLMin and TTLMax bound the time between two resolutions; 0 means 1 s and 60 s.
	TTLMin, TTLMax time.Duration

	// Hosts and Resolv are the files to read; empty: /etc/hosts and /etc/resolv.conf.
	Hosts, Resolv string
}

const (
	// hostsEvery is how often the hosts file is looked at.
	hostsEvery = 5 * time.Second
	// againMost bounds the time until a name is asked for again that was not found, or could
	// not be asked for: one that appears is in use soon after.
	againMost = 10 * time.Second
)

// A Source resolves one name. Make it with New. Its Run may be called again, but not
// concurrently.
type Source struct {
	config Config

	// known are the last addresses of each family. They are kept apart, because one family
	// may fail without the other, and its endpoints must not go for that.
	known [2][]netip.Addr
	found string // the absolute name that had them, or the SRV record

	// targets are those of the SRV record, by name. Only SRV has them.
	targets map[string]*target
}

// New returns a source for c.Host or c.SRV.
func New(c Config) *Source {
	c.Scheme = cmp.Or(c.Scheme, "http")
	c.Hosts = cmp.Or(c.Hosts, "/etc/hosts")
	c.Resolv = cmp.Or(c.Resolv, "/etc/resolv.conf")
	c.TTLMin = cmp.Or(c.TTLMin, time.Second)
	c.TTLMax = max(c.TTLMin, cmp.Or(c.TTLMax, time.Minute))
	return &Source{config: c}
}

// Run publishes the set when it is first known and whenever it has changed, and once
// per outage that it may be stale. It returns an error only if the name can never be asked for.
//
// That a name has no addresses, or does not exist, is an answer and no failure: the set is
// empty. But until the name had an address once, which it may do any time, it is published
// as an error, because it is likelier to be misspelt than to be meant. In either case the
// name is asked for again when the answer has expired (RFC 2308 §5), and after ten seconds
// at most.
//
// The name localhost is never asked for, and any name that the hosts file has is answered
// from it, unless a name server was configured. localhost is one host and not a set:
// where it has an IPv4 address, that is its only one.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if err := checkHost(s.name()); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	out := client.Reporter{Publish: publish}
	hosts := hostsFile{path: s.config.Hosts}
	backoff := discovery.Backoff{Most: againMost}
	var due time.Time // when the name servers may be asked again
	for {
		if local := s.local(&hosts); local != nil {
			due = time.Time{}
			out.Set(discovery.Update{Endpoints: s.specs(local)})
		} else if !time.Now().Before(due) {
			set, ttl, err := s.lookup(ctx, &hosts)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				backoff.Reset()
				out.Set(set)
			} else {
				out.Fail(fmt.Errorf("dns: %s: %w", s.name(), err))
				if ttl <= 0 {
					ttl = backoff.Next()
				}
				ttl = min(ttl, againMost)
			}
			due = time.Now().Add(ttl)
		}
		wait := hostsEvery
		if !due.IsZero() {
			wait = min(wait, time.Until(due))
		}
		if !client.Sleep(ctx, wait) {
			return nil
		}
	}
}

// name is what is asked for.
func (s *Source) name() string { return cmp.Or(s.config.SRV, s.config.Host) }

// lookup asks the name servers once. It returns the set and how long it holds; with an error,
// how long that holds, or 0.
func (s *Source) lookup(ctx context.Context, hosts *hostsFile) (discovery.Update, time.Duration, error) {
	if s.config.SRV != "" {
		return s.services(ctx, hosts)
	}
	addrs, ttl, err := s.resolve(ctx)
	return discovery.Update{Endpoints: s.specs(addrs)}, ttl, err
}

// local returns the addresses that the hosts file has for the name, or nil. A hosts file has
// no SRV records.
func (s *Source) local(hosts *hostsFile) []netip.Addr {
	if s.config.SRV != "" {
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(s.config.Host, "."))
	loopback := name == "localhost" || strings.HasSuffix(name, ".localhost") // RFC 6761 §6.3
	if s.config.Server != "" && !loopback {
		return nil
	}
	addrs := hosts.lookup(name)
	if !loopback {
		return addrs
	}
	for _, a := range addrs { // sorted: IPv4 first
		return []netip.Addr{a}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
}

// specs are the addresses as endpoints.
func (s *Source) specs(addrs []netip.Addr) []endpoint.Spec {
	specs := make([]endpoint.Spec, len(addrs))
	for i, a := range addrs {
		specs[i] = endpoint.Spec{
			ID: endpoint.ID{
				Scheme:  s.config.Scheme,
				Address: netip.AddrPortFrom(a, s.config.Port).String(),
			},
			Host:   strings.TrimSuffix(s.config.Host, "."),
			Weight: s.config.Weight,
		}
	}
	return specs
}
