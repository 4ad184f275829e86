package config

// The addresses a configuration names: URLs of endpoints, listeners, trusted proxies, DNS
// servers. Each is parsed once, to the form that the rest of the program compares by, and a
// mistake is reported with the nearest form that would be right.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/endpoint"
)

// Parse reads the URL. For a literal IP address or a unix: path, hostname is empty and
// spec is the endpoint. For a host name (localhost is one too) hostname is that name, as
// a resolver wants it, and spec is the pattern for each of its addresses: Address still
// has the name in place of an address, Host is the name without a final dot. Ports that
// are left out are 80 and 443. unix:/path is short for http://unix:/path, and https and h2c may
// stand before unix: as well. What else the entry says is copied; metadata are shared.
func (e Endpoint) Parse() (spec endpoint.Spec, hostname string, err error) {
	if scheme, path, ok := cutUnix(e.URL); ok {
		spec, err = parseUnix(scheme, path)
		e.describe(&spec)
		return spec, "", err
	}
	u, err := parseURL(e.URL)
	if err != nil {
		return endpoint.Spec{}, "", err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "h2c": "80", "https": "443"}[u.Scheme]
	}
	spec.Scheme = u.Scheme
	e.describe(&spec)
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		spec.Address = net.JoinHostPort(addr.Unmap().String(), port)
		return spec, "", nil
	}
	hostname = strings.ToLower(u.Hostname())
	if err := checkName(hostname); err != nil {
		return endpoint.Spec{}, "", err
	}
	spec.Address = net.JoinHostPort(hostname, port)
	spec.Host = strings.TrimSuffix(hostname, ".")
	return spec, hostname, nil
}

// describe copies what e says besides the address.
func (e Endpoint) describe(spec *endpoint.Spec) {
	spec.Weight, spec.Out, spec.Zone, spec.Priority, spec.Metadata = float64(e.Weight), e.Drain, e.Zone, e.Priority, e.Metadata
	if e.Backup {
		spec.Priority = 1
	}
}

// cutUnix takes the URL of a unix endpoint apart. http://unix:8080 is none, but a host of that name.
func cutUnix(url string) (scheme, path string, ok bool) {
	if path, ok = strings.CutPrefix(url, "unix:"); ok {
		return "http", path, true
	}
	scheme, rest, _ := strings.Cut(url, "://")
	path, ok = strings.CutPrefix(rest, "unix:")
	known := scheme == "http" || scheme == "https" || scheme == "h2c"
	return scheme, path, ok && known && (strings.HasPrefix(path, "/") || strings.HasPrefix(path, "@"))
}

func parseUnix(scheme, path string) (endpoint.Spec, error) {
	path = strings.TrimPrefix(path, "//") // unix:///run/app.sock, as other programs write it
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return endpoint.Spec{}, errors.New("a unix endpoint needs an absolute path, as in unix:/run/app.sock")
	}
	if len(path) < 2 || strings.ContainsRune(path, 0) {
		return endpoint.Spec{}, errors.New("a unix endpoint needs the path of a socket, as in unix:/run/app.sock")
	}
	return endpoint.Spec{ID: endpoint.ID{Scheme: scheme, Address: "unix:" + path}}, nil
}

// parseURL accepts scheme://host:port and nothing more: an endpoint has no path.
func parseURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("a URL is missing, as in http://127.0.0.1:9001")
	}
	if !strings.Contains(text, "://") {
		return nil, fmt.Errorf("a URL begins with http:// or https://, as in http://%s", text)
	}
	u, err := url.Parse(text)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL, which is shown anyway
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
		return nil, fmt.Errorf("the scheme %q is not known: it is http, https or h2c", u.Scheme)
	case u.User != nil:
		return nil, errors.New("an endpoint's URL has no user: set a header in the route")
	case u.Path != "" && u.Path != "/":
		return nil, errors.New("an endpoint's URL has no path: use add_prefix in the route's rewrite")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("an endpoint's URL has no query and no fragment")
	case u.Hostname() == "":
		return nil, errors.New("a host is missing")
	case strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("a port is missing after the colon")
	}
	if p := u.Port(); p != "" {
		if err := checkPort(p, 1); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func checkPort(text string, lowest int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < lowest || n > 65535 || strconv.Itoa(n) != text {
		return fmt.Errorf("%q is not a port: it is a number from %d to 65535", text, lowest)
	}
	return nil
}

// checkName accepts what can be asked of DNS and what operators call their hosts
// (underscores too), and refuses numbers that were meant to be addresses.
func checkName(name string) error {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(name) > 253 {
		return errors.New("the host name is longer than 253 bytes")
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q is not a host name: its parts have 1 to 63 bytes", name)
		}
		for _, c := range []byte(label) {
			if c >= 0x80 {
				return fmt.Errorf("%q is not ASCII: write it in its xn-- form", name)
			}
			if !plain(string(c)) {
				return fmt.Errorf("%q is not a host name: it has a %q", name, c)
			}
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return fmt.Errorf("%q is not an IP address", name)
	}
	return nil
}

// FileMode reads Mode; 0: it is empty.
func (l Listen) FileMode() (fs.FileMode, error) {
	if l.Mode == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(l.Mode, 8, 32)
	if err != nil || n > 0o777 || n&0o600 != 0o600 || len(l.Mode) < 3 || len(l.Mode) > 4 {
		return 0, fmt.Errorf("%q is not a mode of sockets such as 0660, with which the owner may read and write", l.Mode)
	}
	return fs.FileMode(n), nil
}

// checkListen accepts unix: with a path, and host:port with an empty host, an IP address or a
// name. It returns the form by which duplicates are found.
func checkListen(address string) (canonical string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		const pathMax = 107 // bytes, of Linux; elsewhere some less
		switch {
		case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"):
			return "", errors.New("the path of a socket begins with / and names it, as in unix:/run/app.sock")
		case len(path) > pathMax || strings.ContainsRune(path, 0):
			return "", fmt.Errorf("the path of a socket has at most %d bytes", pathMax)
		}
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if _, bare := netip.ParseAddr(strings.Trim(address, "[]")); bare == nil || checkName(address) == nil {
			return "", errors.New("a port is missing: an address is host:port, as in 127.0.0.1:8080")
		}
		return "", errors.New("not an address: it is host:port, as in 127.0.0.1:8080 or :8080")
	}
	if err := checkPort(port, 0); err != nil {
		return "", err
	}
	if host == "" {
		return ":" + port, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.IsUnspecified() {
			return ":" + port, nil
		}
		return net.JoinHostPort(addr.Unmap().String(), port), nil
	}
	return net.JoinHostPort(strings.ToLower(host), port), checkName(host)
}

