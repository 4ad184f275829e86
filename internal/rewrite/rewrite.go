// Package rewrite changes heads on their way: path, host and fields of a request before it
// is forwarded, fields of a response before it is answered. Compile checks a route's edits
// once; applying them neither allocates nor looks anything up.
//
// A path is changed in the order strip_prefix, replace, add_prefix. Prefixes are whole
// segments: /api/v1 is a prefix of /api/v1 and of /api/v1/users, not of /api/v10. A slash
// at the end of a prefix says nothing. In strip_prefix a segment {name} stands for any one
// segment, so that a route to a discovered service can take its name off.
//
// Whether a prefix applies is decided on the normal form of the path (package route), so
// that edits see what was matched. What stands behind the prefix goes out as it was received,
// byte for byte: endpoints may have signed it, or have keys in which // and %2F mean
// something. Dot segments that climb into the prefix are a part of it; those behind it never
// climb out of what is left. If no edit applies, the whole path is forwarded as received.
// The query and the "*" of OPTIONS * are never touched. When a prefix was stripped, the
// endpoint learns of it by X-Forwarded-Prefix, which replaces the client's.
//
// Fields are changed in the order remove, set, add, after the path, so that set has the
// last word on X-Forwarded-Prefix, too. Fields that frame a message or belong to one
// connection are the proxy's own and cannot be changed.
package rewrite

import (
	"bytes"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/route"
)

// Rules are the compiled edits of one route. They are never modified after Compile: any
// number of goroutines may use them at once. A nil *Rules, like the zero Rules, changes
// nothing.
type Rules struct {
	strip []byte   // without the slash at its end, like all prefixes here; empty: nothing
	parts [][]byte // instead of strip if it has a {name}: its segments, nil for any one
	from  []byte   // prefix to replace; matches all paths if it is empty
	to    []byte
	add   []byte

	replaces bool // from is meant, though it may be empty
	endpoint bool // host: endpoint
	host     []byte

	request, response edits
}

// forwardedPrefix is the field that says under which path the client sees it.
var forwardedPrefix = []byte("X-Forwarded-Prefix")

// Request applies the rules to q, once per exchange, after the fields of the client's
// connection were dropped. norm is the normal form of q.Path. A path with a new prefix is
// appended to scratch, which is returned and must be kept as it is for as long as q; norm may
// be a part of what scratch already holds. One that only loses its prefix stays where it is. q.Host is set if the rules name a host; the Host field
// among q.Fields stays as it is; the sender of q leaves it out. q.Target stays, too. New
// fields are appended to q.Fields, replaced ones are marked as dropped; the bytes of new
// ones belong to r, or to norm.
func (r *Rules) Request(q *message.Request, norm, scratch []byte) []byte {
	if r == nil {
		return scratch
	}
	if len(norm) > 0 && norm[0] == '/' {
		scratch = r.path(q, norm, scratch)
	}
	if len(r.host) > 0 {
		q.Host = r.host
	}
	q.Fields = r.request.apply(q.Fields)
	return scratch
}

// path changes q.Path. The prefixes only ever cut off the front of the path or come before
// it, so the result is two prefixes and a rest: what the client sent behind the prefix, byte
// for byte.
func (r *Rules) path(q *message.Request, norm, scratch []byte) []byte {
	rest, stripped := r.cutStrip(norm)
	cut := len(norm) - len(rest)
	replaced := false
	if r.replaces {
		rest, replaced = cutPrefix(rest, r.from)
	}
	if !stripped && !replaced && len(r.add) == 0 {
		return scratch
	}
	rest = rawRest(q.Path, norm, len(norm)-len(rest))
	if replaced && len(r.to) > 0 || len(r.add) > 0 {
		start := len(scratch)
		scratch = append(scratch, r.add...)
		if replaced {
			scratch = append(scratch, r.to...)
		}
		scratch = append(scratch, rest...)
		rest = scratch[start:]
	}
	if q.Path = rest[:len(rest):len(rest)]; len(rest) == 0 {
		q.Path = root
	}
	if stripped {
		message.Drop(q.Fields, message.XForwardedPrefix)
		q.Fields = append(q.Fields, message.Field{Name: forwardedPrefix, Value: norm[:cut:cut], Kind: message.XForwardedPrefix})
	}
	return scratch
}

var root = []byte("/")

// rawRest is what stands in raw behind the first cut bytes of norm, its normal form, which
// are whole segments.
func rawRest(raw, norm []byte, cut int) []byte {
	if len(raw) == 0 {
		return root // of an absolute form without a path
	}
	if string(raw) == string(norm) {
		return raw[cut:]
	}
	return raw[route.Rest(raw, bytes.Count(norm[:cut], root)):]
}

// cutStrip cuts the prefix that is to be stripped off the front of norm.
func (r *Rules) cutStrip(norm []byte) (rest []byte, ok bool) {
	if len(r.parts) == 0 {
		rest, ok = cutPrefix(norm, r.strip)
		return rest, ok && len(r.strip) > 0
	}
	rest = norm
	for _, part := range r.parts {
		if len(rest) < 2 || rest[0] != '/' {
			return norm, false
		}
		end := bytes.IndexByte(rest[1:], '/') + 1
		if end == 0 {
			end = len(rest)
		}
		if segment := rest[1:end]; len(segment) == 0 || part != nil && !bytes.Equal(segment, part) {
			return norm, false
		}
		rest = rest[end:]
	}
	return rest, true
}

// cutPrefix cuts whole segments off the front of path; what remains is empty or begins
// with a slash.
func cutPrefix(path, prefix []byte) (rest []byte, ok bool) {
	n := len(prefix)
	if len(path) < n || string(path[:n]) != string(prefix) {
		return path, false
	}
	if len(path) > n && path[n] != '/' {
		return path, false
	}
	return path[n:], true
}

// Response applies the rules to p, once for each response that is sent to the client.
func (r *Rules) Response(p *message.Response) {
	if r != nil {
		p.Fields = r.response.apply(p.Fields)
	}
}

// HostOfEndpoint reports whether the Host to send is that of the endpoint that was picked
// (host: endpoint), which only the caller knows.
func (r *Rules) HostOfEndpoint() bool { return r != nil && r.endpoint }

// edits are changes to the fields of one direction.
type edits struct {
	drop []target        // removed, or replaced by one of add
	add  []message.Field // set and add, in this order, by name
}

// target is a name to drop; name is needed only if kind is Other.
type target struct {
	kind message.Kind
	name string
}

// apply marks fields as dropped before it appends, so that it never drops its own.
func (e *edits) apply(fields []message.Field) []message.Field {
	for _, t := range e.drop {
		if t.kind != message.Other {
			message.Drop(fields, t.kind)
			continue
		}
		for i := range fields {
			if message.EqualFold(fields[i].Name, t.name) {
				fields[i].Drop = true
			}
		}
	}
	return append(fields, e.add...)
}
