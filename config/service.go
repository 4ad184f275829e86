package config

// A service: its endpoints, how one is chosen, and what decides whether it may be.

import (
	"time"

	"github.com/poise-lb/poise/policy"
)

// Service is a named set of endpoints with one policy, health check and limits.
type Service struct {
	// Endpoints is the static list. Exactly one of Endpoints and Source is given.
	Endpoints []Endpoint `yaml:"endpoints" doc:"static list: URLs, or mappings with url, weight, zone and so on"`
	Source    *Source    `yaml:"source" doc:"where the endpoint list comes from"`
	Policy    Policy     `yaml:"policy" doc:"how an endpoint is chosen: a name, or a mapping with type"`
	// Shadow is a policy that is asked beside Policy for each request, and whose choice is compared
	// and not followed: see Status. Consistent hashing is none, since its choice is that of the key.
	Shadow string `yaml:"shadow" doc:"a policy that is asked too, without effect: how often it agrees, and the waits that both promise, are in the status and in metrics" enum:"off,least_time,p2c,round_robin,weighted_round_robin,least_connections,random,peak_ewma,prequal" default:"off"`
	// LoadReports has what endpoints say of their load in responses (endpoint-load-metrics, as ORCA
	// has it) read, used by Policy and kept from clients.
	LoadReports bool `yaml:"load_reports" doc:"read what endpoints say of their load in the response field endpoint-load-metrics (ORCA): least_time and prequal count it, and clients do not see it"`
	// Lanes bind requests to endpoints with a certain label; nil: all endpoints are alike.
	Lanes *Lanes `yaml:"lanes" doc:"requests that name a version, or whose it is, go to endpoints with that label; absent: all endpoints are alike"`
	// Sticky binds clients to endpoints by a cookie; nil: it does not.
	Sticky  *Sticky `yaml:"sticky" doc:"a client stays with its endpoint, by a cookie: its name, or a mapping; absent: it does not"`
	Health  *Health `yaml:"health" doc:"active probes; absent: endpoints start healthy"`
	Breaker Breaker `yaml:"breaker" doc:"passive ejection of endpoints that fail"`
	// PanicThreshold is the share of usable endpoints, in percent, below which health is
	// not believed and every endpoint is used. 0 means the default, 50; -1: never.
	PanicThreshold int         `yaml:"panic_threshold" doc:"percentage of usable endpoints below which all are used; -1: never" default:"50" min:"-1" max:"100" unit:"percent"`
	SlowStart      SlowStart   `yaml:"slow_start" doc:"endpoints that are new or have recovered begin with a small share: how long it grows, or a mapping; absent: they do not"`
	Zones          Zones       `yaml:"zones" doc:"whether requests stay in the proxy's zone: prefer or ignore, or a mapping"`
	Priorities     Priorities  `yaml:"priorities" doc:"when endpoints of a higher priority number are used, too"`
	Subset         Subset      `yaml:"subset" doc:"how many of the endpoints this proxy uses, always the same: a number, or a mapping; absent: all"`
	Retry          Retry       `yaml:"retry" doc:"when another endpoint is tried"`
	Hedge          *Hedge      `yaml:"hedge" doc:"a second endpoint is asked where the first takes long: after which percentile or time, or a mapping; absent: never"`
	Overload       Overload    `yaml:"overload" doc:"how many requests may be under way at once, and which wait; absent: any number"`
	Connections    Connections `yaml:"connections" doc:"connections to each endpoint"`
	// Protocol is what endpoints are spoken to with. auto: https endpoints choose when TLS is
	// negotiated, by ALPN, and the others are spoken to with HTTP/1.1. Endpoints whose URL begins
	// with h2c:// are spoken to with HTTP/2 whatever it says.
	Protocol string       `yaml:"protocol" doc:"version of HTTP that endpoints are spoken to with; auto: https endpoints choose (ALPN). h2c:// endpoints always have HTTP/2" enum:"http1,http2,auto" default:"http1"`
	TLS      *EndpointTLS `yaml:"tls" doc:"how https endpoints are verified"`
	// ProxyProtocol is "v1" or "v2": each connection to an endpoint begins with a header of the
	// PROXY protocol, by which the endpoint learns who the client is. It then belongs to that
	// client's connection, and no other client's requests use it. HTTP/1.1 is spoken on it.
	ProxyProtocol string `yaml:"proxy_protocol" doc:"have connections to endpoints begin with a header of the PROXY protocol: v1 or v2" enum:"off,v1,v2" default:"off"`
	Guard         Guard  `yaml:"guard" doc:"what is held back of a source's updates"`
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
	// URL is http://host:port, https://host:port, h2c://host:port (HTTP/2 without TLS) or
	// unix:/path, which is http://unix:/path; https://unix:/path and h2c://unix:/path are as good.
	// The port is 80 or 443 if it is left out. A host name, rather than an address, is resolved by
	// DNS, and each address is an endpoint. See Parse.
	URL string `yaml:"url" doc:"http://host:port, https://host:port, h2c://host:port (HTTP/2 without TLS) or unix:/path; a host name is resolved, each address an endpoint" required:"true" short:"true"`
	// Weight is the share relative to the others, 1 to 1000. 0 means 1 in Go; in a file it is
	// the same as Drain.
	Weight int `yaml:"weight" doc:"share relative to the others, 1 to 1000; 0: as drain" default:"1" min:"1" max:"1000" zero:"Drain"`
	// Drain takes the endpoint out: no new requests, those under way end. It stays a member,
	// so that its state lives on and keys of consistent hashing return to it.
	Drain bool `yaml:"drain" doc:"no new requests go there; those under way end"`
	// Zone is where it is.
	Zone string `yaml:"zone" doc:"where it is" example:"eu-central-1a"`
	// Priority is its fail-over group, from 0 to 15: those of 0 are used as long as enough of them
	// are usable, then those of 1 as well, and so on.
	Priority int `yaml:"priority" doc:"fail-over group: 0 is used first, then 1, and so on" max:"15"`
	// Backup is short for Priority 1.
	Backup bool `yaml:"backup" doc:"short for priority: 1"`
	// Metadata is what else is known of it, as registries have it: labels of a release, for instance.
	Metadata map[string]string `yaml:"metadata" doc:"what else is known of it, as labels" example:"{version: v2}"`
}