// Trusted returns TrustedProxies as prefixes; a single address is a full-length one.
func (c Config) Trusted() ([]netip.Prefix, error) {
	return prefixes("trusted_proxies", c.TrustedProxies)
}

// Prefixes returns Trusted as prefixes, as Config.Trusted does.
func (p ProxyProtocol) Prefixes() ([]netip.Prefix, error) {
	return prefixes("proxy_protocol.trusted", p.Trusted)
}

func prefixes(path string, texts []string) (out []netip.Prefix, err error) {
	for i, text := range texts {
		p, near, err := parsePrefix(text)
		if err != nil {
			return nil, NewErrors(Problem{Path: Index(path, i), Value: text, Message: err.Error(), Near: near})
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePrefix(text string) (p netip.Prefix, near string, err error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return p, "", fmt.Errorf("%q has a zone, which cannot be compared", text)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), "", nil
	}
	p, err = netip.ParsePrefix(text)
	if err != nil {
		if alone := addressAlone(text); alone != "" {
			return p, alone, fmt.Errorf("%q has a port or brackets: a proxy is named by its address alone", text)
		}
		return p, "", fmt.Errorf("%q is neither an IP address nor a prefix such as 10.0.0.0/8", text)
	}
	if p.Addr().Is4In6() {
		return p, "", fmt.Errorf("%q is an IPv4 prefix written as IPv6: write it as IPv4", text)
	}
	if p.Masked() != p { // most likely a wrong length, and then half the world is trusted
		return p, p.Masked().String(), fmt.Errorf("%q has bits set behind its length", text)
	}
	return p, "", nil
}

// addressAlone is the address or prefix within a text that has a port or brackets, too;
// empty: there is none.
func addressAlone(text string) string {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().String()
	}
	bare := strings.NewReplacer("[", "", "]", "").Replace(text)
	if bare == text {
		return ""
	}
	if _, _, err := parsePrefix(bare); err != nil {
		return ""
	}
	return bare
}

// Target reads the URL of a DNS source: what Endpoint.Parse says for a host name, and the
// name server's address with its port, which is empty for the system's.
func (d DNSSource) Target() (spec endpoint.Spec, hostname, server string, err error) {
	spec, hostname, err = Endpoint{URL: d.URL}.Parse()
	if err == nil && hostname == "" {
		err = fmt.Errorf("%q has no host name to ask for: list addresses under endpoints", d.URL)
	}
	if err != nil || d.Server == "" {
		return spec, hostname, "", err
	}
	server, err = parseServer(d.Server)
	return spec, hostname, server, err
}

// Record reads the SRV of a DNS source: the name of the record in lower case, and the name
// server's address as Target does.
func (d DNSSource) Record() (name, server string, err error) {
	if _, err = checkRecord(d.SRV); err == nil && d.Server != "" {
		server, err = parseServer(d.Server)
	}
	return strings.ToLower(d.SRV), server, err
}

// checkRecord accepts _service._proto.name (RFC 2782). near is what was most likely meant by
// something else: a URL, a host and a port, or a name without the first two parts. It may be
// empty.
func checkRecord(text string) (near string, err error) {
	host := text
	if _, after, ok := strings.Cut(text, "://"); ok {
		host, _, _ = strings.Cut(after, "/")
	}
	host, _, _ = strings.Cut(host, ":")
	near = recordName(host)
	if near == text {
		return "", checkName(text)
	}
	if near != "" && checkName(near) != nil {
		near = ""
	}
	return near, fmt.Errorf("%q is not the name of an SRV record: it is _service._proto.name, and the record says the ports", text)
}

// recordName is the name of the SRV record that host most likely means, or "". That of a record
// is itself.
func recordName(host string) string {
	first, rest, _ := strings.Cut(host, ".")
	second, name, _ := strings.Cut(rest, ".")
	service, named := strings.CutPrefix(first, "_")
	proto, carried := strings.CutPrefix(second, "_")
	switch {
	case named && carried || proto == "tcp" || proto == "udp":
		if name == "" {
			return ""
		}
		return "_" + service + "._" + proto + "." + name
	case named:
		return first + "._tcp." + rest
	}
	return "_http._tcp." + host
}

func parseServer(text string) (string, error) {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return net.JoinHostPort(addr.String(), "53"), nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Port() != 0 {
		return ap.String(), nil
	}
	return "", fmt.Errorf("%q is not the address of a name server: it is an IP address with an optional port, as in 10.0.0.10:53", text)
}
