package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestValidateFindsMistakesOfTracing(t *testing.T) {
	otlp := func(endpoint string) func(*Config) {
		return func(c *Config) { c.Tracing.OTLP.Endpoint = endpoint }
	}
	for _, test := range []struct {
		path, message, near string
		change              func(*Config)
	}{
		{"tracing.otlp.endpoint", "not a URL", "", otlp("collector:4318")},
		{"tracing.otlp.endpoint", "not a URL", "", otlp("grpc://collector:4317")},
		{"tracing.otlp.endpoint", "not a URL", "", otlp("http://")},
		{"tracing.otlp.endpoint", "not a URL", "", otlp("http://a b\x7f")},
		{"tracing.otlp.endpoint", "has a user", "", otlp("http://me:secret@collector")},
		{"tracing.otlp.endpoint", "fragment", "", otlp("http://collector/#x")},
		{"tracing.otlp.endpoint", "is missing", "", func(c *Config) { c.Tracing.OTLP.Headers = map[string]string{"a": "b"} }},
		{"tracing.otlp.timeout", "more than", "", func(c *Config) { c.Tracing.OTLP.Timeout = time.Hour }},
		{"tracing.otlp.tls", "https", "", func(c *Config) { c.Tracing.OTLP = OTLP{Endpoint: "http://a", TLS: &SourceTLS{}} }},
		{"tracing.otlp.tls", "belong together", "", func(c *Config) { c.Tracing.OTLP = OTLP{Endpoint: "https://a", TLS: &SourceTLS{Cert: "x"}} }},
		{"tracing.otlp.headers[\"a b\"]", "not the name of a field", "", func(c *Config) {
			c.Tracing.OTLP = OTLP{Endpoint: "http://a", Headers: map[string]string{"a b": "x"}}
		}},
		{"tracing.otlp.headers.a", "no field can carry", "", func(c *Config) {
			c.Tracing.OTLP = OTLP{Endpoint: "http://a", Headers: map[string]string{"a": "x\ny"}}
		}},
		{"tracing.sample", "not a share", "", func(c *Config) { c.Tracing.Sample = "0.01" }},
		{"tracing.always[0]", "is no rule", "error", func(c *Config) { c.Tracing.Always = []string{"eror"} }},
		{"tracing.always[0]", "needs a time", "slower 1s", func(c *Config) { c.Tracing.Always = []string{"slower"} }},
		{"tracing.propagation[1]", "not one of", "b3multi", func(c *Config) { c.Tracing.Propagation = []string{"w3c", "b3mult"} }},
		{"tracing.query", "", "redact", func(c *Config) { c.Tracing.Query = "redcat" }},
		{"tracing.queue", "less than 64", "", func(c *Config) { c.Tracing.Queue = 1 }},
		{"request_id.field", "cannot have an id", "", func(c *Config) { c.RequestID.Field = "Request Id" }},
		{"request_id.field", "cannot have an id", "", func(c *Config) { c.RequestID.Field = "Host" }},
		{"request_id.field", "cannot have an id", "", func(c *Config) { c.RequestID.Field = "Traceparent" }},
		{"request_id.field", "cannot have an id", "", func(c *Config) { c.RequestID.Field = "X-B3-TraceId" }},
		{"request_id.accept", "", "trusted", func(c *Config) { c.RequestID.Accept = "trustd" }},
	} {
		c := good()
		test.change(&c)
		var e *Errors
		if !errors.As(c.Validate(), &e) || len(e.Problems()) != 1 {
			t.Errorf("%s: %v", test.path, c.Validate())
			continue
		}
		p := e.Problems()[0]
		if p.Path != test.path || !strings.Contains(p.Message, test.message) || test.near != "" && p.Near != test.near || strings.Contains(p.String(), "secret") {
			t.Errorf("%s: %v (near %q)", test.path, p, p.Near)
		}
	}
}

func TestOTLPURL(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:4318":            "http://127.0.0.1:4318/v1/traces",
		"https://traces.example.com/":      "https://traces.example.com/v1/traces",
		"https://traces.example.com/otlp?": "https://traces.example.com/otlp?",
		"http://[::1]:4318/v1/traces":      "http://[::1]:4318/v1/traces",
	} {
		if u, err := (&OTLP{Endpoint: in}).URL(); err != nil || u.String() != want {
			t.Errorf("%s: %v %v", in, u, err)
		}
	}
}
