package rewrite

// Edits of a route are checked and split when a configuration is compiled, so that applying
// them is appending bytes.

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/route"
)

// An Error is one thing that is wrong with the edits of a route.
type Error struct {
	Field  string // as the file calls it, below the route: "headers.request.set"
	Reason string
}

// Error names the field and the reason.
func (e *Error) Error() string { return e.Field + ": " + e.Reason }

// Compile checks and compiles the edits of one route. The error joins an *Error for each
// thing that is wrong.
func Compile(w config.Rewrite, h config.Headers) (*Rules, error) {
	var c compiler
	r := new(Rules)
	if strings.ContainsAny(w.StripPrefix, "{}") {
		r.parts = c.segments("rewrite.strip_prefix", w.StripPrefix)
	} else {
		r.strip = c.prefix("rewrite.strip_prefix", w.StripPrefix)
	}
	if w.Replace != nil {
		if w.Replace.Prefix == "" {
			c.fail("rewrite.replace.prefix", "missing; / is the prefix of every path")
		}
		r.replaces = true
		r.from = c.prefix("rewrite.replace.prefix", w.Replace.Prefix)
		r.to = c.prefix("rewrite.replace.with", w.Replace.With)
	}
	r.add = c.prefix("rewrite.add_prefix", w.AddPrefix)
	if w.Host == "endpoint" {
		r.endpoint = true
	} else if w.Host != "" {
		r.host = c.host("rewrite.host", w.Host)
	}
	r.request = c.edits("headers.request", h.Request)
	r.response = c.edits("headers.response", h.Response)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return r, nil
}

// compiler collects what is wrong, so that the operator sees all of it at once.
type compiler struct{ errs []error }

func (c *compiler) fail(field, format string, args ...any) {
	c.errs = append(c.errs, &Error{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// prefix returns the normal form of a path prefix, without a slash at its end: empty for /
// and for no prefix at all.
func (c *compiler) prefix(field, text string) []byte {
	if text == "" {
		return nil
	}
	norm, err := route.Normalize(nil, []byte(text))
	switch {
	case !strings.HasPrefix(text, "/"):
		c.fail(field, "%q does not start with /", text)
		return nil
	case err != nil:
		c.fail(field, "%q: %v", text, err)
		return nil
	case strings.Count(string(norm), "/") != strings.Count(text, "/") || strings.HasSuffix(string(norm), "/") != strings.HasSuffix(text, "/"):
		// Empty or dot segments: what was meant is not what would happen.
		c.fail(field, "%q is not in normal form: write %q", text, norm)
		return nil
	case strings.ContainsAny(text, "*{}"):
		c.fail(field, "%q is taken literally: a prefix has no *, { or }", text)
		return nil
	}
	return slices.Clip([]byte(strings.TrimSuffix(string(norm), "/")))
}

// segments returns the segments of a prefix in which {name} stands for any one segment:
// nil for those.
func (c *compiler) segments(field, text string) (parts [][]byte) {
	for segment := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSuffix(text, "/"), "/"), "/") {
		name, open := strings.CutPrefix(segment, "{")
		name, closed := strings.CutSuffix(name, "}")
		switch {
		case open && closed && name != "" && !strings.ContainsAny(name, "{}"):
			parts = append(parts, nil)
		case segment == "":
			c.fail(field, "%q has an empty segment", text)
			return nil
		case strings.ContainsAny(segment, "{}"):
			c.fail(field, "%q: a segment is literal or a {name} as a whole, not %q", text, segment)
			return nil
		default:
			parts = append(parts, bytes.TrimPrefix(c.prefix(field, "/"+segment), []byte("/")))
		}
	}
	if !strings.HasPrefix(text, "/") {
		c.fail(field, "%q does not start with /", text)
	}
	return parts
}

// host returns text if it is host or host:port.
func (c *compiler) host(field, text string) []byte {
	name, rest := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		name, rest = text[:i], text[i+1:]
		if port, err := strconv.ParseUint(rest, 10, 16); err != nil || port == 0 {
			c.fail(field, "%q: %q is not a port", text, rest)
			return nil
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if addr, err := netip.ParseAddr(inner); !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			c.fail(field, "%q: not an IPv6 address in brackets", text)
			return nil
		}
		return []byte(text)
	}
	if i := strings.IndexFunc(name, notHost); name == "" || i >= 0 {
		c.fail(field, "%q is not a host or host:port", text)
		return nil
	}
	return []byte(text)
}

// notHost reports that r does not belong in a host name as it is sent.
func notHost(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._", r))
}

// edits compiles one direction. Maps have no order: names are sorted, so that what is sent
// is always the same.
func (c *compiler) edits(field string, h config.HeaderEdit) (e edits) {
	seen := make(map[string]string)
	drop := func(name string) {
		e.drop = append(e.drop, target{kind: message.KindOf([]byte(name)), name: name})
	}
	for _, name := range h.Remove {
		if c.name(field, "remove", name) {
			drop(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.Set)) {
		if !c.name(field, "set", name) || !c.value(field+".set", name, h.Set[name]) {
			continue
		}
		if twin, ok := seen[strings.ToLower(name)]; ok {
			c.fail(field+".set", "%q and %q are one field: its case does not count", twin, name)
			continue
		}
		seen[strings.ToLower(name)] = name
		drop(name)
		e.add = append(e.add, message.NewField([]byte(name), []byte(h.Set[name])))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Add)) {
		if c.name(field, "add", name) && c.value(field+".add", name, h.Add[name]) {
			e.add = append(e.add, message.NewField([]byte(name), []byte(h.Add[name])))
		}
	}
	return e
}

// name checks a field name that shall be changed.
func (c *compiler) name(field, verb, name string) bool {
	if !message.ValidName([]byte(name)) {
		c.fail(field+"."+verb, "invalid field name %q", name)
		return false
	}
	why := ""
	switch message.KindOf([]byte(name)) {
	case message.Host:
		if field == "headers.request" {
			why = "use rewrite.host"
		} else {
			why = "a response has no Host"
		}
	case message.ContentLength, message.TransferEncoding, message.Trailer:
		why = "the proxy frames messages itself, and a wrong frame lets requests be smuggled"
	case message.Connection, message.KeepAlive, message.ProxyConnection, message.TE, message.Upgrade:
		why = "it is about one connection, and the proxy keeps its own with clients and endpoints"
	case message.Expect:
		why = "the proxy answers expectations itself"
	default:
		return true
	}
	c.fail(field+"."+verb, "%s cannot be changed: %s", name, why)
	return false
}

// value checks the value of a field that shall be sent.
func (c *compiler) value(field, name, value string) bool {
	if at := message.ValueLen([]byte(value)); at < len(value) {
		c.fail(field, "value of %s: byte %#02x at %d does not belong in a field", name, value[at], at)
		return false
	}
	if !message.ValidValue([]byte(value)) {
		c.fail(field, "value of %s: space around it would be lost", name)
		return false
	}
	return true
}
