// Package san says which certificates of a peer are accepted by their subject alternative names:
// names of hosts, addresses, URIs, and the identities of SPIFFE. Who has signed a certificate is
// no question here; crypto/x509 has answered it before.
//
//	listed                        accepts a certificate with
//	shop.internal                 the DNS name shop.internal; not with *.internal
//	*.internal                    any DNS name with one label before .internal, *.internal too
//	10.0.0.7                      the IP address
//	urn:example:shop              the URI
//	spiffe://example.org/shop     the SPIFFE ID
//	spiffe://example.org          any SPIFFE ID of the trust domain example.org
package san

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Scheme is how a SPIFFE ID begins.
const Scheme = "spiffe://"

// idBytesMax bounds a SPIFFE ID, as its specification does.
const idBytesMax = 2048

// Names are the names that are accepted: one of them is enough. The zero value accepts every
// certificate. Any goroutine may use them.
type Names struct {
	listed []string // in the order of the configuration, for errors
	hosts  []string // in lower case; *.internal among them
	ips    []netip.Addr
	uris   []string
	ids    []string // SPIFFE IDs with a path
	trust  []string // trust domains
}

// A Mistake is an entry of a list that is no name.
type Mistake struct {
	InIDs bool   // in the list of SPIFFE IDs, and not in that of names
	At    int    // index
	Near  string // what was probably meant, or empty
	Err   error
}

// Error is that of the entry.
func (m *Mistake) Error() string { return m.Err.Error() }

// Parse reads the lists of a configuration. The error is a *Mistake.
func Parse(names, ids []string) (*Names, error) {
	n := new(Names)
	for i, text := range names {
		if near, err := n.name(text); err != nil {
			return nil, &Mistake{false, i, near, err}
		}
	}
	for i, text := range ids {
		if near, err := n.id(text); err != nil {
			return nil, &Mistake{true, i, near, err}
		}
	}
	n.listed = append(slices.Clone(names), ids...)
	return n, nil
}

// name adds one entry of the list san.
func (n *Names) name(text string) (near string, err error) {
	if strings.HasPrefix(text, Scheme) {
		return "", fmt.Errorf("%q is a SPIFFE ID: list it under spiffe", text)
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		n.ips = append(n.ips, ip.Unmap())
		return "", nil
	}
	if rest, ok := strings.CutPrefix(text, "https://"); ok && isHost(rest) {
		return rest, fmt.Errorf("%q is a URL: certificates have the name of the host", text)
	}
	if scheme, _, found := strings.Cut(text, ":"); found {
		if u, err := url.Parse(text); err == nil && u.Scheme != "" && !strings.Contains(scheme, ".") {
			n.uris = append(n.uris, text)
			return "", nil
		}
		if host, _, _ := strings.Cut(text, ":"); isHost(host) {
			return host, fmt.Errorf("%q has a port, which certificates have not", text)
		}
	}
	if !isHost(text) {
		return "", fmt.Errorf("%q is neither the name of a host, such as shop.internal or *.internal, nor an IP address or a URI", text)
	}
	n.hosts = append(n.hosts, strings.ToLower(strings.TrimSuffix(text, ".")))
	return "", nil
}

// isHost reports whether text is a DNS name, maybe with * as its first label.
func isHost(text string) bool {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "*."), ".")
	if text == "" || len(text) > 253 {
		return false
	}
	for _, label := range strings.Split(text, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
		}) {
			return false
		}
	}
	return true
}

