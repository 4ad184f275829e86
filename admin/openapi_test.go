package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// A document is openapi.yaml as far as the test looks at it.
type document struct {
	Paths      map[string]map[string]any // by method, and parameters
	Components struct {
		Schemas   map[string]*schema
		Responses map[string]*response
	}
}

type operation struct {
	Summary   string
	Responses map[string]*response
}

type response struct {
	Ref     string `yaml:"$ref"`
	Content map[string]struct{ Schema *schema }
}

// A schema is what the document uses of JSON Schema. Beyond that properties that it does not list
// are refused: what the API says is documented.
type schema struct {
	Ref        string `yaml:"$ref"`
	Type       any
	Required   []string
	Properties map[string]*schema
	Additional *schema `yaml:"additionalProperties"`
	Items      *schema
	Enum       []string
	Format     string
}

func described(t *testing.T) *document {
	t.Helper()
	var d document
	if err := yaml.Unmarshal([]byte(description), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// operations are those of a path by method.
func (d *document) operations(t *testing.T, path string) map[string]operation {
	t.Helper()
	out := make(map[string]operation)
	for method, v := range d.Paths[path] {
		if method == "parameters" {
			continue
		}
		text, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var o operation
		if err := yaml.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		out[method] = o
	}
	return out
}

// resolve follows a reference.
func (d *document) resolve(t *testing.T, s *schema) *schema {
	if s.Ref == "" {
		return s
	}
	out := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	if out == nil {
		t.Fatalf("%s leads nowhere", s.Ref)
	}
	return out
}

// check holds a value to a schema.
func (d *document) check(t *testing.T, path string, s *schema, v any) {
	t.Helper()
	s = d.resolve(t, s)
	kind := map[bool]string{true: "integer", false: "number"}
	is := ""
	switch v := v.(type) {
	case nil:
		is = "null"
	case bool:
		is = "boolean"
	case float64:
		is = kind[v == float64(int64(v))]
	case string:
		is = "string"
		if s.Format == "date-time" {
			if at, err := time.Parse(time.RFC3339, v); err != nil || at.IsZero() {
				t.Errorf("%s: %q is no time", path, v)
			}
		}
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			t.Errorf("%s: %q is none of %v", path, v, s.Enum)
		}
	case []any:
		is = "array"
		for i, item := range v {
			d.check(t, fmt.Sprintf("%s[%d]", path, i), s.Items, item)
		}
	case map[string]any:
		is = "object"
		d.checkObject(t, path, s, v)
	}
	types, ok := s.Type.([]any)
	if !ok {
		types = []any{s.Type}
	}
	if !slices.Contains(types, any(is)) && !(is == "integer" && slices.Contains(types, any("number"))) {
		t.Errorf("%s is a %s, the document says %v", path, is, s.Type)
	}
}

func (d *document) checkObject(t *testing.T, path string, s *schema, v map[string]any) {
	t.Helper()
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			t.Errorf("%s has no %s", path, name)
		}
	}
	for name, member := range v {
		of := s.Properties[name]
		if of == nil {
			of = s.Additional
		}
		if of == nil {
			t.Errorf("%s.%s is not described", path, name)
			continue
		}
		d.check(t, path+"."+name, of, member)
	}
}

// Every handler is described, and what is described is there.
func TestTheDescriptionIsComplete(t *testing.T) {
	d := described(t)
	var there, described []string
	for pattern := range new(api).handlers() {
		there = append(there, pattern)
	}
	for path := range d.Paths {
		for method, o := range d.operations(t, path) {
			described = append(described, strings.ToUpper(method)+" "+path)
			if o.Summary == "" || len(o.Responses) == 0 {
				t.Errorf("%s %s has no summary or no responses", method, path)
			}
		}
	}
	slices.Sort(there)
	slices.Sort(described)
	if !slices.Equal(there, described) {
		t.Errorf("the handlers are\n%s\nthe document has\n%s", strings.Join(there, "\n"), strings.Join(described, "\n"))
	}
}

// What the handlers answer is as described, for every path that is read.
func TestAnswersAreAsDescribed(t *testing.T) {
	d, s := described(t), newSide(t, Options{Origin: "a test"})
	checked := 0
	for path := range d.Paths {
		get, ok := d.operations(t, path)["get"]
		if !ok || strings.HasSuffix(path, "/stream") {
			continue
		}
		status, text := s.ask("GET", strings.ReplaceAll(path, "{service}", "users"), nil)
		r := get.Responses["200"]
		if r != nil && r.Ref != "" {
			r = d.Components.Responses[strings.TrimPrefix(r.Ref, "#/components/responses/")]
		}
		if status != http.StatusOK || r == nil {
			t.Errorf("%s: %d %s", path, status, text)
			continue
		}
		if content, ok := r.Content["application/json"]; ok {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			d.check(t, path, content.Schema, v)
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("only %d answers were looked at", checked)
	}
	status, text := s.ask("GET", "/api/v1/services/user", nil)
	var v any
	json.Unmarshal([]byte(text), &v)
	d.check(t, "a refusal", d.Components.Schemas["Problem"], v)
	if status != 404 || !strings.Contains(text, `"near":"users"`) {
		t.Errorf("%d %s", status, text)
	}
}
