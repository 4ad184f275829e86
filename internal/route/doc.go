// Package route finds the route of a request: which of thousands of patterns matches it
// best. Patterns are compiled by Build into an immutable Tree; Match allocates nothing,
// takes no lock and costs the same with ten routes and with ten thousand.
//
// # Patterns
//
// A pattern names a listener, a host, a path and methods; what it leaves empty matches everything.
//
//	host    api.example.com    that host, in any case, with any port
//	        *.example.com      every host below example.com, one label or more, but not
//	                           example.com itself
//	path    /users             that path only; /users/ is another one
//	        /users/{id}        one segment, not empty, in the place of {id}
//	        /users/**          /users itself and everything below it
//	        /** or empty       every path, and the "*" of OPTIONS *
//	methods [GET, POST]        those; GET takes HEAD with it, unless another pattern of the
//	                           same host and path names HEAD
//	GRPC                       in place of methods: gRPC calls alone, those of gRPC-Web too
//	listener inbound           requests that came by the listener of that name
//
// # Precedence
//
// The most specific of the patterns that match host, path and method wins, wherever it
// stands in the list. Specific means, in this order:
//
//  1. listener: named, then any;
//  2. host: exact, then the longer wildcard, then the shorter, then none;
//  3. path, segment by segment from the left, until two patterns differ: a literal
//     segment, then {name}, then /**, where a path that ends is before a /** that stands
//     for nothing. So /a/{x} wins over /a/**, and /a/b/** over /a/{x}/c;
//  4. method: GRPC, then named (HEAD itself before the HEAD that GET brings), then any;
//  5. the order of the list, where two patterns name one method.
//
// A pattern that matches host and path but not the method steps back for a less specific
// one that takes it: 405 is the answer only if none does. Two patterns of the same host
// and path where the later one is left without a method of its own are a ConflictError.
//
// # The path that is matched
//
// Patterns are matched with the normal form of a path, which Normalize makes; the path that
// goes to the endpoint is the raw one, of which a rewrite changes the front (Rest). In normal
// form
//
//   - percent-encoded unreserved characters are decoded, hex digits of the other encodings
//     are in upper case (RFC 3986 §6.2.2), and bytes that may not stand in a path as they
//     are, such as UTF-8, are percent-encoded;
//   - empty segments are merged: // is /. This happens before dot segments are removed, as in
//     nginx, path.Clean and file systems, so /a//../b is /b;
//   - dot segments, also encoded ones, are removed (RFC 3986 §5.2.4).
//
// A trailing slash stays. Reserved characters and their encodings stay different, as
// RFC 3986 §2.2 has it: %24 is not $. An encoded slash (%2F) stays encoded and never
// separates segments. "..;x" is an ordinary segment.
//
// What a proxy and an endpoint may read in two ways is not matched but refused (BadPath,
// for a 400), because an operator may rely on a route as a boundary:
//
//   - a backslash (raw or %5C), which is a slash for some. It is in the normal form as %5C, so
//     that a caller whose route says so may let it pass;
//   - %00, a control character, space, # or ? that is raw, and a
//     percent sign without two hex digits;
//   - dot segments that climb above the root. RFC 3986 would drop them, but clients that
//     follow it resolve them before they send, the raw path is forwarded, and not every
//     endpoint drops them;
//   - ".." between encoded slashes or backslashes, as in /public/..%2Fadmin, which is a climb for an
//     endpoint that decodes %2F.
package route