// id adds one entry of the list spiffe.
func (n *Names) id(text string) (near string, err error) {
	rest, ok := strings.CutPrefix(text, Scheme)
	if !ok {
		near = Scheme + strings.TrimPrefix(strings.TrimPrefix(text, "spiffe:"), "/")
		if _, err := new(Names).id(near); err != nil {
			near = ""
		}
		return near, fmt.Errorf("%q is no SPIFFE ID: that begins with %s, as in spiffe://example.org/shop", text, Scheme)
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if err := checkID(domain, path, hasPath); err != nil {
		if lower := strings.ToLower(domain); lower != domain && checkID(lower, path, hasPath) == nil {
			near = Scheme + lower + text[len(Scheme)+len(domain):]
		} else if clean := strings.TrimSuffix(text, "/"); clean != text && checkID(domain, strings.TrimSuffix(path, "/"), path != "") == nil {
			near = clean
		}
		return near, fmt.Errorf("%q is no SPIFFE ID: %w", text, err)
	}
	if !hasPath {
		n.trust = append(n.trust, domain)
		return "", nil
	}
	n.ids = append(n.ids, text)
	return "", nil
}

// checkID says what is wrong with the parts of a SPIFFE ID; nil: nothing.
func checkID(domain, path string, hasPath bool) error {
	if domain == "" || len(domain)+len(path) > idBytesMax-len(Scheme) {
		return errors.New("it has a trust domain, and 2048 bytes at most")
	}
	for _, c := range []byte(domain) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("a trust domain has small letters, digits, -, _ and ., and no %q", c)
		}
	}
	if !hasPath {
		return nil
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return errors.New("its path has an empty part, or one of dots alone")
		}
		for _, c := range []byte(segment) {
			if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
				return fmt.Errorf("its path has letters, digits, -, _ and ., and no %q", c)
			}
		}
	}
	return nil
}

// Empty reports whether every certificate is accepted. n may be nil.
func (n *Names) Empty() bool { return n == nil || len(n.listed) == 0 }

// Check says why the certificate is not accepted; nil: it is. n may be nil.
func (n *Names) Check(c *x509.Certificate) error {
	if n.Empty() || n.host(c) || n.address(c) || n.uri(c) || n.spiffe(c) {
		return nil
	}
	return fmt.Errorf("the certificate is for %s, which is none of %s", Of(c), strings.Join(n.listed, ", "))
}

func (n *Names) host(c *x509.Certificate) bool {
	for _, name := range c.DNSNames {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		for _, want := range n.hosts {
			if name == want {
				return true
			}
			base, wild := strings.CutPrefix(want, "*.")
			if _, rest, ok := strings.Cut(name, "."); wild && ok && rest == base {
				return true
			}
		}
	}
	return false
}

func (n *Names) address(c *x509.Certificate) bool {
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok && slices.Contains(n.ips, a.Unmap()) {
			return true
		}
	}
	return false
}

func (n *Names) uri(c *x509.Certificate) bool {
	for _, u := range c.URIs {
		if slices.Contains(n.uris, u.String()) {
			return true
		}
	}
	return false
}

func (n *Names) spiffe(c *x509.Certificate) bool {
	id := ID(c)
	if id == "" {
		return false
	}
	domain, _, _ := strings.Cut(id[len(Scheme):], "/")
	return slices.Contains(n.ids, id) || slices.Contains(n.trust, domain)
}

// ID is the SPIFFE ID of a certificate: its only URI, in the form that an ID has. Empty: it has
// none. A certificate with a second URI is no SVID, so it proves no ID.
func ID(c *x509.Certificate) string {
	if len(c.URIs) != 1 {
		return ""
	}
	id := c.URIs[0].String()
	rest, ok := strings.CutPrefix(id, Scheme)
	if !ok {
		return ""
	}
	if domain, path, hasPath := strings.Cut(rest, "/"); checkID(domain, path, hasPath) != nil {
		return ""
	}
	return id
}

// First is the SPIFFE ID of a certificate, or else its first alternative name; empty: it has none.
func First(c *x509.Certificate) string {
	switch {
	case ID(c) != "":
		return ID(c)
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	case len(c.EmailAddresses) > 0:
		return c.EmailAddresses[0]
	}
	return ""
}

// Of is what a certificate is called in messages: its alternative names, some of them if there
// are many, or else its subject.
func Of(c *x509.Certificate) string {
	var names []string
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	names = append(names, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 4
	switch {
	case len(names) == 0:
		return fmt.Sprintf("the subject %q, without alternative names", c.Subject.String())
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
