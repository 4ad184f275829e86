package route

// Why a request goes to one pattern and not to another, for people. A Tree answers fast and says
// nothing of the patterns that it has passed over, so Explain compares every pattern by itself.
// For GET api.example.com/users/7 and the patterns
//
//	0  /users/**                  matches, less specific
//	1  /users/{id}  PUT           Method
//	2  api.example.com  /users/{id}    taken: the first of the answer
//	3  shop.example.com           Host
//	4  /orders/**                 Path

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// A Part of a pattern.
type Part string

// The parts, in the order in which they are compared; empty: no part.
const (
	Listener Part = "listener"
	Host     Part = "host"
	Path     Part = "path"
	GRPC     Part = "grpc"
	Method   Part = "method"
)

// A Verdict is what Explain says of one pattern.
type Verdict struct {
	Index  int
	Failed Part // the first part that does not match; empty: all do

	listener string
	parsed   parsed
	method   int // how well the method matches: see methodRank
}

// Explain compares every pattern with a request, whose listener, host, path and method are as in
// MatchAt; grpc: it is a gRPC call, as for MatchGRPC. First come the patterns that match, the most
// specific first: that one is what MatchAt or MatchGRPC returns. Then come those whose method
// differs, then those that take gRPC calls alone, then the path, the host, and the listener, each the
// most specific first. Patterns that have mistakes are left out.
func Explain(patterns []Pattern, listener string, host, path, method []byte, grpc bool) []Verdict {
	name := lowerASCII(string(HostOnly(host)))
	var out []Verdict
	headNamed := make(map[string]bool) // hosts and paths of which a pattern names HEAD
	for i, p := range patterns {
		parsed, bad := p.parse()
		if bad != nil {
			continue
		}
		if slices.Contains(parsed.methods, "HEAD") {
			headNamed[p.Listener+" "+parsed.place()] = true
		}
		out = append(out, Verdict{Index: i, listener: p.Listener, parsed: parsed})
	}
	for i := range out {
		v := &out[i]
		if v.method = callsGRPC; !v.parsed.grpc {
			v.method = methodRank(v.parsed.methods, string(method), headNamed[v.listener+" "+v.parsed.place()])
		}
		switch {
		case v.listener != "" && v.listener != listener:
			v.Failed = Listener
		case !v.parsed.takesHost(name):
			v.Failed = Host
		case !v.parsed.takesPath(path):
			v.Failed = Path
		case v.parsed.grpc && !grpc:
			v.Failed = GRPC
		case v.method == noMethod:
			v.Failed = Method
		}
	}
	slices.SortStableFunc(out, func(a, b Verdict) int {
		return cmp.Or(cmp.Compare(a.Failed.order(), b.Failed.order()), listenerRank(a, b), a.parsed.compare(&b.parsed), cmp.Compare(a.method, b.method))
	})
	return out
}

// order is the group of a Verdict in the answer of Explain.
func (p Part) order() int { return slices.Index([]Part{"", Method, GRPC, Path, Host, Listener}, p) }

// listenerRank orders a pattern that names a listener before one that does not.
func listenerRank(a, b Verdict) int {
	switch {
	case (a.listener != "") == (b.listener != ""):
		return 0
	case a.listener != "":
		return -1
	}
	return 1
}

// place is equal for patterns that share a leaf of the tree.
func (p *parsed) place() string {
	var b strings.Builder
	if p.wildcard {
		b.WriteString("*.")
	}
	b.WriteString(p.host)
	for _, s := range p.segments {
		b.WriteByte('/')
		if s.name {
			b.WriteString("{}") // a literal has no brace
		}
		b.WriteString(s.literal)
	}
	if p.below {
		b.WriteString("/**")
	}
	return b.String()
}

// takesHost reports whether the pattern matches a host name in lower case, without a port.
func (p *parsed) takesHost(name string) bool {
	switch {
	case p.host == "":
		return true
	case !p.wildcard:
		return name == p.host
	}
	label, ok := strings.CutSuffix(name, "."+p.host)
	return ok && label != "" && !strings.HasSuffix(label, ".")
}

// takesPath reports whether the pattern matches a path in normal form.
func (p *parsed) takesPath(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return p.below && len(p.segments) == 0
	}
	list := bytes.Split(path[1:], []byte("/"))
	if len(list) < len(p.segments) || len(list) > len(p.segments) && !p.below {
		return false
	}
	for i, s := range p.segments {
		if s.name && len(list[i]) == 0 || !s.name && s.literal != string(list[i]) {
			return false
		}
	}
	return true
}

// How well a pattern takes a method, the best first: ranks of methodRank, and before them that of
// a pattern with GRPC.
const (
	callsGRPC = iota
	namesMethod
	getForHead
	anyMethod
	noMethod
)

// methodRank says how well a list of methods takes one. headNamed: a pattern of the same host and
// path names HEAD, so that GET does not bring it.
func methodRank(methods []string, method string, headNamed bool) int {
	switch {
	case len(methods) == 0:
		return anyMethod
	case slices.Contains(methods, method):
		return namesMethod
	case method == "HEAD" && !headNamed && slices.Contains(methods, "GET"):
		return getForHead
	}
	return noMethod
}

// compare orders patterns by host and path, the more specific first, by the rules of the package
// comment.
func (p *parsed) compare(q *parsed) int {
	if c := cmp.Compare(p.hostRank(), q.hostRank()); c != 0 {
		return c
	}
	for i := 0; ; i++ {
		a, b := p.rankAt(i), q.rankAt(i)
		if a != b || a >= ends {
			return cmp.Compare(a, b)
		}
	}
}

// hostRank is lower for a more specific host.
func (p *parsed) hostRank() int {
	switch {
	case p.host == "":
		return 1
	case p.wildcard:
		return -len(p.host)
	}
	return -2 * hostMax
}

// Ranks of rankAt: a literal segment, a {name}, the end of a path, and the /** at its end.
const (
	literal = iota
	named
	ends
	everything
)

// rankAt is lower for a more specific segment in place i.
func (p *parsed) rankAt(i int) int {
	switch {
	case i < len(p.segments) && !p.segments[i].name:
		return literal
	case i < len(p.segments):
		return named
	case p.below:
		return everything
	}
	return ends
}
