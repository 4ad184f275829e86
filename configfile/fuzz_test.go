package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// full is every field of the model, as written by a test, so that a new field or type is
// never forgotten by the decoder.
var full = func() string {
	var b strings.Builder
	b.WriteString("version: 1\n")
	writeFields(&b, reflect.TypeFor[config.Config](), "", "")
	return b.String()
}()

// special are values of fields that cannot be anything, by the end of their path.
var special = []struct{ path, value string }{
	{"services.x.endpoints", `["http://127.0.0.1:9001", {url: "https://[::1]:1", weight: 7, drain: true, zone: a, priority: 1, backup: true, metadata: {version: v2}}]`},
	{"services.x.source", ""}, // not beside endpoints: TestEverySourceIsDecoded
	{"routes.discover", ""},   // not beside service
	{"routes.split", ""},      // likewise: TestSplitIsDecoded
	{"match.grpc", ""},        // not beside path and methods
	{"discover.x.source", `{etcd: {servers: ["127.0.0.1:2379"], prefix: "/{service}/"}}`},
	{"policy.type", "consistent_hash"}, {"zones.mode", "prefer"},
	{"admin.address", `"127.0.0.1:9900"`}, {"status.address", `"unix:/run/poise.sock"`}, {"token", "0123456789abcdef"}, {"role", "operate"},
	{"address", `"unix:/run/http.sock"`},
	{"trusted_proxies", "[10.0.0.0/8]"}, {"trusted", "[10.0.0.0/8]"},
	{"check", "GET /"}, {"expect", "[200, 300-399]"}, {"on", "[connect, 502]"}, {"methods", "[GET, POST]"},
	{"interval", "17m"}, {"protocol", "auto"}, {"origins", `["https://a.example"]`}, // grpc_web is not for HTTP/1.1
	{"client_auth.mode", "require"}, {"spiffe", "[spiffe://example.org/x]"},
	{"x.tls.insecure_skip_verify", "false"}, // not beside san and spiffe
	{"access_log.format", "$status"}, {"rate", "1%"}, {"always", "[5xx, slower 1s]"}, {"mode", `"0640"`},
	{"otlp.endpoint", `"https://127.0.0.1:4318"`}, {"otlp.timeout", "17s"}, {"tracing.sample", "1%"}, {"propagation", "[w3c, b3]"}, {"tracing.queue", "170"},
	{"strip_prefix", "/a"}, {"add_prefix", "/b"}, {"prefix", "/c"}, {"with", "/d"},
	{"service", "x"}, {"attempts", "7"}, {"panic_threshold", "7%"},
	{"priority.high", "[gold]"}, {"priority.low", "[batch]"}, {"priority.by", "header(x)"},
	{"endpoint_max_in_flight.limit", "auto"},
	{"hedge.after", "p99"}, {"hedge.max_extra", "7%"}, {"by", "cookie(sid)"},
}

func writeFields(b *strings.Builder, t reflect.Type, indent, path string) {
	for _, f := range make(tags.Model).Of(t) {
		if f.Name == "" || indent == "" && f.Name == "version" {
			continue
		}
		at := strings.TrimPrefix(path+"."+f.Name, ".")
		b.WriteString(indent + f.Name + ":")
		writeValue(b, f, f.Type, indent, at)
	}
}

