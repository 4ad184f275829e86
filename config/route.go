package config

// A route: which requests it takes, what it changes in them, and where they go.

import (
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/filter"
)

// Route leads the requests it matches to a service: exactly one of Service and Discover is
// given.
type Route struct {
	// Name is the route's name in the access log, and its identity for counters: those of a
	// route that keeps its name outlive a reload, wherever in the list it stands. Empty: the
	// identity is made of Match; see Identity.
	Name    string  `yaml:"name" doc:"name in the access log and for counters, which outlive a reload as long as the name stays: letters, digits, and between them - _ . ; absent: what match says"`
	Match   Match   `yaml:"match" doc:"which requests; absent: all"`
	Rewrite Rewrite `yaml:"rewrite" doc:"changes to path and host before forwarding"`
	Headers Headers `yaml:"headers" doc:"changes to header fields"`
	// Filters are further filters of the route, for programs of this module: their type is
	// internal. Go only.
	Filters []filter.Filter `yaml:"-" json:"-"`
	Service string          `yaml:"service" doc:"name of the service; or else discover"`
	// Discover is the name of an entry of Config.Discover. The segment {service} of the
	// path is then the name of the service.
	Discover string `yaml:"discover" doc:"name of the entry of discover; the path has a segment {service}, which is the name of the service"`
	// Paths says what becomes of a path that some endpoints read in another way: "strict" (the
	// default) refuses a backslash, raw or as %5C; "lenient" takes it for an ordinary
	// character, as endpoints on other systems than Windows do. Neither lets .. through beside
	// a backslash or an encoded slash.
	Paths string `yaml:"paths" doc:"strict: a backslash in a path, also as %5C, is refused; lenient: it is a character like others" enum:"strict,lenient" default:"strict"`
	// Timeout bounds the whole exchange; of event streams and upgrades only the time up to
	// the response head. 0 means 60 s up to the response head, and after it only Stall.
	// None: even the response head may take any time, as that of a long poll.
	Timeout time.Duration `yaml:"timeout" doc:"for the whole exchange; of event streams and upgrades up to the response head; none: no limit; absent: 60s up to the response head" none:"true"`
	// Stall is how long an endpoint may be silent within the content of a response, instead
	// of Timeouts.Stall. 0 means that one, except that event streams may be silent for any
	// time; None: all responses may.
	Stall time.Duration `yaml:"stall" doc:"how long an endpoint may be silent within the content of a response; none: no limit; absent: timeouts.stall, and no limit for event streams" none:"true"`
}

// Match says which requests a route takes. Empty fields match everything.
type Match struct {
	Host    string   `yaml:"host" doc:"exact, or with one leading wildcard label: *.example.com" example:"api.example.com"`
	Path    string   `yaml:"path" doc:"exact, with {name} for one segment, or ending in /** for all below" example:"/users/{id}/orders/**"`
	Methods []string `yaml:"methods" doc:"methods; empty: all" example:"GET"`
}

// Rewrite changes path and host before forwarding, in the order of the fields.
type Rewrite struct {
	StripPrefix string   `yaml:"strip_prefix" doc:"taken off the front of the path; {name} stands for any one segment" example:"/api/v1"`
	Replace     *Replace `yaml:"replace" doc:"one prefix for another"`
	AddPrefix   string   `yaml:"add_prefix" doc:"put in front of the path"`
	// Host is sent instead of the client's; "endpoint" is the host of the endpoint's URL.
	Host string `yaml:"host" doc:"Host to send instead of the client's; the word endpoint is that of the endpoint's URL"`
}

// Replace replaces the prefix of a path.
type Replace struct {
	Prefix string `yaml:"prefix" doc:"what the path starts with" required:"true" example:"/api/v1/users"`
	With   string `yaml:"with" doc:"what it starts with afterwards" example:"/users"`
}

// Headers changes header fields, both ways.
type Headers struct {
	Request  HeaderEdit `yaml:"request" doc:"before forwarding"`
	Response HeaderEdit `yaml:"response" doc:"before answering"`
}

// HeaderEdit is applied in the order remove, set, add.
type HeaderEdit struct {
	Set    map[string]string `yaml:"set" doc:"replaces every field of that name"`
	Add    map[string]string `yaml:"add" doc:"adds a field beside others of that name"`
	Remove []string          `yaml:"remove" doc:"names of fields to take out"`
}

// Identity is what tells a route from all others, whatever index it has: its Name or, if it
// has none, what it matches, as "GET,PUT shop.example.com/cart/**". No two routes of a
// valid configuration have the same, because no two may match the same, and a name has no
// slash.
func (r *Route) Identity() string {
	if r.Name != "" {
		return r.Name
	}
	path := r.Match.Path
	if path == "" {
		path = "/**"
	}
	if len(r.Match.Methods) == 0 {
		return r.Match.Host + path
	}
	methods := slices.Clone(r.Match.Methods)
	slices.Sort(methods)
	return strings.Join(methods, ",") + " " + r.Match.Host + path
}
