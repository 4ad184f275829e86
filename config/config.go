// Package config is the model of Poise's configuration: the same structs in Go and in the
// file. The tags are the one truth about a field; decoding, defaults, validation and the
// schema all read them:
//
//	yaml      its name in the file; - keeps it out of the file; ,inline of an embedded
//	          struct has its fields stand among those around it
//	doc       a line of help
//	default   its value when it is zero, nil or absent; words of a list are split at commas
//	enum      the words it may have
//	min, max  the bounds of a number or duration, after defaults; without min, not below 0
//	required  "true": must be given, and not be empty
//	short     "true": a plain value in place of its struct means this field
//	unit      "percent": the file may write 50% for 50; "bytes": 64KiB for 65536
//	none      "true": the file may write none for a duration, which is the constant None
//	path      "true": a relative path stands on the folder of the configuration file
//	example   for people and editors
//	zero      the bool field beside it that an explicit 0 in the file sets; the number then
//	          has its default
//
// What cannot be said in a tag is in Validate.
package config

import (
	"log/slog"
	"time"

	"github.com/poise-lb/poise/internal/tags"
	"github.com/poise-lb/poise/policy"
)

// None in place of a duration is no limit at all, where a field says that it may be: zero is
// the default there, as everywhere. In the file it is the word none.
const None = tags.NoDuration

// Config is everything a Proxy needs to know. The configuration file is this struct in
// YAML, with the names in the tags; the zero value of every field is a useful default.
// A Config is not modified by the Proxy and must not be modified after New or Apply.
type Config struct {
	// Version of the format: 1. Zero means 1 in Go; a file must say it.
	Version int `yaml:"version" doc:"version of this format: 1" required:"true" enum:"1" default:"1"`
	// Listen lists the addresses the binary serves. A Proxy that is mounted as a handler
	// or given listeners by Serve ignores it.
	Listen []Listen `yaml:"listen" doc:"addresses to serve"`
	// TrustedProxies are the peers whose X-Forwarded-* and X-Real-IP fields are believed,
	// as IP addresses or prefixes. Empty: no client's are, they are replaced.
	TrustedProxies []string `yaml:"trusted_proxies" doc:"peers whose X-Forwarded-* fields are believed: addresses or prefixes"`
	// HalfClose says what a client means that ends its sending side behind a complete request,
	// over plain TCP: "answer" (the default), that it waits for the response, after which its
	// connection is closed; "leave", that it has left, so that its request is broken off. A
	// program that closes its connection looks the same at first: with answer it is noticed
	// when something is written to it, or by TCP's probes. Resets, the end of a TLS connection
	// and those of HTTP/2 are departures in any case.
	HalfClose string             `yaml:"half_close" doc:"a client that ends its sending side behind its request: answer it, or take it for one that leaves" enum:"answer,leave" default:"answer"`
	Timeouts  Timeouts           `yaml:"timeouts" doc:"limits of time on the client's side"`
	Limits    Limits             `yaml:"limits" doc:"limits of size and number"`
	Log       Log                `yaml:"log" doc:"the proxy's own log"`
	AccessLog AccessLog          `yaml:"access_log" doc:"one JSON line per request"`
	Services  map[string]Service `yaml:"services" doc:"sets of endpoints, by name"`
	// Discover are patterns of services: a route that names one leads to whatever service
	// of that name the registry has. Services and Discover may not both be empty.
	Discover map[string]Discover `yaml:"discover" doc:"patterns of services that a registry knows, by name"`
	Routes   []Route             `yaml:"routes" doc:"which requests lead to which service; the most specific match wins"`
	// Snapshot is a folder in which the last sets of the sources are kept, for a start while
	// a registry is down. Empty: nothing is written to disk.
	Snapshot string `yaml:"snapshot" doc:"folder for the last sets of sources, for a start while a registry is down; empty: nothing is written" path:"true" example:"/var/lib/poise"`

	// Logger receives the proxy's own log; nil: slog.Default(). Go only.
	Logger *slog.Logger `yaml:"-"`
	// Sources are the kinds of sources that Service.Source and Discover may name besides dns and
	// file: sources.All() of package poise/sources, or some of its kinds. They are given to New,
	// which links nothing else, and Apply does not look at them. Of two for the same key the
	// later one is used. Go only.
	Sources []SourceKind `yaml:"-"`

	// Engine is what reads and writes the connections that Serve accepts: "loop", event
	// loops, one per processor that runs Go (Linux only); "goroutine", a goroutine for each
	// connection; "" or "auto": loop where there is one and the listener allows it. Go only,
	// and read by New only.
	Engine string `yaml:"-"`

	// Workers is how many event loops there are; 0: one per processor that runs Go
	// (GOMAXPROCS when New is called). Go only, and read by New only.
	Workers int `yaml:"-"`
}