func writeValue(b *strings.Builder, f tags.Field, t reflect.Type, indent, path string) {
	for _, s := range special {
		if (path == s.path || strings.HasSuffix(path, "."+s.path)) && (t.Kind() != reflect.Struct || strings.HasSuffix(s.path, "source")) {
			if s.value != "" {
				b.WriteString(" " + s.value + "\n")
			} else {
				text := b.String() // take the key back
				b.Reset()
				b.WriteString(text[:strings.LastIndex(text, "\n")+1])
			}
			return
		}
	}
	switch {
	case t.Kind() == reflect.Pointer:
		writeValue(b, f, t.Elem(), indent, path)
	case t.Kind() == reflect.Struct:
		b.WriteString("\n")
		writeFields(b, t, indent+"  ", path)
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.String:
		b.WriteString(" {X-A: b}\n")
	case t.Kind() == reflect.Map:
		b.WriteString("\n" + indent + "  x:")
		writeValue(b, f, t.Elem(), indent+"  ", path+".x")
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		b.WriteString("\n" + indent + "  -\n")
		writeFields(b, t.Elem(), indent+"    ", path)
	case t.Kind() == reflect.Slice && t.Elem() == tags.Duration:
		b.WriteString(" [1s]\n") // a bucket of metrics
	case t.Kind() == reflect.Slice:
		b.WriteString(" [x]\n")
	case f.Enum != nil:
		b.WriteString(" " + f.Enum[0] + "\n")
	case t == tags.Duration:
		b.WriteString(" 17m\n")
	case f.Bytes:
		b.WriteString(" 17KiB\n")
	case t.Kind() == reflect.Bool:
		b.WriteString(" true\n")
	case t.Kind() == reflect.String:
		b.WriteString(" text\n")
	default:
		b.WriteString(" 17\n")
	}
}

// TestEveryFieldIsDecoded: no field of the model stays zero when it is given.
func TestEveryFieldIsDecoded(t *testing.T) {
	c, err := Parse("full", []byte(full), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, full)
	}
	model, fields := make(tags.Model), 0
	var visit func(path string, v reflect.Value)
	visit = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			visit(path, v.Elem())
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Struct {
				visit(path, v.Index(v.Len()-1))
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				visit(path+".x", v.MapIndex(k))
			}
		case reflect.Struct:
			for _, f := range model.Of(v.Type()) {
				if f.Name == "" || f.Name == "source" || (f.Name == "discover" || f.Name == "split") && path == ".routes" || f.Name == "grpc" || f.Name == "insecure_skip_verify" && strings.HasSuffix(path, ".x.tls") {
					continue
				}
				if fields++; v.FieldByIndex(f.Index).IsZero() {
					t.Errorf("%s.%s was not decoded", path, f.Name)
				}
				visit(path+"."+f.Name, v.FieldByIndex(f.Index))
			}
		}
	}
	visit("", reflect.ValueOf(c))
	if fields < 60 {
		t.Errorf("only %d fields were looked at", fields)
	}
}

// FuzzParse: whatever comes in, nothing panics; an error is an *Error whose every problem
// has a place in the text, in order; and what is accepted is valid, with defaults too.
func FuzzParse(f *testing.F) {
	for _, s := range []string{example, minimal, full, shorts, sources, `{"version": 1}`, "a: &a *a", "<<: *a", "? a\n: b", "a: |\n  x\nb: >-\n  y", "- - -", "a: !!binary x",
		"&a a: *a", "version: &x 1\nlog: *x", "{a: [}", "a: ''", "%YAML 1.2\n---\nversion: 1", "...", "---\n---\n", "'", "\"\\u0000\"", "version: ${A:-1}", "services: {? x : y}"} {
		f.Add([]byte(s))
	}
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	env := func(name string) (string, bool) { return name, len(name)%2 == 0 }
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "file:") {
			t.Skip("files of this machine are none of our business")
		}
		c, err := Parse("f", data, env)
		if err == nil {
			full := c.WithDefaults()
			if err := full.Validate(); err != nil {
				t.Fatalf("accepted, and then with defaults: %v", err)
			}
		}
		checkError(t, data, err)
		_, _, err = Endpoints("f", data)
		checkError(t, data, err)
	})
}

func checkError(t *testing.T, data []byte, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) == 0 {
		t.Fatalf("an error without places: %v", err)
	}
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), "\n")
	last := Problem{}
	for _, p := range e.Problems {
		if p.Line < 1 || p.Column < 1 || p.Line > len(lines)+1 || p.Message == "" || p.File != "f" {
			t.Fatalf("%+v is not a place in %d lines", p, len(lines))
		}
		if p.Line < last.Line || p.Line == last.Line && p.Column < last.Column {
			t.Fatalf("%v comes after %v", p, last)
		}
		last = p
	}
}
