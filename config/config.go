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
//	short     "true": a plain value in place of its struct means this field, or a list if it is one
//	unit      "percent": the file may write 50% for 50; "bytes": 64KiB for 65536
//	none      "true": the file may write none for a duration, which is the constant None
//	path      "true": a relative path stands on the folder of the configuration file
//	example   for people and editors
//	secret    "true": its value is never shown
//	zero      the bool field beside it that an explicit 0 in the file sets; the number then
//	          has its default
//
// What cannot be said in a tag is in Validate.
package config

import (
	"log/slog"
	"time"

	"github.com/poise-lb/poise/internal/tags"
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
	HalfClose string         `yaml:"half_close" doc:"a client that ends its sending side behind its request: answer it, or take it for one that leaves" enum:"answer,leave" default:"answer"`
	Timeouts  Timeouts       `yaml:"timeouts" doc:"limits of time on the client's side"`
	Limits    Limits         `yaml:"limits" doc:"limits of size and number"`
	Log       Log            `yaml:"log" doc:"the proxy's own log"`
	AccessLog AccessLog      `yaml:"access_log" doc:"one line per request"`
	Tracing   Tracing        `yaml:"tracing" doc:"which traces are recorded, and how endpoints are told"`
	RequestID RequestID      `yaml:"request_id" doc:"an id for each request"`
	Metrics   Metrics        `yaml:"metrics" doc:"what the metrics show"`
	Admin     Admin          `yaml:"admin" doc:"the admin API and its page"`
	Status    StatusListener `yaml:"status" doc:"a listener for probes and scrapers"`
	// Zone is where the proxy is, by the name that sources give to the zones of endpoints. Empty: the
	// environment's POISE_ZONE; if that is empty, too, zones do not matter. See Zones.
	Zone     string             `yaml:"zone" doc:"where the proxy is, as endpoints have it; absent: POISE_ZONE of the environment" example:"eu-central-1a"`
	Services map[string]Service `yaml:"services" doc:"sets of endpoints, by name"`
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
	// Spans takes the spans that Tracing asks for: tracing.OTLP() of module poise/tracing, or the
	// program's own. Nil: the program makes none. It is given to New, and Apply does not look at
	// it. Go only.
	Spans SpanKind `yaml:"-"`
	// Handover is what Proxy.Handover of the process returned that this one takes the place of;
	// nil: there is none. It is given to New, and Apply does not look at it. What cannot be read,
	// as that of a much newer version, is logged and ignored. Go only.
	Handover []byte `yaml:"-"`

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
	Address string `yaml:"address" doc:"host:port, or unix: and a path; an empty host is every address" required:"true" short:"true" example:"127.0.0.1:8080"`
	// Name is what routes call the listener (match.listener). A connection has the name that its
	// listener had when it was accepted.
	Name string `yaml:"name" doc:"what routes call this listener (match.listener); absent: it has no name" example:"inbound"`
	// Protocol is "http1" or "http2" where clients may speak that version only, with TLS and without
	// it; "auto" (the default): both.
	Protocol string `yaml:"protocol" doc:"version of HTTP that clients may speak: http1, http2, or auto for both" enum:"auto,http1,http2" default:"auto"`
	// Mode is that of a unix socket, in octal. Empty: 0660, for its owner and group.
	Mode string `yaml:"mode" doc:"octal mode of a unix socket; absent: 0660" example:"0660"`
	TLS  *TLS   `yaml:"tls" doc:"terminate TLS here"`
	// ProxyProtocol says that connections begin with a header of the PROXY protocol, before TLS.
	ProxyProtocol *ProxyProtocol `yaml:"proxy_protocol" doc:"connections of these peers begin with a header of the PROXY protocol"`
}

// ProxyProtocol is who begins connections with a header of the PROXY protocol, version 1 or 2. The
// address in it is the client's wherever one is of use: in limits, fields, logs and keys.
type ProxyProtocol struct {
	// Trusted are peers that send the header, as addresses or prefixes; each of their connections
	// has to begin with it. Peers at a unix socket are trusted in any case.
	Trusted []string `yaml:"trusted" doc:"peers that send the header: addresses or prefixes" required:"true" short:"true"`
	// Others is "refuse" (the default), which closes connections of other peers, or "serve", which
	// takes them for clients without a header. Nothing is guessed from what they send.
	Others string `yaml:"others" doc:"connections of other peers: refuse them, or serve them as clients without a header" enum:"refuse,serve" default:"refuse"`
}

// TLS terminates TLS on a listener.
type TLS struct {
	// Certificates are chosen by the name the client asks for (SNI); the first is used
	// when none fits. The files are read again when they change.
	Certificates []Certificate `yaml:"certificates" doc:"chosen by server name; the first is the default" required:"true"`
	// MinVersion is "1.2" (the default) or "1.3". Profile may demand more.
	MinVersion string `yaml:"min_version" doc:"lowest protocol version" enum:"1.2,1.3" default:"1.2"`
	// Profile is "intermediate" (the default), with the cipher suites of TLS 1.2 that have forward
	// secrecy and authenticated encryption, or "modern": TLS 1.3 alone, whatever MinVersion is.
	Profile string `yaml:"profile" doc:"intermediate, or modern: TLS 1.3 alone" enum:"intermediate,modern" default:"intermediate"`
	// DefaultCertificate is used where the client's name fits none of Certificates. nil: the first
	// of those.
	DefaultCertificate *Certificate `yaml:"default_certificate" doc:"used when no certificate fits the name that the client asks for; absent: the first"`
	// ClientAuth asks clients for certificates; nil: they are not asked.
	ClientAuth *ClientAuth `yaml:"client_auth" doc:"ask clients for certificates"`
}

