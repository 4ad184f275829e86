package config

// Health checks: what a probe sends, and what it may look at.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (v *validator) health(path string, h *Health) {
	if h.Connects() {
		v.given(path, h, "a check that only connects sends no request: leave it out", "expect", "host", "headers", "match")
	} else if service, ok := h.GRPC(); ok {
		v.asksGRPC(path, h, service)
	} else if h.Check != "" {
		near := nearCheck(h.Check)
		if _, _, err := splitCheck(h.Check); err != nil {
			v.add(Key(path, "check"), h.Check, near, err.Error())
		} else if near != "" {
			v.add(Key(path, "check"), h.Check, near, fmt.Sprintf("%q: methods are case-sensitive", h.Check))
		}
	}
	v.probeRequest(path, h)
	if h.Timeout > h.Interval {
		v.add(Key(path, "timeout"), h.Timeout.String(), "", fmt.Sprintf("%s is longer than the interval, %s", h.Timeout, h.Interval))
	}
	if h.Expect != nil && len(h.Expect) == 0 {
		v.add(Key(path, "expect"), "", "", "no status would ever pass")
	}
	for i, text := range h.Expect {
		if _, err := parseStatuses(text); err != nil {
			v.add(Index(Key(path, "expect"), i), text, "", err.Error())
		}
	}
}

// given finds those of the keys which are given though a check like h has no use for them.
func (v *validator) given(path string, h *Health, message string, keys ...string) {
	defaults := Health{}.WithDefaults()
	for _, one := range []struct {
		key   string
		given bool
	}{
		{"expect", !slices.Equal(h.Expect, defaults.Expect)}, {"host", h.Host != ""},
		{"headers", len(h.Headers) > 0}, {"match", h.Match != "" || h.MatchFunc != nil},
	} {
		if one.given && slices.Contains(keys, one.key) {
			v.add(Key(path, one.key), "", "", message)
		}
	}
}

// probeRequest checks what a probe sends besides its first line, and what it wants to read.
func (v *validator) probeRequest(path string, h *Health) {
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		at, value := Key(Key(path, "headers"), name), h.Headers[name]
		switch {
		case !isToken(name):
			v.add(at, name, "", fmt.Sprintf("%q is not the name of a field", name))
		case strings.EqualFold(name, "host") && h.Host != "":
			v.add(at, value, "", "is given as host already")
		case slices.ContainsFunc(framing, func(f string) bool { return strings.EqualFold(f, name) }):
			v.add(at, name, "", "a probe has no content and one connection to itself: this field is not yours to set")
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			v.add(at, "", "", "the value has a character that no field can carry")
		}
	}
	if _, err := h.Matcher(); err != nil {
		v.add(Key(path, "match"), h.Match, "", err.Error())
	}
	if method, _, _ := strings.Cut(h.Check, " "); (h.Match != "" || h.MatchFunc != nil) && method == "HEAD" {
		v.add(Key(path, "match"), h.Match, "", "the response to HEAD has no content: check with GET")
	}
}

// framing are the fields that say how a message is delimited, or belong to the connection.
var framing = []string{"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Expect", "Keep-Alive"}

// nearCheck guesses what a check was meant to be, if it is a path alone or has a method
// in lower case.
func nearCheck(check string) string {
	method, target, found := strings.Cut(check, " ")
	if low := strings.ToLower(check); low == checkGRPC || low == checkConnect {
		return low
	}
	near := strings.ToUpper(method) + " " + target
	if !found {
		near = "HEAD " + check
	}
	if _, _, err := splitCheck(near); err != nil || near == check {
		return ""
	}
	return near
}
