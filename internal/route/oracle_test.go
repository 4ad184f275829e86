package route

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// The oracle answers from the words of the package comment: it looks at every pattern,
// keeps those that match and takes the most specific. It shares no code with the Tree.

// oracleHost is the host of an authority, in lower case.
func oracleHost(authority string) string {
	h := strings.ToLower(authority)
	if strings.HasPrefix(h, "[") {
		inner, _, ok := strings.Cut(h, "]")
		if !ok {
			return ""
		}
		return inner + "]"
	}
	h, _, _ = strings.Cut(h, ":")
	return strings.TrimSuffix(h, ".")
}

func oracleMatchesHost(pattern, host string) bool {
	pattern = strings.ToLower(pattern)
	if pattern == "" {
		return true
	}
	suffix, wildcard := strings.CutPrefix(pattern, "*")
	if !wildcard {
		return pattern == host
	}
	front, ok := strings.CutSuffix(host, suffix)
	return ok && front != "" && !strings.HasSuffix(front, ".")
}

func isPlaceholder(segment string) bool { return strings.HasPrefix(segment, "{") }

func oracleMatchesPath(pattern, path string) bool {
	if pattern == "" || pattern == "/**" {
		return true
	}
	if !strings.HasPrefix(path, "/") {
		return false
	}
	front, below := strings.CutSuffix(pattern, "/**")
	want, got := strings.Split(front, "/"), strings.Split(path, "/")
	if len(got) < len(want) || len(got) > len(want) && !below {
		return false
	}
	for i, w := range want {
		if isPlaceholder(w) && got[i] != "" {
			continue
		}
		if w != got[i] {
			return false
		}
	}
	return true
}

// oracleTakes says how p takes the request: 0 as a gRPC call, 1 by the method's name, 2 as the
// HEAD of GET, 3 as any method, -1 not.
func oracleTakes(p Pattern, method string, grpc bool) int {
	switch {
	case p.GRPC && grpc:
		return 0
	case p.GRPC:
		return -1
	case len(p.Methods) == 0:
		return 3
	case slices.Contains(p.Methods, method):
		return 1
	case method == "HEAD" && slices.Contains(p.Methods, "GET"):
		return 2
	}
	return -1
}

// oracleCompareHosts is negative if a is more specific; both match the same host.
func oracleCompareHosts(a, b string) int {
	rank := func(h string) int {
		switch {
		case h == "":
			return 0
		case strings.HasPrefix(h, "*"):
			return len(h)
		}
		return math.MaxInt
	}
	return cmp.Compare(rank(b), rank(a))
}

// oracleComparePaths is negative if a is more specific; both match the same path.
func oracleComparePaths(a, b string) int {
	kinds := func(p string) (out []int) {
		if p == "" {
			p = "/**"
		}
		for _, s := range strings.Split(p, "/")[1:] {
			switch {
			case s == "**":
				out = append(out, 3)
			case isPlaceholder(s):
				out = append(out, 2)
			default:
				out = append(out, 1)
			}
		}
		return append(out, 0) // the end: before a /** that stands for nothing
	}
	return slices.Compare(kinds(a), kinds(b))
}

func oracleMatch(patterns []Pattern, listener, authority, path, method string, grpc bool) (index int, state MethodState, allowed string) {
	host, best := oracleHost(authority), none
	var names []string
	for i, p := range patterns {
		if p.Listener != "" && p.Listener != listener || !oracleMatchesHost(p.Host, host) || !oracleMatchesPath(p.Path, path) {
			continue
		}
		names = append(names, p.Methods...)
		if slices.Contains(p.Methods, "GET") {
			names = append(names, "HEAD")
		}
		if oracleTakes(p, method, grpc) < 0 {
			if !p.GRPC {
				state = NotAllowed
			}
			continue
		}
		if best == none || oracleBefore(p, patterns[best], method, grpc) {
			best = i
		}
	}
	slices.Sort(names)
	allowed = strings.Join(slices.Compact(names), ", ")
	switch {
	case best != none:
		return best, Found, allowed
	case state != NotAllowed:
		return none, NotFound, allowed
	}
	return none, NotAllowed, allowed
}

// oracleBefore reports whether p, which stands later in the list, wins over q.
func oracleBefore(p, q Pattern, method string, grpc bool) bool {
	named := func(p Pattern) int { return min(len(p.Listener), 1) }
	return cmp.Or(
		named(q)-named(p),
		oracleCompareHosts(p.Host, q.Host),
		oracleComparePaths(p.Path, q.Path),
		cmp.Compare(oracleTakes(p, method, grpc), oracleTakes(q, method, grpc)),
	) < 0
}

// oracleSame reports whether two patterns have the same listener, host and path.
func oracleSame(p, q Pattern) bool {
	shape := func(p Pattern) string {
		segments := strings.Split(p.Path, "/")
		for i, s := range segments {
			if isPlaceholder(s) {
				segments[i] = "{}"
			}
		}
		path := strings.Join(segments, "/")
		if path == "" {
			path = "/**"
		}
		return p.Listener + " " + strings.ToLower(p.Host) + path
	}
	return shape(p) == shape(q)
}

// oracleConflict returns the first pattern that can never match, and the one that took its
// first method; none if all can.
func oracleConflict(patterns []Pattern) (i, j int) {
	for j, p := range patterns {
		first, left := none, false
		methods := p.Methods
		if len(methods) == 0 {
			methods = []string{""}
		}
		for n, m := range methods {
			taken := slices.IndexFunc(patterns[:j], func(q Pattern) bool {
				return oracleSame(p, q) && p.GRPC == q.GRPC && (m == "" && len(q.Methods) == 0 || m != "" && slices.Contains(q.Methods, m))
			})
			if n == 0 {
				first = taken
			}
			left = left || taken == none
		}
		if !left {
			return first, j
		}
	}
	return none, none
}