// ClientAuth is how the certificates of clients are verified (mutual TLS). What a client has
// proved is passed on by the fields Client-Cert and Client-Cert-Chain (RFC 9440).
type ClientAuth struct {
	// Mode is "require" (the default), or "verify_if_given": a client without a certificate is
	// served, one with a certificate that is not accepted is not.
	Mode string `yaml:"mode" doc:"require a certificate, or verify_if_given" enum:"require,verify_if_given" default:"require"`
	// CA is read again when it changes.
	CA string `yaml:"ca" doc:"PEM file with the authorities that sign clients' certificates" required:"true" path:"true"`
	// SAN and SPIFFE list who is accepted: one of both lists is enough. Both empty: every
	// certificate that the authorities have signed.
	SAN    []string `yaml:"san" doc:"alternative names that are accepted: host names, *.names, addresses, URIs" example:"[shop.internal]"`
	SPIFFE []string `yaml:"spiffe" doc:"SPIFFE IDs that are accepted; without a path: all of the trust domain" example:"[spiffe://example.org/shop]"`
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
	// MaxAge is how old a client's connection becomes, give or take a tenth of it: the first
	// request after that is answered with Connection: close; in HTTP/2 GOAWAY comes at that age. So
	// connections spread over proxies that were started later. 0 and None: no limit.
	MaxAge time.Duration `yaml:"max_age" doc:"age at which a client's connection takes no further request, give or take 10 %; absent: no limit" none:"true"`
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
	// Streams bounds the requests that a client may have under way on one connection of HTTP/2;
	// more are refused so that it may send them again.
	Streams int `yaml:"streams" doc:"HTTP/2: requests at once on a client's connection" default:"100" min:"1" max:"10000"`
	// Requests bounds the requests that a client's connection carries in its life, as MaxAge of
	// Timeouts bounds its age. Zero means no limit.
	Requests int `yaml:"requests" doc:"requests after which a client's connection takes no further one; absent: no limit"`
}

// Log is the proxy's own log, written to standard error.
type Log struct {
	Format string `yaml:"format" doc:"text or json" enum:"text,json" default:"text"`
	Level  string `yaml:"level" doc:"lowest level written" enum:"debug,info,warn,error" default:"info"`
}

// Metrics says what Proxy.Collect, and so /metrics, shows. Counting costs the same whatever it
// says.
type Metrics struct {
	// Buckets are the upper bounds of all histograms. They are chosen among those that are
	// counted, so that a reload may change them and no count is lost: see docs/metrics.md.
	Buckets []time.Duration `yaml:"buckets" doc:"upper bounds of histograms, of those that are counted: 100us 250us 500us, 1ms 2.5ms 5ms, 10ms 25ms 50ms 75ms, 100ms 250ms 500ms 750ms, 1s 2.5s 5s 7.5s, 10s 30s 60s" default:"500us,1ms,2.5ms,5ms,10ms,25ms,50ms,100ms,250ms,500ms,1s,2.5s,5s,10s,30s,60s"`
	// EndpointsMax bounds the endpoints of all services that have series of their own. The rest
	// is counted as _other.
	EndpointsMax int `yaml:"endpoints_max" doc:"endpoints that have series of their own; the rest is counted as _other" default:"2000" min:"1" max:"100000"`
	// NoEndpointHistograms leaves out the histogram of each endpoint, two thirds of the series.
	NoEndpointHistograms bool `yaml:"no_endpoint_histograms" doc:"leave out the histograms of endpoints, which are two thirds of all series"`
}

// AccessLog writes one line per exchange, with every attempt where the format has room for them.
// The short form is its path. See docs/access-log.md.
type AccessLog struct {
	Path   string `yaml:"path" doc:"file to append to; - is standard output; empty is off" short:"true" path:"true"`
	Buffer int    `yaml:"buffer" doc:"lines that may wait for the writer; more are dropped and counted" default:"8192" min:"1" max:"1048576"`
	// Format is "json", "combined" (as Apache and nginx), "ecs" (Elastic Common Schema) or a
	// template in nginx's language, with $variables.
	Format string    `yaml:"format" doc:"json, combined, ecs, or a template with nginx's variables" default:"json"`
	Fields LogFields `yaml:"fields" doc:"what of the heads is written"`
	Sample LogSample `yaml:"sample" doc:"which exchanges are written; absent: all"`
	// Mode is the mode of a file that is made, in octal, whatever the umask is. Empty means 0640
	// less the umask.
	Mode string `yaml:"mode" doc:"octal mode of a file that is made; absent: 0640 less the umask" example:"0640"`
}

// LogFields are the parts of heads that the access log has beside what every line has.
type LogFields struct {
	Request  []string `yaml:"request" doc:"fields of the request, as in [User-Agent, Referer]"`
	Response []string `yaml:"response" doc:"fields of the response"`
	// Query is what becomes of the query, and of that in Referer: "redact" (the default) keeps the
	// names and writes … for the values, since they may be secret.
	Query string `yaml:"query" doc:"keep, redact (names only) or drop the query" enum:"keep,redact,drop" default:"redact"`
}

// LogSample chooses exchanges at their end, when it is known what became of them. What it leaves
// out is not lost.
type LogSample struct {
	Rate   string   `yaml:"rate" doc:"share of exchanges that is written, such as 1%" default:"100%"`
	Always []string `yaml:"always" doc:"written whatever the rate: statuses, classes such as 5xx, retried, failed, error, slower 1s"`
}
