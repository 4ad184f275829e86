package config

// Routes: their names, and where they lead.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poise-lb/poise/internal/nearest"
)

func (v *validator) routes(c *Config) {
	if len(c.Routes) == 0 {
		v.add("routes", "", "", "there is no route: at least one is needed")
	}
	services, discover := slices.Sorted(maps.Keys(c.Services)), slices.Sorted(maps.Keys(c.Discover))
	named := make(map[string]int, len(c.Routes))
	for i, r := range c.Routes {
		path := Index("routes", i)
		v.routeName(path, r.Name, i, named)
		v.leads(path, &r, services, discover)
		v.split(Key(path, "split"), r.Split, services)
		v.labels(Key(path, "labels"), r.Labels)
		v.listener(path, r.Match.Listener, c.Listen)
		for j, m := range r.Match.Methods {
			at := Index(Key(Key(path, "match"), "methods"), j)
			switch {
			case !isToken(m):
				v.add(at, m, "", fmt.Sprintf("%q is not a method", m))
			case strings.ToUpper(m) != m:
				v.add(at, m, strings.ToUpper(m), fmt.Sprintf("%q: methods are case-sensitive", m))
			}
		}
		v.calls(Key(path, "match"), &r.Match)
		for _, name := range r.Names() {
			if s, ok := c.Services[name]; ok && r.Match.GRPC != "" {
				v.needsHTTP2(Key("services", name), "a route of gRPC", &s)
			}
		}
		v.rewrite(Key(path, "rewrite"), &r.Rewrite)
		v.cors(Key(path, "cors"), r.CORS)
		v.grpcWeb(&r, c)
	}
}

// routeName checks the name of route i; named are those of the routes before it.
func (v *validator) routeName(path, name string, i int, named map[string]int) {
	if name == "" {
		return
	}
	if !isName(name) {
		v.add(Key(path, "name"), name, "", fmt.Sprintf("%q is no name: letters, digits, and between them dots, - and _, at most %d bytes", name, nameMax))
	}
	if first, taken := named[name]; taken {
		v.add(Key(path, "name"), name, "", fmt.Sprintf("%s has the name %q already", Index("routes", first), name))
		return
	}
	named[name] = i
}

// listenerName checks the name of listener i; named are those of the listeners before it.
func (v *validator) listenerName(i int, name string, named map[string]int) {
	at := Key(Index("listen", i), "name")
	switch first, taken := named[name]; {
	case name == "":
		return
	case !isName(name):
		v.add(at, name, "", fmt.Sprintf("%q is no name: letters, digits, and between them dots, - and _, at most %d bytes", name, nameMax))
	case taken:
		v.add(at, name, "", fmt.Sprintf("%s has the name %q already", Index("listen", first), name))
	default:
		named[name] = i
	}
}

// listener checks the listener that the route at path names. A program without addresses in its
// configuration names its listeners itself, so that any name may be right.
func (v *validator) listener(path, name string, listen []Listen) {
	if name == "" || len(listen) == 0 {
		return
	}
	var names []string
	for _, l := range listen {
		if l.Name == name {
			return
		}
		if l.Name != "" {
			names = append(names, l.Name)
		}
	}
	v.add(Key(Key(path, "match"), "listener"), name, nearest.Word(name, names), fmt.Sprintf("no entry of listen has the name %q", name))
}

// leads checks where a route leads.
func (v *validator) leads(path string, r *Route, services, discover []string) {
	switch {
	case r.Service != "" && r.Split != nil:
		v.add(Key(path, "split"), "", "", "a route leads to a service or to those of split, not both")
	case r.Split != nil && r.Discover != "":
		v.add(Key(path, "split"), "", "", "a route leads to the services of split or to what discover finds, not both")
	case r.Split != nil:
	case r.Service == "" && r.Discover == "":
		v.add(Key(path, "service"), "", "", "is missing: name of the service; or else split or discover")
	case r.Service != "" && r.Discover != "":
		v.add(Key(path, "discover"), r.Discover, "", "a route leads to a service or to what discover finds, not both")
	case r.Service != "" && !slices.Contains(services, r.Service):
		v.add(Key(path, "service"), r.Service, nearest.Word(r.Service, services), fmt.Sprintf("there is no service %q", r.Service))
	case r.Discover != "" && !slices.Contains(discover, r.Discover):
		v.add(Key(path, "discover"), r.Discover, nearest.Word(r.Discover, discover), fmt.Sprintf("discover has no entry %q", r.Discover))
	}
	switch {
	case r.Discover == "" || slices.Contains(strings.Split(r.Match.PathPattern(), "/"), placeholder):
	case r.Match.GRPC != "":
		v.add(Key(Key(path, "match"), "grpc"), r.Match.GRPC, "*", "names the service itself: with * it is the call that names the service to discover")
	default:
		v.add(Key(Key(path, "match"), "path"), r.Match.Path, "", "has no segment {service}, which names the service to discover")
	}
}

func (v *validator) rewrite(path string, r *Rewrite) {
	prefixes := []struct{ at, prefix string }{
		{Key(path, "strip_prefix"), r.StripPrefix},
		{Key(path, "add_prefix"), r.AddPrefix},
	}
	if r.Replace != nil {
		at := Key(path, "replace")
		prefixes = append(prefixes, struct{ at, prefix string }{Key(at, "prefix"), r.Replace.Prefix},
			struct{ at, prefix string }{Key(at, "with"), r.Replace.With})
	}
	for _, p := range prefixes {
		if p.prefix != "" && !strings.HasPrefix(p.prefix, "/") {
			v.add(p.at, p.prefix, "/"+p.prefix, fmt.Sprintf("%q does not begin with a slash", p.prefix))
		}
	}
}