// Listen is one address to serve.
type Listen struct {
	Address string `yaml:"address" doc:"host:port; an empty host is every address" required:"true" short:"true" example:"127.0.0.1:8080"`
	TLS     *TLS   `yaml:"tls" doc:"terminate TLS here"`
}

// TLS terminates TLS on a listener.
type TLS struct {
	// Certificates are chosen by the name the client asks for (SNI); the first is used
	// when none fits. The files are read again when they change.
	Certificates []Certificate `yaml:"certificates" doc:"chosen by server name; the first is the default" required:"true"`
	// MinVersion is "1.2" (the default) or "1.3".
	MinVersion string `yaml:"min_version" doc:"lowest protocol version" enum:"1.2,1.3" default:"1.2"`
}

// Certificate is a pair of PEM files.
type Certificate struct {
	Cert string `yaml:"cert" doc:"PEM file with the certificate chain" required:"true" path:"true"`
	Key  string `yaml:"key" doc:"PEM file with the private key" required:"true" path:"true"`
}

// Timeouts bound waits on the client's side.
type Timeouts struct {
	Head  time.Duration `yaml:"head" doc:"from the first byte of a request head to its last" default:"10s" min:"1ms"`
	Idle  time.Duration `yaml:"idle" doc:"between requests on a connection" default:"75s" min:"1ms"`
	Stall time.Duration `yaml:"stall" doc:"without any progress while a body is relayed" default:"60s" min:"1ms"`
	Drain time.Duration `yaml:"drain" doc:"for open exchanges at shutdown, after drain_delay" default:"30s" min:"1ms"`
	// DrainDelay is for clients and balancers in front to notice; 0 is none.
	DrainDelay time.Duration `yaml:"drain_delay" doc:"at shutdown, how long requests are accepted as before while every response says that its connection ends"`
	// Tunnel ends an upgraded connection (a WebSocket, say) on which neither side has sent a
	// byte for that long, or one side takes none. 0 and None: never.
	Tunnel time.Duration `yaml:"tunnel" doc:"without any byte in either direction of an upgraded connection; absent: no limit" none:"true"`
}

// Limits bound what a message may take. They hold on every engine, for HTTP/1.1 and for
// HTTP/2. The zero value is the default. They follow Apply: a request that is read
// afterwards is held to the new ones.
type Limits struct {
	// Head bounds one head, of a request or of a response, in bytes: the start line, the
	// fields and the line ends. A request above it is answered with 431, a response with 502.
	// A head is held in memory while its exchange runs, so a client costs up to this much.
	// It also bounds the trailer section of a request or a response.
	Head int `yaml:"head" doc:"bytes of one request or response head, or of one trailer section" default:"64KiB" min:"1KiB" max:"1MiB" unit:"bytes"`
	// Fields bounds the fields of one head or trailer section.
	Fields int `yaml:"fields" doc:"fields of one head or trailer section" default:"128" min:"16" max:"10000"`
	// Target bounds the request-target in bytes; above: 414. Zero means 32 KiB, or Head where
	// that is less.
	Target int `yaml:"target" doc:"bytes of a request-target; at most head, also by default" default:"32KiB" min:"256B" max:"1MiB" unit:"bytes"`
	// Interim bounds the interim (1xx) responses that an endpoint may send before the final
	// one; above: 502. Zero means any number: they are bounded by time only.
	Interim int `yaml:"interim" doc:"interim (1xx) responses before a final one; absent: any number" max:"1000000"`

	// Connections bounds the client connections that Serve accepts, at once and over all
	// listeners. New ones wait in the queue of their listener, and connections that have been
	// idle for a second are closed for them. Zero means half of the file descriptors that the
	// process may have open (ulimit -n), less a reserve; more than those allow is not in force.
	Connections int `yaml:"connections" doc:"client connections at once; absent: what the limit of open files allows"`
	// ConnectionsPerClient bounds those of one client address, of IPv6 those of a /64; more
	// are closed at once. Peers in TrustedProxies are exempt: their connections are those of
	// many clients. Zero means no limit.
	ConnectionsPerClient int `yaml:"connections_per_client" doc:"connections of one client address at once, but of trusted_proxies; absent: no limit"`
	// InFlight bounds the requests under way at once, upgraded connections included, however
	// they came; above: 503. Zero means no limit.
	InFlight int `yaml:"in_flight" doc:"requests at once; absent: no limit"`
}

