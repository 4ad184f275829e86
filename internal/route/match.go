package route

// A match is a walk through the tree from the most specific pattern to the least, until one
// takes the method. For example, with the patterns
//
//	0  /users/{id}        GET
//	1  /users/**          every method
//	2  /users/me          GET
//
// DELETE /users/me goes to the literal "me" first, whose leaf (2) has no DELETE; then back to
// {id}, whose leaf (0) has none either; then back to the leaf below /users (1), which takes
// every method. Stepping back costs a visit for each {name} or /** on the way, and no node is
// visited twice.

import (
	"bytes"
	"slices"
)

// A MethodState distinguishes the two ways in which no pattern matches.
type MethodState uint8

// Answers of Match.
const (
	Found      MethodState = iota // there is a match
	NotFound                      // no pattern matches host and path: 404
	NotAllowed                    // some do, none with this method: 405, with Allowed as Allow
)

// Match is MatchAt for a request whose listener has no name.
func (t *Tree) Match(host, path, method []byte) (index int, state MethodState) {
	return t.MatchAt("", host, path, method)
}

// MatchAt returns the position of the most specific pattern that matches, or -1 and why there
// is none. listener is the name of the one by which the request came; empty: it has none. host
// is an authority, with or without port, in any case; path is in normal form
// (Normalize), or "*". A path that does not begin with a slash is matched by the patterns
// for every path only. Match allocates nothing and may be called by many goroutines at
// once. It visits the nodes of the tree that fit the path: with patterns that hold both a
// literal and a {name} at many places these may be several, each visited once.
func (t *Tree) MatchAt(listener string, host, path, method []byte) (index int, state MethodState) {
	return t.match(&search{method: method, index: none}, listener, host, path)
}

// MatchGRPC is MatchAt for a request that is a gRPC call (CallsGRPC): patterns with GRPC take it
// too, and of those with the same host and path before others.
func (t *Tree) MatchGRPC(listener string, host, path, method []byte) (index int, state MethodState) {
	return t.match(&search{method: method, index: none, grpc: true}, listener, host, path)
}

func (t *Tree) match(s *search, listener string, host, path []byte) (index int, state MethodState) {
	t.walkAt(s, listener, host, path)
	switch {
	case s.index != none:
		return s.index, Found
	case s.other:
		return none, NotAllowed
	}
	return none, NotFound
}

// Allowed is AllowedAt for a request whose listener has no name.
func (t *Tree) Allowed(dst, host, path []byte) []byte { return t.AllowedAt(dst, "", host, path) }

// AllowedAt appends the value of the Allow field (RFC 9110 §10.2.1) of a 405 to dst: the
// methods, sorted, that patterns name which match listener, host and path. It appends nothing if
// there are none. Unlike Match it allocates a little.
func (t *Tree) AllowedAt(dst []byte, listener string, host, path []byte) []byte {
	s := search{index: none, collect: true}
	t.walkAt(&s, listener, host, path)
	slices.Sort(s.names)
	for i, m := range slices.Compact(s.names) {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, m...)
	}
	return dst
}

// search is one walk through the tree: its question and what it met.
type search struct {
	method  []byte
	index   int
	grpc    bool     // the request is a gRPC call
	other   bool     // a leaf was met that does not take method
	collect bool     // do not ask for method, collect in names what all leaves take
	names   []string // only if collect
}

// walkAt visits the leaves of the patterns of a listener, and then of those without one.
func (t *Tree) walkAt(s *search, listener string, host, path []byte) {
	if t.listeners != nil {
		if l := t.listeners[listener]; l != nil && l.walk(s, host, path) {
			return
		}
	}
	t.walk(s, host, path)
}

// walk visits the leaves that match host and path, the most specific first, until one takes
// the method.
func (t *Tree) walk(s *search, host, path []byte) bool {
	host = HostOnly(host)
	if len(host) > 0 && len(t.exact)+len(t.wildcards) > 0 {
		var buf [hostMax]byte
		name, whole := lower(&buf, host)
		if whole {
			if n := t.exact[string(name)]; n != nil && n.walk(s, path) {
				return true
			}
		}
		if len(t.wildcards) > 0 && t.walkWildcards(s, name, path) {
			return true
		}
	}
	return t.everyHost != nil && t.everyHost.walk(s, path)
}

// walkWildcards tries the suffixes of host, the longest first, but none with more labels
// than a wildcard has: the client chooses the number of labels, the operator the cost.
func (t *Tree) walkWildcards(s *search, host, path []byte) bool {
	for labels := bytes.Count(host, []byte(".")); labels > 0; labels-- {
		i := bytes.IndexByte(host, '.')
		first := i > 0 // "*" stands for something
		host = host[i+1:]
		if labels > t.deepest || !first {
			continue
		}
		if n := t.wildcards[string(host)]; n != nil && n.walk(s, path) {
			return true
		}
	}
	return false
}

// walk starts at the root of one host's paths.
func (n *node) walk(s *search, path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return s.leaf(n.below)
	}
	return n.descend(s, path[1:], true)
}

// descend looks for leaves under n. rest is what is left of the path, without the slash
// that led here; more is false when the path ends at n, and true with an empty rest when
// it ends with a slash.
func (n *node) descend(s *search, rest []byte, more bool) bool {
	if !more {
		return s.leaf(n.end) || s.leaf(n.below)
	}
	segment, after := rest, []byte(nil)
	i := bytes.IndexByte(rest, '/')
	if i >= 0 {
		segment, after = rest[:i], rest[i+1:]
	}
	if next := n.literal[string(segment)]; next != nil && next.descend(s, after, i >= 0) {
		return true
	}
	if n.name != nil && len(segment) > 0 && n.name.descend(s, after, i >= 0) {
		return true
	}
	return s.leaf(n.below)
}

// leaf reports whether l takes the method, and notes what it takes instead.
func (s *search) leaf(l *leaf) bool {
	if l == nil {
		return false
	}
	if s.collect {
		s.names = append(s.names, l.names...)
		return false
	}
	if s.grpc && l.grpc != none {
		s.index = l.grpc
		return true
	}
	if i, ok := l.method[string(s.method)]; ok {
		s.index = i
		return true
	}
	if l.every != none {
		s.index = l.every
		return true
	}
	s.other = s.other || len(l.method) > 0
	return false
}
