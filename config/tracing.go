package config

// Tracing and ids of requests. What they cost when they are not configured is a comparison.
//
//	tracing: {otlp: "http://collector:4318", sample: 1%, always: [error, retried, slower 1s]}
//	request_id: X-Request-Id

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/trace"
)

// Tracing says which exchanges leave spans, where they go, and how the trace is told to
// endpoints. The zero value is off: then fields such as traceparent pass as they came. See
// docs/tracing.md.
type Tracing struct {
	OTLP OTLP `yaml:"otlp" doc:"where spans go, by OTLP over HTTP; absent: no spans are made"`
	// Sample is the share of traces that is recorded. It goes by the id of the trace, so programs
	// that know the same share keep the same traces. What a peer of TrustedProxies has decided
	// holds instead; what other clients say is ignored.
	Sample string `yaml:"sample" doc:"share of the traces that begin here, or come from clients that are not trusted, which is recorded, such as 1%" default:"100%"`
	// Always are the exchanges that leave spans whatever was decided at their begin. They are the
	// rules of LogSample.Always.
	Always []string `yaml:"always" doc:"recorded whatever the share: error, retried, failed, slower 1s, statuses, classes such as 5xx"`
	// Propagation lists the fields by which traces are told: "w3c" is always read and sent, so
	// alone it has traces passed on without OTLP; "b3" and "b3multi" are those of Zipkin.
	Propagation []string `yaml:"propagation" doc:"fields that are read and sent: w3c, which always is where anything here is configured, b3 (one field), b3multi (X-B3-...)" example:"[w3c, b3]"`
	ServiceName string   `yaml:"service_name" doc:"the attribute service.name of all spans" default:"poise"`
	// Resource has further attributes of all spans.
	Resource map[string]string `yaml:"resource" doc:"further attributes of all spans, as of the resource" example:"{deployment.environment.name: production}"`
	// Query is what becomes of the query in spans, as in LogFields.
	Query string `yaml:"query" doc:"keep, redact (names only) or drop the query" enum:"keep,redact,drop" default:"redact"`
	Queue int    `yaml:"queue" doc:"exchanges that may wait to be sent; more are dropped and counted" default:"4096" min:"64" max:"1048576"`
}

// OTLP is a receiver of spans, which are sent in protobuf, compressed by gzip.
type OTLP struct {
	// Endpoint is the URL of the receiver; one without a path stands for its /v1/traces.
	Endpoint string            `yaml:"endpoint" doc:"http or https URL; without a path, /v1/traces is appended; empty: no spans" short:"true" example:"http://127.0.0.1:4318"`
	Headers  map[string]string `yaml:"headers" secret:"true" doc:"fields of its requests, as for a token" example:"{Authorization: \"Bearer ${file:/run/secrets/otlp}\"}"`
	Timeout  time.Duration     `yaml:"timeout" doc:"of one request to it" default:"10s" min:"100ms" max:"1m"`
	TLS      *SourceTLS        `yaml:"tls" doc:"authorities and a certificate of its own; absent: the system's authorities"`
}

// RequestID gives each request an id, which is sent to the endpoint and to the client, stands in
// the access log and in the proxy's own error responses. The short form is its field.
type RequestID struct {
	Field string `yaml:"field" doc:"field of requests and responses with the id; empty: requests have none" short:"true" example:"X-Request-Id"`
	// Accept says whose ids are kept, if they are at most 128 of A-Z a-z 0-9 . _ ~ + / = -; all
	// others get a new one, which is the id of their trace.
	Accept string `yaml:"accept" doc:"whose ids are kept: trusted (those of trusted_proxies), always, never" enum:"trusted,always,never" default:"trusted"`
}

// A SpanKind takes spans somewhere. Package poise/tracing, a module of its own, has one for OTLP.
type SpanKind interface {
	// Open returns what takes the exchanges that are recorded under t; nil: none are. It is called
	// by New, and by Apply for another t, and must not connect yet. log may be used until the
	// Exporter is closed.
	Open(t Tracing, log *slog.Logger) (trace.Exporter, error)
}

// PropagationWords are the words of Tracing.Propagation.
var PropagationWords = []string{"w3c", "b3", "b3multi"}

// On reports whether traces are passed on to endpoints, with spans or without.
func (t *Tracing) On() bool { return t.OTLP.Endpoint != "" || len(t.Propagation) > 0 }

// Share is Sample as a number from 0 to 1.
func (t *Tracing) Share() (float64, error) { return LogSample{Rate: t.Sample}.Share() }

// Rules reads Always.
func (t *Tracing) Rules() (LogRules, error) { return LogSample{Always: t.Always}.Rules() }

// URL is Endpoint with its path.
func (o *OTLP) URL() (*url.URL, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, errors.New("it is not a URL such as http://127.0.0.1:4318")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return nil, errors.New("it is not a URL such as http://127.0.0.1:4318")
	case u.User != nil:
		return nil, errors.New("it has a user: say Authorization in headers")
	case u.Fragment != "":
		return nil, errors.New("it has a fragment (#)")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u, nil
}

// tracing checks Tracing and RequestID.
func (v *validator) tracing(c *Config) {
	t := &c.Tracing
	v.otlp(&t.OTLP)
	if _, err := t.Share(); err != nil {
		v.add("tracing.sample", t.Sample, "", err.Error())
	}
	for i, word := range t.Always {
		if err := new(LogRules).add(word); err != nil {
			v.add(Index("tracing.always", i), word, nearest.Word(word, logRuleWords), err.Error())
		}
	}
	for i, word := range t.Propagation {
		if !slices.Contains(PropagationWords, word) {
			v.add(Index("tracing.propagation", i), word, nearest.Word(word, PropagationWords), fmt.Sprintf("%q is not one of %s", word, strings.Join(PropagationWords, ", ")))
		}
	}
	if f := c.RequestID.Field; f != "" && (!isToken(f) || message.KindOf([]byte(f)) != message.Other || reservedID(f)) {
		v.add("request_id.field", f, "", fmt.Sprintf("%q cannot have an id: it is not the name of a field, or a field with a meaning of its own", f))
	}
}

// reservedID reports whether a field has to do with traces, so that it cannot hold an id as well.
func reservedID(field string) bool {
	field = strings.ToLower(field)
	return field == "traceparent" || field == "tracestate" || field == "b3" || strings.HasPrefix(field, "x-b3-")
}

func (v *validator) otlp(o *OTLP) {
	if o.Endpoint == "" {
		if len(o.Headers) > 0 || o.TLS != nil {
			v.add("tracing.otlp.endpoint", "", "", "is missing: without it no spans are made")
		}
		return
	}
	u, err := o.URL()
	if err != nil {
		v.add("tracing.otlp.endpoint", "", "", err.Error()) // not repeated: it may hold a password
		return
	}
	if o.TLS != nil {
		if u.Scheme == "http" {
			v.add("tracing.otlp.tls", "", "", "the endpoint is http: write https://, or leave tls out")
		}
		v.pair("tracing.otlp.tls", o.TLS)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		at := Key("tracing.otlp.headers", name)
		switch {
		case !isToken(name):
			v.add(at, name, "", fmt.Sprintf("%q is not the name of a field", name))
		case strings.ContainsAny(o.Headers[name], "\r\n\x00"):
			v.add(at, "", "", "has a byte that no field can carry")
		}
	}
}