// Log is the proxy's own log, written to standard error.
type Log struct {
	Format string `yaml:"format" doc:"text or json" enum:"text,json" default:"text"`
	Level  string `yaml:"level" doc:"lowest level written" enum:"debug,info,warn,error" default:"info"`
}

// AccessLog writes one JSON line per exchange, with every attempt. The short form is its path.
type AccessLog struct {
	Path   string `yaml:"path" doc:"file to append to; - is standard output; empty is off" short:"true" path:"true"`
	Buffer int    `yaml:"buffer" doc:"lines that may wait for the writer; more are dropped and counted" default:"8192" min:"1" max:"1048576"`
}

// Service is a named set of endpoints with one policy, health check and limits.
type Service struct {
	// Endpoints is the static list. Exactly one of Endpoints and Source is given.
	Endpoints []Endpoint `yaml:"endpoints" doc:"static list: URLs, or mappings with url and weight"`
	Source    *Source    `yaml:"source" doc:"where the endpoint list comes from"`
	Policy    Policy     `yaml:"policy" doc:"how an endpoint is chosen: a name, or a mapping with type"`
	Health    *Health    `yaml:"health" doc:"active probes; absent: endpoints start healthy"`
	Breaker   Breaker    `yaml:"breaker" doc:"passive ejection of endpoints that fail"`
	// PanicThreshold is the share of usable endpoints, in percent, below which health is
	// not believed and every endpoint is used. 0 means the default, 50; -1: never.
	PanicThreshold int          `yaml:"panic_threshold" doc:"percentage of usable endpoints below which all are used; -1: never" default:"50" min:"-1" max:"100" unit:"percent"`
	SlowStart      SlowStart    `yaml:"slow_start" doc:"endpoints that are new or have recovered begin with a small share: how long it grows, or a mapping; absent: they do not"`
	Retry          Retry        `yaml:"retry" doc:"when another endpoint is tried"`
	Connections    Connections  `yaml:"connections" doc:"connections to each endpoint"`
	TLS            *EndpointTLS `yaml:"tls" doc:"how https endpoints are verified"`
	Guard          Guard        `yaml:"guard" doc:"what is held back of a source's updates"`
}

// Guard holds an update back that takes away too much at once, until probes confirm it or
// its time is over. The zero value is the default.
type Guard struct {
	// MaxRemoval is the share of a service's endpoints, in percent, that one update may
	// take away. 0 means the default, 50; -1: all of them.
	MaxRemoval int           `yaml:"max_removal" doc:"percentage of the endpoints that an update may take away at once; -1: any" default:"50" min:"-1" max:"100" unit:"percent"`
	Hold       time.Duration `yaml:"hold" doc:"for which a larger removal is held back, at most" default:"60s" min:"1ms"`
}

