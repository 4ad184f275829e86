package configfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// example is the file of the README; it must work as it is.
const example = `version: 1
listen:
  - address: 127.0.0.1:8080
  - address: 127.0.0.1:8443
    tls: {certificates: [{cert: cert.pem, key: key.pem}]}
services:
  users:
    endpoints: ["http://127.0.0.1:9001", {url: "http://127.0.0.1:9002", weight: 3}]
    policy: weighted_round_robin
    health: {check: HEAD /health, interval: 1s, timeout: 500ms, unhealthy_after: 3, healthy_after: 2}
    breaker: {consecutive_failures: 5, open_for: 10s}
  carts:
    source: {file: {path: carts.yaml}}
    policy: {type: consistent_hash, key: "header(X-User-Id) | client_ip", bounded_load: 1.25}
routes:
  - match: {host: api.example.com, path: /api/v1/users/**}
    rewrite: {strip_prefix: /api/v1}
    headers: {request: {set: {X-Gateway: poise}}}
    service: users
    timeout: 3s
  - match: {path: /carts/**}
    service: carts
`

// exampleConfig is what example says, with paths on dir.
func exampleConfig(dir string) config.Config {
	return config.Config{
		Version: 1,
		Listen: []config.Listen{
			{Address: "127.0.0.1:8080"},
			{Address: "127.0.0.1:8443", TLS: &config.TLS{Certificates: []config.Certificate{
				{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")},
			}}},
		},
		Services: map[string]config.Service{
			"users": {
				Endpoints: []config.Endpoint{{URL: "http://127.0.0.1:9001"}, {URL: "http://127.0.0.1:9002", Weight: 3}},
				Policy:    config.Policy{Type: "weighted_round_robin"},
				Health: &config.Health{Check: "HEAD /health", Interval: time.Second, Timeout: 500 * time.Millisecond,
					UnhealthyAfter: 3, HealthyAfter: 2},
				Breaker: config.Breaker{ConsecutiveFailures: 5, OpenFor: 10 * time.Second},
			},
			"carts": {
				Source: &config.Source{File: &config.FileSource{Path: filepath.Join(dir, "carts.yaml")}},
				Policy: config.Policy{Type: "consistent_hash", Key: "header(X-User-Id) | client_ip", BoundedLoad: 1.25},
			},
		},
		Routes: []config.Route{
			{
				Match:   config.Match{Host: "api.example.com", Path: "/api/v1/users/**"},
				Rewrite: config.Rewrite{StripPrefix: "/api/v1"},
				Headers: config.Headers{Request: config.HeaderEdit{Set: map[string]string{"X-Gateway": "poise"}}},
				Service: "users",
				Timeout: 3 * time.Second,
			},
			{Match: config.Match{Path: "/carts/**"}, Service: "carts"},
		},
	}
}

func TestExample(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "poise.yaml")
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := exampleConfig(dir); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got, err = Parse("x", []byte(example), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := exampleConfig(""); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoadMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// minimal is a valid file to which lines may be added.
const minimal = `version: 1
services: {a: {endpoints: ["http://127.0.0.1:1"]}}
routes: [{service: a}]
`

func TestJSON(t *testing.T) {
	for _, data := range []string{
		"{\n\t\"version\": 1,\n\t\"services\": {\"a\": {\"endpoints\": [\"http://127.0.0.1:1\"]}},\n\t\"routes\": [\n\t\t{\"service\": \"a\", \"timeout\": \"3s\"}\n\t]\n}\n",
		`{"version":1,"services":{"a":{"endpoints":["http:\/\/127.0.0.1:1"]}},"routes":[{"service":"a","timeout":"3s"}]}`,
	} {
		c, err := Parse("x.json", []byte(data), nil)
		if err != nil || c.Routes[0].Timeout != 3*time.Second || c.Services["a"].Endpoints[0].URL != "http://127.0.0.1:1" {
			t.Errorf("%s\n%+v %v", data, c, err)
		}
	}
}

// TestMistakes: each file has the mistakes that its comments tell. A comment "# N: text"
// stands in the line of the mistake, N is the column.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	env := func(name string) (string, bool) {
		return map[string]string{"EMPTY": "", "PORT": "9001"}[name], name == "EMPTY" || name == "PORT"
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i, line := range strings.Split(string(data), "\n") {
				_, comment, ok := strings.Cut(line, "# ")
				for _, one := range strings.Split(comment, " # ") {
					column, text, _ := strings.Cut(one, ": ")
					if ok {
						want = append(want, fmt.Sprintf("f.yaml:%d:%s: %s", i+1, column, text))
					}
				}
			}
			_, err = Parse("f.yaml", data, env)
			if got := fmt.Sprint(err); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

func TestSyntaxMistakes(t *testing.T) {
	for data, want := range map[string]string{
		"":                           "f:1:1: the file is empty",
		"# nothing\n":                "f:1:1: the file is empty",
		"version: 1\n---\na: 1\n":    "f:3:1: a second document",
		"a: b: c":                    "f:1:4: ",
		"version: 1\nlisten: [":      "f:2:9: ",
		"version: 1\n\tlisten: []":   "f:2:1: ",
		"version: \xff":              "f:1:10: not UTF-8",
		"a: 1\nb: \x00":              "f:2:4: a control character, U+0000",
		"- a":                        "f:1:1: a mapping is expected here, not a list",
		"hello":                      "f:1:1: a mapping is expected here, not the value hello",
		strings.Repeat("[", 100000):  "f:1:65: nested more than 64 deep",
		strings.Repeat("- ", 100000): "f:1:", // deep
		strings.Repeat("{a: ", 200) + strings.Repeat("}", 200): "nested more than 64 deep",
	} {
		_, err := Parse("f", []byte(data), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", data, err, want)
		}
	}
}

func TestByteOrderMarkAndCRLF(t *testing.T) {
	data := "\ufeff" + strings.ReplaceAll(minimal, "\n", "\r\n")
	if _, err := Parse("f", []byte(data), nil); err != nil {
		t.Error(err)
	}
	_, err := Parse("f", []byte(data+"x: 1\r\n"), nil)
	if got := fmt.Sprint(err); got != "f:4:1: x: unknown key" {
		t.Error(got)
	}
}

func TestAnchors(t *testing.T) {
	c, err := Parse("f", []byte(`version: 1
services:
  a:
    endpoints: &list ["http://127.0.0.1:1"]
    health: &probe {check: GET /a, interval: 7s}
  b:
    endpoints: *list
    health:
      <<: *probe
      check: GET /b
  c: {endpoints: *list, health: {<<: [*probe, {timeout: 2s}], healthy_after: 5}}
routes: [{service: a}]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]config.Health{
		"a": {Check: "GET /a", Interval: 7 * time.Second},
		"b": {Check: "GET /b", Interval: 7 * time.Second},
		"c": {Check: "GET /a", Interval: 7 * time.Second, Timeout: 2 * time.Second, HealthyAfter: 5},
	} {
		if got := *c.Services[name].Health; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if got := c.Services[name].Endpoints; len(got) != 1 || got[0].URL != "http://127.0.0.1:1" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestAliasBomb: a few lines that stand for a million million values are refused, without
// going through them.
func TestAliasBomb(t *testing.T) {
	var data strings.Builder
	data.WriteString("version: 1\nservices:\n  s0: &s0 {endpoints: [\"http://a\"]}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&data, "  s%d: &s%d {<<: [*s%d, *s%d]}\n", i, i, i-1, i-1)
	}
	_, err := Parse("f", []byte(data.String()+"routes: [{service: s1}]\n"), nil)
	if got := fmt.Sprint(err); !strings.HasSuffix(got, "the file merges more than 10000 mappings") || strings.Contains(got, "\n") {
		t.Error(got)
	}
	data.Reset()
	data.WriteString("version: 1\nservices:\n  s0: &s {endpoints: &e [\"http://a:1\"")
	for i := range 460 {
		fmt.Fprintf(&data, ", \"http://a:%d\"", i+2)
	}
	data.WriteString("]}\n")
	for i := 1; i < 460; i++ {
		fmt.Fprintf(&data, "  s%d: *s\n", i)
	}
	_, err = Parse("f", []byte(data.String()+"routes: [{service: s1}]\n"), nil)
	if got := fmt.Sprint(err); !strings.Contains(got, "the file has more than 200000 values") || strings.Contains(got, "\n") {
		t.Errorf("%.300s", got)
	}
}

func TestEmptyListIsGiven(t *testing.T) {
	c, err := Parse("f", []byte("version: 1\nservices: {a: {endpoints: [\"http://a\"], retry: {on: []}}}\nroutes: [{service: a}]\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if on := c.WithDefaults().Services["a"].Retry.On; on == nil || len(on) != 0 {
		t.Errorf("retry.on: [] became %q", on)
	}
}

type problems []config.Problem

func (p problems) Error() string              { return "bad" }
func (p problems) Problems() []config.Problem { return p }

func TestLocate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(example, "  carts:", `  "carts[0].x":`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.HasSuffix(err.Error(), `:22:14: routes[1].service: there is no service "carts", did you mean carts[0].x?`) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(example[:strings.Index(example, "  - match: {path")], "  carts:", `  "c.a[\"r":`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	name := config.Key("services", `c.a["r`)
	for at, want := range map[string]string{
		"":                           "1:1",
		"version":                    "1:10",
		"routes":                     "15:1",
		"routes[0].match.host":       "16:19",
		"routes[0].match.methods":    "16:5", // not there: what holds it
		"routes[0].match.methods[3]": "16:5",
		"routes[0].headers.request.set.X-Gateway":                  "18:31",
		"services.users.endpoints[1]":                              "8:42",
		"services.users.endpoints[0].url":                          "8:17",
		"services.users.policy.type":                               "9:13",
		"services.nobody.policy":                                   "6:1",
		config.Key(name, "policy"):                                 "14:5",
		config.Key(config.Key(name, "policy"), "key"):              "14:42",
		config.Key(name, "nothing"):                                "12:3",
		config.Key(config.Key(config.Key(name, "x"), `y]["`), "z"): "12:3",
	} {
		err := f.Locate(fmt.Errorf("wrapped: %w", problems{{Path: at, Message: "m"}}))
		var located *Error
		if !errors.As(err, &located) || len(located.Problems) != 1 {
			t.Fatalf("%s: %v", at, err)
		}
		if got := fmt.Sprintf("%d:%d", located.Problems[0].Line, located.Problems[0].Column); got != want {
			t.Errorf("%s is at %s, want %s", at, got, want)
		}
	}
	plain := errors.New("plain")
	if f.Locate(plain) != plain || f.Locate(nil) != nil {
		t.Error("an error without problems was changed")
	}
}
