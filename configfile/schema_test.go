package configfile

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestSchemaGolden(t *testing.T) {
	const golden = "testdata/poise.schema.json"
	got := Schema()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the schema has changed: look at the difference, then run go test ./configfile -update")
	}
}

// A checker is just enough of JSON Schema 2020-12 for the schema that is tested. A
// keyword that it does not know is an error, so that nothing is passed unchecked.
type checker struct{ root map[string]any }

func (c checker) check(schema any, v any, path string) error {
	if allowed, ok := schema.(bool); ok {
		if !allowed {
			return fmt.Errorf("%s is not allowed", path)
		}
		return nil
	}
	s := schema.(map[string]any)
	for keyword, arg := range s {
		if err := c.keyword(s, keyword, arg, v, path); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) keyword(s map[string]any, keyword string, arg, v any, path string) error {
	object, _ := v.(map[string]any)
	ok := true
	switch keyword {
	case "$schema", "$defs", "title", "description", "default", "examples":
	case "$ref":
		name := strings.TrimPrefix(arg.(string), "#/$defs/")
		return c.check(c.root["$defs"].(map[string]any)[name], v, path)
	case "type":
		ok = isType(arg, v)
	case "enum":
		ok = slices.ContainsFunc(arg.([]any), func(e any) bool { return reflect.DeepEqual(e, v) })
	case "pattern":
		text, isText := v.(string)
		ok = !isText || regexp.MustCompile(arg.(string)).MatchString(text)
	case "minimum":
		n, isNumber := v.(float64)
		ok = !isNumber || n >= arg.(float64)
	case "maximum":
		n, isNumber := v.(float64)
		ok = !isNumber || n <= arg.(float64)
	case "anyOf":
		ok = slices.ContainsFunc(arg.([]any), func(one any) bool { return c.check(one, v, path) == nil })
	case "required":
		for _, name := range arg.([]any) {
			if _, has := object[name.(string)]; object != nil && !has {
				return fmt.Errorf("%s: %s is missing", path, name)
			}
		}
	case "items":
		list, _ := v.([]any)
		for i, item := range list {
			if err := c.check(arg, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case "properties":
		for name, sub := range arg.(map[string]any) {
			if item, has := object[name]; has {
				if err := c.check(sub, item, path+"."+name); err != nil {
					return err
				}
			}
		}
	case "additionalProperties":
		properties, _ := s["properties"].(map[string]any)
		for name, item := range object {
			if _, has := properties[name]; !has {
				if err := c.check(arg, item, path+"."+name); err != nil {
					return err
				}
			}
		}
	default:
		return fmt.Errorf("keyword %s is not known", keyword)
	}
	if !ok {
		return fmt.Errorf("%s: %v does not fit %s: %v", path, v, keyword, arg)
	}
	return nil
}

func isType(want, v any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(one any) bool { return isType(one, v) })
	}
	switch v := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && v == math.Trunc(v)
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return want == "null"
}

func newChecker(t *testing.T) checker {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	return checker{root}
}

// generic reads YAML as an editor would.
func generic(t *testing.T, data string) any {
	t.Helper()
	var v, out any
	if err := yaml.Unmarshal([]byte(data), &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSchemaAcceptsWhatLoads(t *testing.T) {
	c := newChecker(t)
	for _, data := range []string{example, minimal, full, shorts, sources} {
		if _, err := Parse("f", []byte(data), func(name string) (string, bool) { return "8", name != "LEVEL" }); err != nil {
			t.Errorf("%v in\n%s", err, data)
		}
		if err := c.check(c.root, generic(t, data), "$"); err != nil {
			t.Errorf("%v in\n%s", err, data)
		}
	}
}

// shorts has the short form of everything that has one, and values put in from outside.
const shorts = `version: 1
listen: [":8080"]
access_log: "-"
log: {level: "${LEVEL:-debug}"}
timeouts: {idle: "${IDLE:-8}s"}
services:
  a: {source: {file: a.yaml}, policy: random, health: HEAD /, retry: {on: [connect, 502], attempts: "${N}"}, panic_threshold: 30%}
  b: {source: {dns: "http://b:1"}, breaker: {failure_rate: "30%", off: true}}
  c: {source: {dns: {url: "http://b:1", server: "127.0.0.1"}}}
  d: {source: {dns: {srv: _http._tcp.b, scheme: https}}}
  e: {source: {file: a.yaml}, sticky: lb}
routes: [{service: a, headers: {request: {set: {X-On: true, X-N: 1}}}}, {match: {path: /split}, split: [{service: a, weight: 0}, {service: b}]}]
`

func TestSchemaRefuses(t *testing.T) {
	c := newChecker(t)
	for _, change := range [][2]string{
		{"version: 1\n", ""},
		{"version: 1\n", "version: 2\n"},
		{"service: users", "servce: users"},
		{"service: users", "service: [users]"},
		{"timeout: 3s", "timeout: 3"},
		{"timeout: 3s", "timeout: 3 s"},
		{"timeout: 3s", "timeout: 3d"},
		{"weight: 3", "weight: -1"},
		{"weight: 3", "weight: 1001"},
		{"weight: 3", "weight: 1.5"},
		{"weight: 3", "weight: heavy"},
		{"policy: weighted_round_robin", "policy: weighted"},
		{"{cert: cert.pem, key: key.pem}", "{cert: cert.pem}"},
		{"{path: carts.yaml}", "{}"},
		{"{path: carts.yaml}", "{path: a, watch: true}"},
	} {
		data := strings.Replace(example, change[0], change[1], 1)
		if data == example {
			t.Fatalf("%q is not in the example", change[0])
		}
		if err := c.check(c.root, generic(t, data), "$"); err == nil {
			t.Errorf("%q is accepted in place of %q", change[1], change[0])
		}
	}
}

// TestMistakesOfFormAreSeenByTheSchema: what the loader refuses for its form, an editor
// that checks by the schema refuses too.
func TestMistakesOfFormAreSeenByTheSchema(t *testing.T) {
	c := newChecker(t)
	for _, name := range []string{"types", "durations", "nothing", "zeros", "required", "mixed"} {
		data, err := os.ReadFile(filepath.Join("testdata/mistakes", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), ".inf", "much") // JSON has no infinity
		if err := c.check(c.root, generic(t, text), "$"); err == nil {
			t.Errorf("%s.yaml is accepted", name)
		}
	}
}
