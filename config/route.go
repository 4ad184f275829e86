package config

// A route: which requests it takes, what it changes in them, and where they go.

import (
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/filter"
)

// Route leads the requests it matches to a service: exactly one of Service, Split and Discover
// is given.
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
	// GRPCWeb translates requests of gRPC-Web to gRPC, and responses back. Others pass as they are.
	// The service's endpoints have to speak HTTP/2.
	GRPCWeb bool `yaml:"grpc_web" doc:"translate gRPC-Web, which browsers speak, to gRPC"`
	// CORS lets pages of other origins read responses; nil: what endpoints say of that passes.
	CORS    *CORS  `yaml:"cors" doc:"which pages of other origins may read responses; absent: what the endpoints say"`
	Service string `yaml:"service" doc:"name of the service; or else split or discover"`
	// Split shares the requests among several services; nil: there is one.
	Split *Split `yaml:"split" doc:"several services that share the requests by weight: a list, or a mapping; in place of service"`
	// Labels are entries in the metadata of endpoints: requests of the route go to endpoints that have
	// all of them, and get 503 if none is usable. They stand in the place of Service.Lanes. Empty: any
	// endpoint will do.
	Labels map[string]string `yaml:"labels" doc:"metadata of the endpoints that get the requests, all of it; in place of the lanes of the service" example:"{version: v2}"`
	// Discover is the name of an entry of Config.Discover. The segment {service} of the
	// path is then the name of the service.
	Discover string `yaml:"discover" doc:"name of the entry of discover; the path has a segment {service}, which is the name of the service"`
	// Paths says what becomes of a path that some endpoints read in another way: "strict" (the
	// default) refuses a backslash, raw or as %5C; "lenient" takes it for an ordinary
	// character, as endpoints on other systems than Windows do. Neither lets .. through beside
	// a backslash or an encoded slash.
	Paths string `yaml:"paths" doc:"strict: a backslash in a path, also as %5C, is refused; lenient: it is a character like others" enum:"strict,lenient" default:"strict"`
	// Hedge says which requests may be sent to two endpoints at once, if the service has a Hedge:
	// "safe" (the default) those with GET, HEAD, OPTIONS or TRACE, "idempotent" PUT and DELETE as
	// well, "all" any, which calls of gRPC need: endpoints may get them twice. "off": none.
	Hedge string `yaml:"hedge" doc:"which requests may be sent to two endpoints at once, if the service has hedge: safe (GET, HEAD, OPTIONS, TRACE), idempotent (PUT and DELETE, too), all (POST and gRPC, too), off" enum:"safe,idempotent,all,off" default:"safe"`
	// Timeout bounds the whole exchange; of event streams and upgrades only the time up to
	// the response head, of gRPC that from the end of the request to it. 0 means 60 s up to the
	// response head, and after it only Stall; of gRPC no limit but the client's.
	// None: even the response head may take any time, as that of a long poll.
	Timeout time.Duration `yaml:"timeout" doc:"for the whole exchange; of event streams, gRPC and upgrades up to the response head; none: no limit; absent: 60s up to the response head, of gRPC no limit" none:"true"`
	// Stall is how long an endpoint may be silent within the content of a response, instead
	// of Timeouts.Stall. 0 means that one, except that event streams may be silent for any
	// time; None: all responses may.
	Stall time.Duration `yaml:"stall" doc:"how long an endpoint may be silent within the content of a response; none: no limit; absent: timeouts.stall, and no limit for event streams" none:"true"`
}

// Match says which requests a route takes. Empty fields match everything.
type Match struct {
	// Listener is the name of one of Config.Listen, or of a listener that was named by
	// Proxy.NamedListener. Routes that name one win over those that do not.
	Listener string   `yaml:"listener" doc:"name of the listener by which requests come; absent: any" example:"inbound"`
	Host     string   `yaml:"host" doc:"exact, or with one leading wildcard label: *.example.com" example:"api.example.com"`
	Path     string   `yaml:"path" doc:"exact, with {name} for one segment, or ending in /** for all below" example:"/users/{id}/orders/**"`
	Methods  []string `yaml:"methods" doc:"methods; empty: all" example:"GET"`
	// GRPC takes gRPC calls alone, those of gRPC-Web too, in place of Path and Methods: "*" is
	// every call, "shop.Cart/*" every method of a service, "shop.Cart/Add" one method.
	GRPC string `yaml:"grpc" doc:"gRPC calls alone, in place of path and methods: a service and a method, shop.Cart/* for all of its methods, * for every call" example:"shop.Cart/*"`
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

// CORS answers preflights in place of the endpoints, and says in every response which pages may read
// it. What an endpoint says of that is replaced.
type CORS struct {
	// Origins are scheme://host with the port if it is not the scheme's, "https://*.example.com"
	// for every host below one, or "*" alone for any origin.
	Origins []string `yaml:"origins" doc:"origins of pages: scheme://host, with the port if it is another one than the scheme's; https://*.example.com; or * for any" required:"true" example:"[https://shop.example.com]"`
	// Headers are the fields that requests may have besides the harmless ones. Empty: any.
	Headers []string `yaml:"headers" doc:"fields that requests may have; absent: any"`
	Expose  []string `yaml:"expose" doc:"fields of responses that pages may read besides the simple ones; grpc_web adds its own"`
	// Credentials lets pages send cookies and certificates. Not with the origin "*".
	Credentials bool `yaml:"credentials" doc:"pages may send cookies"`
	// MaxAge is how long a browser may go by the answer to a preflight.
	MaxAge time.Duration `yaml:"max_age" doc:"how long browsers keep the answer to a preflight" default:"10m" max:"24h"`
}

// HeaderEdit is applied in the order remove, set, add.
type HeaderEdit struct {
	Set    map[string]string `yaml:"set" doc:"replaces every field of that name"`
	Add    map[string]string `yaml:"add" doc:"adds a field beside others of that name"`
	Remove []string          `yaml:"remove" doc:"names of fields to take out"`
}

// Identity distinguishes a route from all others, whatever index it has: its Name or, if it
// has none, what it matches, as "GET,PUT shop.example.com/cart/**", "@inbound /**" or
// "grpc shop.Cart/*" (with a host: "grpc shop.example.com/shop.Cart/*"). No two routes
// of a valid configuration have the same, because no two may match the same, and a name has no
// slash.
func (r *Route) Identity() string {
	if r.Name != "" {
		return r.Name
	}
	path, at := r.Match.Path, ""
	if path == "" {
		path = "/**"
	}
	if r.Match.Listener != "" {
		at = "@" + r.Match.Listener + " "
	}
	if r.Match.GRPC != "" {
		return at + "grpc " + strings.TrimPrefix(r.Match.Host+"/"+r.Match.GRPC, "/")
	}
	if len(r.Match.Methods) == 0 {
		return at + r.Match.Host + path
	}
	methods := slices.Clone(r.Match.Methods)
	slices.Sort(methods)
	return at + strings.Join(methods, ",") + " " + r.Match.Host + path
}
