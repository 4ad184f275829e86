package route

// Patterns as an operator writes them, their syntax and their mistakes.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Pattern says which requests a route takes; the package comment defines the syntax. The
// zero Pattern matches every request.
type Pattern struct {
	Listener string // name of the listener by which the request came; empty: any
	Host     string
	Path     string
	Methods  []string
	// GRPC: gRPC calls alone are taken (see CallsGRPC). Methods says nothing then.
	GRPC bool
}

// A SyntaxError says what is wrong with a Pattern.
type SyntaxError struct {
	Field  string // "host", "path" or "methods"
	Value  string // the text that is wrong: the host, the path or one method
	Offset int    // in bytes, where in Value
	Reason string
}

// Error names field, text, place and reason.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s %q: at byte %d: %s", e.Field, e.Value, e.Offset, e.Reason)
}

// Check returns nil if the pattern is well formed, a *SyntaxError otherwise.
func (p Pattern) Check() error {
	if _, err := p.parse(); err != nil {
		return err
	}
	return nil
}

// parsed is a Pattern taken apart.
type parsed struct {
	host     string // lower case; without the leading "*." if wildcard
	wildcard bool
	segments []part
	below    bool // ends in /**, or is empty
	methods  []string
	grpc     bool
}

// part is one segment: a literal in normal form, or the place of a {name}.
type part struct {
	literal string
	name    bool
}

// parse does not return error, so that a nil *SyntaxError cannot hide in one.
func (p Pattern) parse() (parsed, *SyntaxError) {
	var out parsed
	var err *SyntaxError
	if out.host, out.wildcard, err = parseHost(p.Host); err != nil {
		return out, err
	}
	if out.segments, out.below, err = parsePath(p.Path); err != nil {
		return out, err
	}
	if out.grpc = p.GRPC; p.GRPC {
		return out, nil
	}
	out.methods = p.Methods
	return out, checkMethods(p.Methods)
}

func parseHost(host string) (name string, wildcard bool, err *SyntaxError) {
	fail := func(at int, reason string) (string, bool, *SyntaxError) {
		return "", false, &SyntaxError{Field: "host", Value: host, Offset: at, Reason: reason}
	}
	if host == "" {
		return "", false, nil
	}
	name = lowerASCII(host)
	if strings.HasPrefix(name, "[") {
		inner, ok := strings.CutSuffix(name[1:], "]")
		addr, bad := netip.ParseAddr(inner)
		if !ok || bad != nil || !addr.Is6() || addr.Zone() != "" {
			return fail(0, "not an IPv6 address in brackets, without port or zone")
		}
		if addr.String() != inner {
			return fail(1, "write the address as ["+addr.String()+"]")
		}
		return name, false, nil
	}
	if host == "*" {
		return fail(0, "leave the host out to match every host")
	}
	name, wildcard = strings.CutPrefix(name, "*.")
	at := len(host) - len(name)
	if i := strings.Index(name, "://"); i >= 0 {
		return fail(at+i, "a host has no scheme")
	}
	if len(name) > hostMax-at {
		return fail(0, fmt.Sprintf("longer than %d bytes", hostMax))
	}
	for label := range strings.SplitSeq(name, ".") {
		if reason, i := checkLabel(label); reason != "" {
			return fail(at+i, reason)
		}
		at += len(label) + 1
	}
	return name, wildcard, nil
}

// lowerASCII keeps every byte at its place, also in text that is not valid UTF-8, and does
// not take the Kelvin sign for a k, as strings.ToLower does.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// checkLabel returns what is wrong with a label in lower case, and where.
func checkLabel(label string) (reason string, at int) {
	if label == "" {
		return "empty label (write the name without a dot at its end)", 0
	}
	if len(label) > 63 {
		return "label longer than 63 bytes", 0
	}
	for i, r := range label {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_':
		case r == '*':
			return "a wildcard is the whole first label, as in *.example.com", i
		case r == ':':
			return "a host has no port: every port matches", i
		case r == '/':
			return "a host has no path", i
		case r > 0x7f:
			return "write an international name in its ASCII form (xn--...)", i
		default:
			return fmt.Sprintf("%q does not belong in a host name", r), i
		}
	}
	return "", 0
}

// parsePath cuts a path into its segments. The last one is empty after a trailing slash.
func parsePath(path string) (segments []part, below bool, err *SyntaxError) {
	at := 0
	fail := func(i int, reason string) ([]part, bool, *SyntaxError) {
		return nil, false, &SyntaxError{Field: "path", Value: path, Offset: at + i, Reason: reason}
	}
	if path == "" {
		return nil, true, nil
	}
	if path[0] != '/' {
		return fail(0, "a path starts with /")
	}
	rest, below := strings.CutSuffix(path, "/**")
	if rest == "" && below {
		return nil, true, nil
	}
	at = 1
	names := make(map[string]bool)
	list := strings.Split(rest[1:], "/")
	for i, s := range list {
		last := i == len(list)-1 && !below
		p, reason, where := parseSegment(s, last)
		if reason != "" {
			return fail(where, reason)
		}
		if p.name && names[s] {
			return fail(0, s+" stands here twice")
		}
		names[s] = true
		segments = append(segments, p)
		at += len(s) + 1
	}
	return segments, below, nil
}

// parseSegment returns what is wrong with a segment as a reason, and where.
func parseSegment(s string, last bool) (p part, reason string, at int) {
	if s == "" {
		if last {
			return part{}, "", 0
		}
		return part{}, "empty segment: paths are matched with // merged to /", 0
	}
	if i := strings.IndexByte(s, '*'); i >= 0 {
		return part{}, "a path has no * but /** at its end; {name} is one segment", i
	}
	if i := strings.IndexAny(s, "{}"); i >= 0 {
		name, opened := strings.CutPrefix(s, "{")
		name, closed := strings.CutSuffix(name, "}")
		if !opened || !closed {
			return part{}, "a {name} is a whole segment", i
		}
		if !isName(name) {
			return part{}, "a {name} is made of letters, digits and _, the first no digit", i
		}
		return part{name: true}, "", 0
	}
	norm, i, bad := segment(nil, []byte(s), 0)
	if bad == Backslash {
		i = strings.IndexAny(strings.ReplaceAll(strings.ToUpper(s), "%5C", "\\"), "\\")
	}
	if bad != 0 {
		return part{}, bad.Error(), min(i, len(s)-1)
	}
	if string(norm) == "." || string(norm) == ".." {
		return part{}, "dot segment: paths are matched with . and .. removed", 0
	}
	return part{literal: string(norm)}, "", 0
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || '9' < c) {
			return false
		}
	}
	return s != ""
}

func checkMethods(methods []string) *SyntaxError {
	for i, m := range methods {
		fail := func(at int, reason string) *SyntaxError {
			return &SyntaxError{Field: "methods", Value: m, Offset: at, Reason: reason}
		}
		if m == "" {
			return fail(0, "empty method")
		}
		if at := strings.IndexFunc(m, notToken); at >= 0 {
			return fail(at, "not a method (RFC 9110 §9.1)")
		}
		if up := strings.ToUpper(m); up != m && slices.Contains(standard, up) {
			return fail(0, "methods are case-sensitive: write "+up)
		}
		if slices.Contains(methods[:i], m) {
			return fail(0, "stands here twice")
		}
	}
	return nil
}

// standard are the methods that are never meant in lower case.
var standard = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// notToken reports that r is not a tchar (RFC 9110 §5.6.2).
func notToken(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}