// Endpoint is one entry of a static list; the short form is its URL.
type Endpoint struct {
	// URL is http://host:port, https://host:port or unix:/path; the port is 80 or 443 if it
	// is left out. A host name, rather than an address, is resolved by DNS, and each address
	// is an endpoint. See Parse.
	URL string `yaml:"url" doc:"http://host:port, https://host:port or unix:/path; a host name is resolved, each address an endpoint" required:"true" short:"true"`
	// Weight is the share relative to the others, 1 to 1000. 0 means 1 in Go; in a file it is
	// the same as Drain.
	Weight int `yaml:"weight" doc:"share relative to the others, 1 to 1000; 0: as drain" default:"1" min:"1" max:"1000" zero:"Drain"`
	// Drain takes the endpoint out: no new requests, those under way end. It stays a member,
	// so that its state lives on and keys of consistent hashing come home to it.
	Drain bool `yaml:"drain" doc:"no new requests go there; those under way end"`
}

// Policy is a balancing policy; the short form is its type.
type Policy struct {
	Type        string  `yaml:"type" doc:"name of the policy" enum:"p2c,round_robin,weighted_round_robin,least_connections,random,peak_ewma,consistent_hash" default:"p2c" short:"true"`
	Algorithm   string  `yaml:"algorithm" doc:"consistent_hash: how keys find endpoints" enum:"ring,maglev,rendezvous" default:"ring"`
	Key         string  `yaml:"key" doc:"consistent_hash: what is hashed, with fallbacks" default:"client_ip" example:"header(X-User-Id) | cookie(sid) | query(user_id) | path | path_segment(2) | client_ip"`
	BoundedLoad float64 `yaml:"bounded_load" doc:"consistent_hash: no endpoint above this multiple of the mean load; 0: unbounded" min:"1" max:"1000" example:"1.25"`
	// Custom is any other policy; Type and the rest are ignored. Go only. It is never compared
	// or copied: every Apply builds its picker anew, from the one before.
	Custom policy.Policy `yaml:"-"`
}

// Health is active probing. The short form is its check.
type Health struct {
	// Check is a method and a path, as in "HEAD /health", or "tcp": a connection that comes
	// about (with TLS for https endpoints) passes, and none of Expect, Host, Headers and Match
	// may be given.
	Check          string        `yaml:"check" doc:"method and path, as in HEAD /health; or tcp: to connect is enough" required:"true" short:"true" example:"HEAD /health"`
	Interval       time.Duration `yaml:"interval" doc:"between probes of one endpoint, jittered by 10 %" default:"5s" min:"10ms"`
	Timeout        time.Duration `yaml:"timeout" doc:"for one probe; at most the interval, also by default" default:"1s" min:"1ms"`
	UnhealthyAfter int           `yaml:"unhealthy_after" doc:"failed probes in a row that take an endpoint out" default:"3" min:"1" max:"1000"`
	HealthyAfter   int           `yaml:"healthy_after" doc:"passed probes in a row that bring it back" default:"2" min:"1" max:"1000"`
	// Expect lists the statuses that pass: numbers and ranges such as 200-399. See Statuses.
	Expect []string `yaml:"expect" doc:"statuses that pass: numbers or ranges" default:"200-399" example:"200-299"`
	Host   string   `yaml:"host" doc:"Host of the probe; empty: the endpoint's"`
	// Port is where probes go instead of the endpoint's own port; 0: that one. It is of no use
	// for unix endpoints.
	Port int `yaml:"port" doc:"port to probe; absent: the endpoint's own" min:"1" max:"65535"`
	// Headers are fields of the probe's request. Host is one as well, in place of Host above.
	Headers map[string]string `yaml:"headers" doc:"fields of the probe's request" example:"{Authorization: Bearer x}"`
	// Match is text that the first 64 KiB of the response's content have to contain, or, between
	// slashes and in files alone, a regular expression (https://golang.org/s/re2syntax). Empty:
	// anything passes. See Matcher.
	Match string `yaml:"match" doc:"text that the content has to contain, in its first 64 KiB, or /a regular expression/; empty: anything" example:"ready"`
	// MatchFunc is asked instead of Match, as in regexp.MustCompile("^ok").Match. It must not
	// keep content. Apply does not see that it is another function: endpoints keep what earlier
	// probes found, unless Match or something else of the check is another one as well. Go only.
	MatchFunc func(content []byte) bool `yaml:"-"`
}

