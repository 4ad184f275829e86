package dns

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serversMax is how many name servers of resolv.conf are used (MAXNS of resolv.conf(5)).
const serversMax = 3

// resolvConf is what resolv.conf(5) says and is used here.
type resolvConf struct {
	servers  []string // address:port
	search   []string // absolute: with a final dot
	ndots    int
	timeout  time.Duration
	attempts int
}

// readResolv reads the file; without one, the name server is on this machine.
func readResolv(path string) *resolvConf {
	data, _ := os.ReadFile(path) // missing: the defaults
	return parseResolv(string(data))
}

func parseResolv(text string) *resolvConf {
	c := &resolvConf{ndots: 1, timeout: 5 * time.Second, attempts: 2}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.ContainsAny(words[0][:1], "#;") {
			continue
		}
		switch words[0] {
		case "nameserver":
			if _, err := netip.ParseAddr(words[1]); err == nil && len(c.servers) < serversMax {
				c.servers = append(c.servers, net.JoinHostPort(words[1], "53"))
			}
		case "domain", "search": // the last of both counts
			c.search = nil
			for _, domain := range words[1:] {
				if domain = strings.TrimSuffix(domain, "."); domain != "" {
					c.search = append(c.search, domain+".")
				}
			}
		case "options":
			c.options(words[1:])
		}
	}
	if len(c.servers) == 0 {
		c.servers = []string{"127.0.0.1:53"}
	}
	return c
}

func (c *resolvConf) options(words []string) {
	for _, word := range words {
		name, text, _ := strings.Cut(word, ":")
		n, err := strconv.Atoi(text)
		if err != nil {
			continue
		}
		switch name {
		case "ndots":
			c.ndots = min(max(n, 0), 15)
		case "timeout":
			c.timeout = time.Duration(min(max(n, 1), 30)) * time.Second
		case "attempts":
			c.attempts = min(max(n, 1), 5)
		}
	}
}

// A hostsFile answers names from a hosts(5) file. It belongs to one goroutine.
type hostsFile struct {
	path  string
	read  time.Time
	names map[string][]netip.Addr
}

// lookup returns the addresses of a name in lower case without a final dot, sorted, or
// nil. The file is read again when the last reading is hostsEvery old.
func (h *hostsFile) lookup(name string) []netip.Addr {
	if now := time.Now(); h.read.IsZero() || now.Sub(h.read) >= hostsEvery {
		h.read = now
		if data, err := os.ReadFile(h.path); err == nil || os.IsNotExist(err) {
			h.names = parseHosts(string(data)) // other errors: what was known
		}
	}
	return h.names[name]
}

func parseHosts(text string) map[string][]netip.Addr {
	names := make(map[string][]netip.Addr)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			names[name] = append(names[name], addr.Unmap())
		}
	}
	for name, addrs := range names {
		slices.SortFunc(addrs, netip.Addr.Compare)
		names[name] = slices.Compact(addrs)
	}
	return names
}