// Policy is a balancing policy; the short form is its type.
type Policy struct {
	Type        string  `yaml:"type" doc:"name of the policy" enum:"least_time,p2c,round_robin,weighted_round_robin,least_connections,random,peak_ewma,prequal,consistent_hash" default:"least_time" short:"true"`
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
	// may be given. "grpc" asks a gRPC server by grpc.health.v1 whether it serves, "grpc shop.Cart"
	// whether that service does; endpoints then need HTTP/2, and neither Expect nor Match is given.
	Check          string        `yaml:"check" doc:"method and path, as in HEAD /health; or tcp: to connect is enough; or grpc, or grpc and a service: asked by grpc.health.v1" required:"true" short:"true" example:"HEAD /health"`
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
	MatchFunc func(content []byte) bool `yaml:"-" json:"-"`
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
	Outliers            *Outliers     `yaml:"outliers" doc:"eject endpoints that are clearly worse than the others of the service: how many at most, or a mapping; absent: they are not looked for"`
}

// Outliers are endpoints that are clearly worse than the others of their service. They are ejected as
// the breaker ejects, for OpenFor and twice as long each time that they are found again, while
// three endpoints or more can be compared. MinRequests of the Breaker counts here as well. The short
// form is MaxEjected. It is off unless it is asked for: the default policy sends such endpoints next to
// nothing anyway.
type Outliers struct {
	// MaxEjected is the share of the endpoints, in percent, that may be out at once, by probes and
	// the breaker as well, before no further outlier is ejected. One may be in any case, if half of
	// the endpoints stay healthy. 0 means the default, 10.
	MaxEjected int `yaml:"max_ejected" doc:"percentage of the endpoints that may be ejected at once, by whatever cause; one may be in any case" default:"10" min:"1" max:"50" unit:"percent" short:"true"`
	// FailureRate is by how much an endpoint fails more often than the others, in percentage points
	// of the requests of the last 10 s. 0 means the default, 10; -1: failures are not compared.
	FailureRate int `yaml:"failure_rate" doc:"percentage points by which an endpoint fails more often than the others, and twice as often, and not by chance; -1: failures are not compared" default:"10" min:"-1" max:"100" unit:"percent"`
	// Latency is how many times as slow as the others an endpoint is, by its typical latency, five
	// seconds in a row. 0: latency is not compared.
	Latency float64 `yaml:"latency" doc:"times as slow as the others, five seconds in a row; absent: latency is not compared" min:"1.5" max:"1000" example:"3"`
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

// Zones says what the zones of endpoints mean. They mean something only where the proxy has a zone
// itself (Config.Zone) and endpoints are in it. The short form is Mode.
type Zones struct {
	// Mode is "prefer": requests stay in the zone as far as its endpoints are able to carry them;
	// "ignore"; or "auto" (the default), which is prefer, but ignore for consistent_hash, whose
	// keys would have another home in each zone.
	Mode string `yaml:"mode" doc:"prefer: requests stay in the proxy's zone as far as its endpoints can carry them; ignore; auto: prefer, but not with consistent_hash" enum:"auto,prefer,ignore" default:"auto" short:"true"`
	// Share is the percentage of all requests of the service that comes by proxies of this zone.
	// 0: as much as by those of each other zone.
	Share int `yaml:"share" doc:"percentage of all requests that comes by the proxies of this zone; absent: as much as by those of each other zone" max:"100" unit:"percent"`
}

// Priorities says how fail-over groups of endpoints (Endpoint.Priority) take over from each other.
type Priorities struct {
	// OverflowBelow is the percentage of a group's weight that has to be usable for it to carry all
	// requests. Below, it carries as much less as there is less of it, and the next group the rest.
	OverflowBelow int `yaml:"overflow_below" doc:"percentage of a group, by weight, below which the next one gets a part of its requests; 1%: when next to nothing is left" default:"70" min:"1" max:"100" unit:"percent"`
	// Key is the key of metadata that hold the priority of endpoints whose source has none of its own.
	// Empty: none does.
	Key string `yaml:"key" doc:"metadata of a registry that hold the priority of an endpoint; absent: none" example:"priority"`
}

// Subset has each of many proxies use a part of a large set of endpoints. The short form is Size.
type Subset struct {
	// Size is how many endpoints it uses; others take the place of those that may not be picked. 0: all.
	Size int `yaml:"size" doc:"endpoints that this proxy uses; others take the place of ejected ones; absent: all" max:"100000" short:"true"`
	// Proxy is a name that no other proxy has. It says which endpoints they are. Names that end in a
	// number (poise-0, poise-1) share them out more evenly than others. Empty: the name of the host.
	Proxy string `yaml:"proxy" doc:"name that no other proxy has, which says what endpoints they are, best with a number at its end; absent: the name of the host" example:"poise-0"`
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
	// AttemptTimeout bounds one attempt: from its beginning, or from the end of the request's
	// content if that is later, to the response head. One that takes longer has failed with
	// endpoint-timeout, so On decides whether another follows. 0: only the route's limit counts.
	AttemptTimeout time.Duration `yaml:"attempt_timeout" doc:"longest wait for the response head of one attempt, which has failed then (timeout); absent: only the route's limit counts" example:"500ms"`
	// Budget is how many extra attempts, retries and hedges, there may be in ten seconds, as a
	// percentage of the requests. All requests of the service share it, so that retries do not
	// multiply the load of endpoints that are overloaded. 0 means the default, 20; -1: any number.
	Budget int `yaml:"budget" doc:"extra attempts, retries and hedges, as a percentage of the requests of the last 10 s; -1: any number" default:"20" min:"-1" max:"1000" unit:"percent"`
	// BudgetFloor is how many extra attempts there may be besides, per second on average, so
	// that a service of few requests has retries. 0 means the default, 3; -1: none.
	BudgetFloor int `yaml:"budget_floor" doc:"extra attempts besides, per second on average; -1: none" default:"3" min:"-1" max:"100000"`
	// SameAfter is the first pause before the same endpoint is tried again, where there is
	// no other one: after a failure to connect, or when the connection broke and the request
	// may be repeated. The pauses double; there are five at most, 1.55 s in all by default.
	// 0 means 50 ms, negative: never.
	SameAfter time.Duration `yaml:"same_after" doc:"first pause before the same endpoint is tried again because there is no other; five at most, each twice as long; negative: never" default:"50ms" min:"-1h"`
	// On lists what is retried. Connect failures are safe for every method, the rest only
	// for idempotent ones with a body that can be sent again; unavailable has calls of gRPC
	// repeated, whose method is always POST. nil means the default; an empty list: nothing. See
	// Conditions.
	On []string `yaml:"on" doc:"what is retried: connect, reset, timeout, a status, or gRPC's status unavailable" default:"connect,reset,timeout,502,503,504"`
}

// Hedge has a request whose response head takes long sent to a second endpoint as well: the client
// gets the response that comes first, and the other attempt is interrupted, which its endpoint is
// not blamed for. The short form is After. Which requests may be sent twice is said by Route.Hedge.
type Hedge struct {
	// After is a percentile, as in p95, of how long response heads of the service take at present,
	// or a fixed time, as in 50ms. See Due.
	After string `yaml:"after" doc:"how long the response head may take before another endpoint is asked too: a percentile of the present times of the service, p50 to p99.9, or a time" default:"p95" short:"true" example:"p95 | 50ms"`
	// MaxExtra is how many hedges there may be, as a percentage of the requests of the last 10 s.
	// They count towards Retry.Budget, too. 0 means the default, 5.
	MaxExtra int `yaml:"max_extra" doc:"hedges as a percentage of the requests of the last 10 s; they count towards retry.budget, too" default:"5" min:"1" max:"10" unit:"percent"`
}

// Connections bounds the connections to each endpoint of a service.
type Connections struct {
	ConnectTimeout time.Duration `yaml:"connect_timeout" doc:"to connect, TLS included" default:"1s" min:"1ms"`
	// IdleTimeout is for how long an unused connection is kept. By the default, 4 s, those with
	// HTTP/2 are kept for 60 s: their endpoints announce it when they close one.
	IdleTimeout time.Duration `yaml:"idle_timeout" doc:"an unused connection is closed after, one with HTTP/2 after 60s by default" default:"4s" min:"1ms"`
	MaxIdle     int           `yaml:"max_idle" doc:"unused connections kept per endpoint" default:"1024" min:"1"`
	Max         int           `yaml:"max" doc:"connections per endpoint; 0: no limit"`
	// Streams, Requests and MaxAge are of connections with HTTP/2.
	Streams  int           `yaml:"streams" doc:"HTTP/2: requests at once on a connection, if the endpoint allows so many" default:"100" min:"1" max:"1000"`
	Requests int           `yaml:"requests" doc:"HTTP/2: requests after which a connection is replaced; 0: no limit"`
	MaxAge   time.Duration `yaml:"max_age" doc:"HTTP/2: age at which a connection is replaced, give or take 10 %; 0: no limit"`
}

// EndpointTLS is how https endpoints are verified, and how they verify the proxy.
type EndpointTLS struct {
	CA string `yaml:"ca" doc:"PEM file with the authorities to trust; empty: the system's" path:"true"`
	// Cert and Key are shown to endpoints that ask for a certificate. Both are read again when
	// they change; connections that are open stay.
	Cert       string `yaml:"cert" doc:"PEM file with the certificate that endpoints are shown; with key" path:"true"`
	Key        string `yaml:"key" doc:"PEM file with its private key" path:"true"`
	ServerName string `yaml:"server_name" doc:"name to ask for and to verify; empty: the host of the endpoint's URL"`
	// SAN and SPIFFE are verified in place of the host name: one of both lists is enough.
	SAN      []string `yaml:"san" doc:"alternative names that are accepted in place of the host name" example:"[search.internal]"`
	SPIFFE   []string `yaml:"spiffe" doc:"SPIFFE IDs that are accepted in place of the host name; without a path: all of the trust domain" example:"[spiffe://example.org/search]"`
	Insecure bool     `yaml:"insecure_skip_verify" doc:"accept any certificate: for tests only"`
}