// Breaker is the passive ejection of an endpoint. The zero value is the default: 5
// consecutive failures, open for 10 s.
type Breaker struct {
	Off                 bool          `yaml:"off" doc:"never eject passively"`
	ConsecutiveFailures int           `yaml:"consecutive_failures" doc:"failures in a row that eject" default:"5" min:"1" max:"1000000"`
	FailureRate         int           `yaml:"failure_rate" doc:"percentage of failures, over the last 10 s, that ejects; 0: not looked at" max:"100" unit:"percent"`
	MinRequests         int           `yaml:"min_requests" doc:"requests in those 10 s before failure_rate counts" default:"20" min:"1" max:"1000000"`
	OpenFor             time.Duration `yaml:"open_for" doc:"until trial requests are let through; doubles with each ejection in a row, up to 16 times" default:"10s" min:"1ms"`
	Trials              int           `yaml:"trials" doc:"trial requests that must succeed to close" default:"1" min:"1" max:"1000"`
}

// SlowStart has endpoints that join a running service, or come back after an ejection, begin
// with a small share of requests, which grows to the full one. The short form is its window.
// The zero value is off: only the operator knows whether endpoints have to warm up, and how
// long, and meanwhile the others carry more.
type SlowStart struct {
	// Window is how long the share grows. 0: no slow start.
	Window time.Duration `yaml:"window" doc:"how long the share grows; absent: no slow start" short:"true" max:"1h" example:"10s"`
	From   int           `yaml:"from" doc:"percentage of the full share at the beginning" default:"10" min:"1" max:"100" unit:"percent"`
}

// Retry says when a failed attempt is repeated at another endpoint. What may be
// repeated without harm is decided by the method and by what was sent.
type Retry struct {
	// Attempts is how many attempts may reach an endpoint, the first included; at most 8. 1:
	// no retry. 0 means two, and further ones, up to 8, only at endpoints whose latest
	// attempt did not fail: a request finds the one endpoint that works, and a service of
	// which nothing works is not asked eight times by each request. A failure to connect
	// has reached no endpoint and does not count.
	Attempts int `yaml:"attempts" doc:"attempts that reach an endpoint, the first included; 1: no retry; at most 8. Without it two, and more at endpoints whose latest attempt did not fail" max:"8"`
	// SameAfter is the first pause before the same endpoint is tried again, where there is
	// no other one: after a failure to connect, or when the connection broke and the request
	// may be repeated. The pauses double; there are five at most, 1.55 s in all by default.
	// 0 means 50 ms, negative: never.
	SameAfter time.Duration `yaml:"same_after" doc:"first pause before the same endpoint is tried again because there is no other; five at most, each twice as long; negative: never" default:"50ms" min:"-1h"`
	// On lists what is retried. Connect failures are safe for every method, the rest only
	// for idempotent ones with a body that can be sent again. nil means the default; an
	// empty list: nothing. See Conditions.
	On []string `yaml:"on" doc:"what is retried: connect, reset, timeout, or a status" default:"connect,reset,timeout,502,503,504"`
}

// Connections bounds the connections to each endpoint of a service.
type Connections struct {
	ConnectTimeout time.Duration `yaml:"connect_timeout" doc:"to connect, TLS included" default:"1s" min:"1ms"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" doc:"an unused connection is closed after" default:"4s" min:"1ms"`
	MaxIdle        int           `yaml:"max_idle" doc:"unused connections kept per endpoint" default:"1024" min:"1"`
	Max            int           `yaml:"max" doc:"connections per endpoint; 0: no limit"`
}

// EndpointTLS is how https endpoints are verified.
type EndpointTLS struct {
	CA         string `yaml:"ca" doc:"PEM file with the authorities to trust; empty: the system's" path:"true"`
	ServerName string `yaml:"server_name" doc:"name to ask for and to verify; empty: the host of the endpoint's URL"`
	Insecure   bool   `yaml:"insecure_skip_verify" doc:"accept any certificate: for tests only"`
}

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
	Service string  `yaml:"service" doc:"name of the service; or else discover"`
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
