package configfile

// The JSON Schema of a configuration file, made from the same tags that decode, fill in and
// check it, so that an editor and the program cannot disagree.

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, made from the
// structs of package config and their tags: for editors, and for people who look things
// up. It accepts what Load decodes; what Validate finds it does not know.
func Schema() []byte {
	g := generator{model: make(tags.Model)}
	root := g.object(reflect.TypeFor[config.Config]())
	root.Dialect = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "Configuration of Poise"
	root.Defs = append(g.defs, property{"replaced", &schema{
		Description: "replaced when the file is loaded: ${VAR}, ${VAR:-default} or ${file:/path}",
		Type:        "string",
		Pattern:     `\$\{.+\}`,
	}})
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic("configfile: schema: " + err.Error()) // a test makes it
	}
	return out.Bytes()
}

// A schema is the part of JSON Schema that is used, in the order in which it is written.
type schema struct {
	Dialect              string     `json:"$schema,omitempty"`
	Title                string     `json:"title,omitempty"`
	Description          string     `json:"description,omitempty"`
	Ref                  string     `json:"$ref,omitempty"`
	Type                 any        `json:"type,omitempty"` // a string or several
	Enum                 []any      `json:"enum,omitempty"`
	Pattern              string     `json:"pattern,omitempty"`
	Minimum              *float64   `json:"minimum,omitempty"`
	Maximum              *float64   `json:"maximum,omitempty"`
	AnyOf                []*schema  `json:"anyOf,omitempty"`
	Default              any        `json:"default,omitempty"`
	Examples             []string   `json:"examples,omitempty"`
	Items                *schema    `json:"items,omitempty"`
	Properties           properties `json:"properties,omitempty"`
	AdditionalProperties any        `json:"additionalProperties,omitempty"` // false or a schema
	Required             []string   `json:"required,omitempty"`
	Defs                 properties `json:"$defs,omitempty"`
}

// properties is a JSON object in the order of the model.
type properties []property

type property struct {
	name   string
	schema *schema
}

// MarshalJSON writes the properties in their order.
func (p properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, one := range p {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(strconv.Quote(one.name) + ":")
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(one.schema); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// A generator makes schemas and collects those of the structs under their Go names.
type generator struct {
	model tags.Model
	defs  properties
}

func (g *generator) object(t reflect.Type) *schema {
	s := &schema{Type: "object", AdditionalProperties: false}
	for _, f := range g.model.Of(t) {
		if f.Name == "" {
			continue
		}
		s.Properties = append(s.Properties, property{f.Name, g.field(f)})
		if f.Required {
			s.Required = append(s.Required, f.Name)
		}
	}
	return s
}

// field is the schema of one field: that of its type with what its tags add.
func (g *generator) field(f tags.Field) *schema {
	s := g.value(f)
	s.Description = f.Doc
	if f.Default != "" {
		v, err := tags.Value(f.Type, f.Default)
		if err != nil {
			panic("configfile: default of " + f.Name + ": " + err.Error()) // a test reads every tag
		}
		s.Default = v.Interface()
		switch {
		case f.Type == tags.Duration || f.Bytes:
			s.Default = f.Default
		case f.Type.Kind() == reflect.Slice:
			s.Default = strings.Split(f.Default, ",")
		}
	}
	if f.Example != "" {
		s.Examples = []string{f.Example}
	}
	return s
}

func (g *generator) value(f tags.Field) *schema {
	t := f.Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		return g.ref(t)
	case reflect.Slice:
		return &schema{Type: "array", Items: g.element(t.Elem())}
	case reflect.Map:
		return &schema{Type: "object", AdditionalProperties: g.element(t.Elem())}
	}
	return scalarSchema(t, f)
}

// element is one value of a list or map. YAML reads 502 and true as more than words, and
// so would a checker: the loader does not mind.
func (g *generator) element(t reflect.Type) *schema {
	if t.Kind() == reflect.String {
		return &schema{Type: []string{"string", "number", "boolean"}}
	}
	return g.value(tags.Field{Type: t})
}

// ref refers to the schema of a struct, which may have a short form.
func (g *generator) ref(t reflect.Type) *schema {
	s := &schema{Ref: "#/$defs/" + t.Name()}
	for _, d := range g.defs {
		if d.name == t.Name() {
			return s
		}
	}
	def := &schema{}
	g.defs = append(g.defs, property{t.Name(), def})
	object := g.object(t)
	if short, ok := g.model.Short(t); ok {
		def.AnyOf = []*schema{g.field(short), object}
	} else {
		*def = *object
	}
	return s
}

func scalarSchema(t reflect.Type, f tags.Field) *schema {
	exact := &schema{}
	switch {
	case t == tags.Duration:
		pattern := `^([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+$|\$\{.+\}`
		if f.None {
			pattern = `^none$|` + pattern
		}
		return &schema{Type: "string", Pattern: pattern}
	case f.Bytes:
		return &schema{Type: "string", Pattern: `^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$|\$\{.+\}`}
	case f.Enum != nil:
		exact.Enum = words(t, f.Enum)
	case t.Kind() == reflect.String:
		return &schema{Type: "string"}
	case t.Kind() == reflect.Bool:
		exact.Type = "boolean"
	case t.Kind() == reflect.Int:
		exact.Type = "integer"
	default:
		exact.Type = "number"
	}
	if f.Min != "" || f.Max != "" {
		exact.Minimum, exact.Maximum = limit(f.Min), limit(f.Max)
		if f.Zero != "" {
			exact.Minimum = limit("0")
		}
	}
	forms := []*schema{exact}
	if f.Percent {
		forms = append(forms, &schema{Type: "string", Pattern: `^[0-9]+%$`})
	}
	return &schema{AnyOf: append(forms, &schema{Ref: "#/$defs/replaced"})}
}

// words are the valid values; those that look like numbers, as numbers too.
func words(t reflect.Type, enum []string) []any {
	var out []any
	for _, word := range enum {
		if t.Kind() == reflect.String {
			out = append(out, word)
		}
		if _, err := strconv.ParseFloat(word, 64); err == nil && !strings.ContainsAny(word, "ainf") {
			out = append(out, json.Number(word))
		}
	}
	return out
}

func limit(text string) *float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil
	}
	return &n
}
