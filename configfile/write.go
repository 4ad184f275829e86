package configfile

// The way back: from the structs of package config to a text that reads back as the same. It is for
// programs, as poise ctl, which sends a configuration to another process: what ${...} stood for and
// the folders of relative paths are in it, secrets too.

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// Write returns c as a configuration in JSON, which is YAML as well: Parse of it returns c, without
// what a file cannot say. A value that is zero is left out, for its default. Secrets are in it.
func Write(c *config.Config) []byte {
	w := writer{make(tags.Model)}
	tree := w.value(reflect.ValueOf(c).Elem(), tags.Field{}).(map[string]any)
	tree["version"] = 1 // which a file must say
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(tree); err != nil {
		panic("configfile: " + err.Error()) // plain values only: a test writes every field
	}
	return out.Bytes()
}

type writer struct{ model tags.Model }

// value is v as package json takes it. f is the field that it stands in.
func (w writer) value(v reflect.Value, f tags.Field) any {
	switch {
	case v.Type() == tags.Duration:
		if f.None && time.Duration(v.Int()) == tags.NoDuration {
			return "none"
		}
		return time.Duration(v.Int()).String()
	case v.Kind() == reflect.Pointer:
		return w.value(v.Elem(), f)
	case v.Kind() == reflect.Struct:
		return w.fields(v)
	case v.Kind() == reflect.Map:
		out := make(map[string]any, v.Len())
		for _, key := range v.MapKeys() {
			out[key.String()] = w.value(v.MapIndex(key), tags.Field{})
		}
		return out
	case v.Kind() == reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = w.value(v.Index(i), tags.Field{})
		}
		return out
	case v.Kind() == reflect.String:
		return strings.ReplaceAll(v.String(), "${", "$${")
	case f.Bytes:
		return tags.Size(int(v.Int()))
	}
	return v.Interface()
}

// fields are those of a struct that say something.
func (w writer) fields(v reflect.Value) map[string]any {
	out := make(map[string]any)
	for _, f := range w.model.Of(v.Type()) {
		if f.Name == "" {
			continue
		}
		field := v.FieldByIndex(f.Index)
		zero := f.Zero != "" && v.FieldByName(f.Zero).Bool() // an explicit 0
		if !field.IsZero() || zero || f.Required && field.Kind() == reflect.String {
			out[f.Name] = w.value(field, f)
		}
	}
	return out
}
