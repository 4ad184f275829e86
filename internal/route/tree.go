package route

// Patterns become a tree for each host: a node for each segment of a path, with the literal
// segments in a map and {name} beside it. The patterns of one path share a leaf, which separates
// them by method. For example, the patterns
//
//	0  /users/{id}        GET
//	1  /users/**          every method
//	2  /users/me          GET
//
// are the tree
//
//	"users" ─┬─ "me"    end: GET, HEAD → 2
//	         ├─ {name}  end: GET, HEAD → 0
//	         └─ below:  every method → 1
//
// so a path of n segments is found in n look-ups, however many patterns there are; match.go
// says what happens when a leaf does not take the method.

import (
	"fmt"
	"slices"
	"strings"
)

// A Tree is a compiled list of patterns. It is never modified after Build: any number of
// goroutines may use it at once. The zero Tree matches nothing.
type Tree struct {
	exact     map[string]*node // by host, in lower case
	wildcards map[string]*node // by what follows "*."
	deepest   int              // labels of the longest key of wildcards
	everyHost *node            // patterns without a host; nil if there are none
	listeners map[string]*Tree // patterns of one listener, which win over those above; nil if there are none
	grpc      bool             // some pattern takes gRPC calls alone
}

// node is the place in a tree of paths where the segments so far lead. Every node has one
// way to it, so a match visits none twice.
type node struct {
	literal map[string]*node
	name    *node // {name}
	end     *leaf // patterns whose path ends here
	below   *leaf // patterns that have /** here
}

// leaf holds the patterns of one host and path, by method, as indexes into the list.
type leaf struct {
	method map[string]int // nil if no pattern names one
	every  int            // the pattern that takes all other methods; none if there is none
	grpc   int            // the pattern that takes gRPC calls alone; none if there is none
	names  []string       // the keys of method, sorted
}

// none is no index.
const none = -1

// A ConflictError says that of two patterns with the same host and path the later one can
// never match.
type ConflictError struct {
	I, J     int    // positions in the list, I before J
	Listener string // as pattern J has it; may be empty
	Host     string // likewise
	Path     string // likewise
	Method   string // a method both take; empty: both take all
	GRPC     bool   // both take gRPC calls
}

// Error names both patterns by position and what they have in common.
func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "route %d never matches, route %d takes the same requests: ", e.J, e.I)
	if e.Listener != "" {
		fmt.Fprintf(&b, "listener %s, ", e.Listener)
	}
	if e.Host != "" {
		fmt.Fprintf(&b, "host %s, ", e.Host)
	}
	if e.Path == "" {
		b.WriteString("every path, ")
	} else {
		fmt.Fprintf(&b, "path %s, ", e.Path)
	}
	switch {
	case e.GRPC:
		b.WriteString("gRPC calls")
	case e.Method == "":
		b.WriteString("every method")
	default:
		fmt.Fprintf(&b, "method %s", e.Method)
	}
	return b.String()
}

// Build compiles patterns; Match answers with positions in this list. The error is a
// *ConflictError, or wraps the *SyntaxError of the first pattern that has one and names its
// position. An empty list gives a Tree that matches nothing.
func Build(patterns []Pattern) (*Tree, error) {
	t := newTree()
	var leaves []*leaf
	for j, p := range patterns {
		parsed, bad := p.parse()
		if bad != nil {
			return nil, fmt.Errorf("route %d: %w", j, bad)
		}
		slot := t.listener(p.Listener).host(&parsed).path(&parsed)
		if *slot == nil {
			*slot = &leaf{every: none, grpc: none}
			leaves = append(leaves, *slot)
		}
		if i, method := (*slot).add(j, &parsed); i != none {
			return nil, &ConflictError{I: i, J: j, Listener: p.Listener, Host: p.Host, Path: p.Path, Method: method, GRPC: p.GRPC}
		}
		t.grpc = t.grpc || p.GRPC
	}
	for _, l := range leaves {
		l.finish()
	}
	return t, nil
}

func newTree() *Tree {
	return &Tree{exact: make(map[string]*node), wildcards: make(map[string]*node)}
}

// listener returns the tree of a listener's patterns, made if it is new; that without a name is t.
func (t *Tree) listener(name string) *Tree {
	if name == "" {
		return t
	}
	if t.listeners[name] == nil {
		if t.listeners == nil {
			t.listeners = make(map[string]*Tree)
		}
		t.listeners[name] = newTree()
	}
	return t.listeners[name]
}

// GRPC reports whether some pattern takes gRPC calls alone: only then MatchGRPC may find what
// Match does not.
func (t *Tree) GRPC() bool { return t.grpc }

// host returns the root of the paths of p's host, made if it is new.
func (t *Tree) host(p *parsed) *node {
	if p.host == "" {
		if t.everyHost == nil {
			t.everyHost = new(node)
		}
		return t.everyHost
	}
	table := t.exact
	if p.wildcard {
		table = t.wildcards
		t.deepest = max(t.deepest, strings.Count(p.host, ".")+1)
	}
	if table[p.host] == nil {
		table[p.host] = new(node)
	}
	return table[p.host]
}

// path returns where the leaf of p's path belongs, with the nodes to it made.
func (n *node) path(p *parsed) **leaf {
	for _, s := range p.segments {
		if s.name {
			if n.name == nil {
				n.name = new(node)
			}
			n = n.name
			continue
		}
		next := n.literal[s.literal]
		if next == nil {
			next = new(node)
			if n.literal == nil {
				n.literal = make(map[string]*node)
			}
			n.literal[s.literal] = next
		}
		n = next
	}
	if p.below {
		return &n.below
	}
	return &n.end
}

// add gives pattern j, which is p, those of its methods that no earlier pattern has. If none is left, it
// returns the pattern that took the first, and the method; otherwise none.
func (l *leaf) add(j int, p *parsed) (int, string) {
	methods := p.methods
	if p.grpc {
		if l.grpc != none {
			return l.grpc, ""
		}
		l.grpc = j
		return none, ""
	}
	if len(methods) == 0 {
		if l.every != none {
			return l.every, ""
		}
		l.every = j
		return none, ""
	}
	if l.method == nil {
		l.method = make(map[string]int)
	}
	got := false
	for _, m := range methods {
		if _, taken := l.method[m]; !taken {
			l.method[m] = j
			got = true
		}
	}
	if !got {
		return l.method[methods[0]], methods[0]
	}
	return none, ""
}

// finish gives HEAD to the pattern that has GET (RFC 9110 §9.1 wants both wherever one is)
// unless it was named, and sorts the names.
func (l *leaf) finish() {
	get, hasGet := l.method["GET"]
	if _, hasHead := l.method["HEAD"]; hasGet && !hasHead {
		l.method["HEAD"] = get
	}
	for m := range l.method {
		l.names = append(l.names, m)
	}
	slices.Sort(l.names)
}
