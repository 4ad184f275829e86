package script

import (
	"maps"
	"slices"
	"strings"
)

// A jar has the cookies that responses have set, as a browser keeps them: by name.
type jar map[string]string

// cookies adds the field Cookie of the jar that o names to a request that is about to be sent.
func (p *play) cookies(o *options) {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(p.jars[o.cookies])) {
		pairs = append(pairs, name+"="+p.jars[o.cookies][name])
	}
	if pairs != nil {
		o.fields = append(o.fields, field{"Cookie", strings.Join(pairs, "; ")})
	}
}

// keepCookies puts the cookies that a response sets into the jar of that name; empty: there is none.
func (p *play) keepCookies(name string, m *message) {
	if name == "" {
		return
	}
	if p.jars == nil {
		p.jars = make(map[string]jar)
	}
	if p.jars[name] == nil {
		p.jars[name] = make(jar)
	}
	for _, text := range m.get("Set-Cookie") {
		pair, _, _ := strings.Cut(text, ";")
		key, value, _ := strings.Cut(pair, "=")
		p.jars[name][key] = value
	}
}
