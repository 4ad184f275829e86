package plan

// Comparing two values of the configuration model, key by key, with the tags that decoding and
// defaults use. For example, of two services:
//
//	{policy: {type: consistent_hash, bounded_load: 1.25}}
//	{policy: {type: consistent_hash, bounded_load: 1.1}, tls: {ca: /ca.pem}}
//
//	policy.bounded_load   1.25   1.1
//	tls                          {ca: /ca.pem}
//
// Lists are compared as a whole. Values of keys that hold secrets are replaced by a word.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// A differ compares values. Its zero value needs a model.
type differ struct {
	model tags.Model
	skip  []string // keys that are left out, with all below them
	edits []Edit
}

// diff lists the keys in which a and b, of one type, differ. skip are keys that are left out.
func diff(a, b any, skip ...string) []Edit {
	d := differ{model: make(tags.Model), skip: skip}
	d.compare("", reflect.ValueOf(a), reflect.ValueOf(b))
	return d.edits
}

func (d *differ) compare(at string, a, b reflect.Value) {
	if slices.Contains(d.skip, at) && at != "" {
		return
	}
	switch {
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		d.compare(at, a.Elem(), b.Elem())
	case a.Kind() == reflect.Struct:
		for _, f := range d.model.Of(a.Type()) {
			x, y := a.FieldByIndex(f.Index), b.FieldByIndex(f.Index)
			switch key := config.Key(at, f.Name); {
			case f.Name == "":
			case f.Secret:
				d.leaf(key, x, y, true)
			default:
				d.compare(key, x, y)
			}
		}
	case a.Kind() == reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(union(a, b))) {
			k := reflect.ValueOf(key)
			d.leaf(config.Key(at, key), orAbsent(a, k), orAbsent(b, k), false)
		}
	default:
		d.leaf(at, a, b, false)
	}
}

// leaf notes an Edit if two values differ as a whole. hidden: neither of them is shown.
func (d *differ) leaf(at string, a, b reflect.Value, hidden bool) {
	if d.text("", a) == d.text("", b) {
		return
	}
	e := Edit{Key: at, Old: d.text(at, a), New: d.text(at, b)}
	if hidden || secret(at) {
		e.Old, e.New = mask(e.Old), mask(e.New)
	}
	d.edits = append(d.edits, e)
}

func union(a, b reflect.Value) map[string]bool {
	keys := make(map[string]bool)
	for _, m := range []reflect.Value{a, b} {
		for _, k := range m.MapKeys() {
			keys[k.String()] = true
		}
	}
	return keys
}

// orAbsent is the value of a key; a nil pointer if there is none.
func orAbsent(m, key reflect.Value) reflect.Value {
	if v := m.MapIndex(key); v.IsValid() {
		return v
	}
	return reflect.Zero(reflect.PointerTo(m.Type().Elem()))
}

// text writes a value as a file would have it, on one line; empty: it is absent. at is its key; a
// key of a secret within it is masked; with "" nothing is, for comparing.
func (d *differ) text(at string, v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return d.text(at, v.Elem())
	case reflect.Struct:
		var parts []string
		for _, f := range d.model.Of(v.Type()) {
			one := v.FieldByIndex(f.Index)
			switch {
			case one.IsZero():
			case f.Name == "":
				parts = append(parts, f.Type.String()) // Go only: it is there
			case at != "" && (f.Secret || secret(f.Name)):
				parts = append(parts, f.Name+": "+mask("x"))
			default:
				parts = append(parts, f.Name+": "+d.text(at, one))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = d.text(at, v.Index(i))
		}
		if v.IsNil() {
			return ""
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(union(v, v))) {
			one := d.text(at, v.MapIndex(reflect.ValueOf(key)))
			if at != "" && secret(key) {
				one = mask(one)
			}
			parts = append(parts, key+": "+one)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return scalar(v)
}

// scalar writes a plain value. Zero numbers and empty texts are absent, as in the model.
func scalar(v reflect.Value) string {
	switch {
	case v.Type() == tags.Duration && v.Int() == int64(config.None):
		return "none"
	case v.IsZero() && v.Kind() != reflect.Bool:
		return ""
	case v.Type() == tags.Duration:
		return time.Duration(v.Int()).String()
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return fmt.Sprint(v.Interface())
}

// secrets are the last parts of keys whose values are not shown.
var secrets = []string{"password", "token", "secret_key", "access_key", "servers", "authorization", "cookie", "x-api-key"}

func secret(key string) bool {
	last := strings.ToLower(strings.Trim(key[strings.LastIndexAny(key, `.["`)+1:], `"]`))
	if i := strings.LastIndex(key, `["`); i >= 0 {
		last = strings.ToLower(strings.TrimSuffix(key[i+2:], `"]`))
	}
	return slices.Contains(secrets, last)
}

// mask stands for a secret; an absent one stays absent.
func mask(text string) string {
	if text == "" {
		return ""
	}
	return "(not shown)"
}

// hash identifies a plan by its parts: the generation, and all values of the configurations.
func hash(generation uint64, configs ...*config.Config) string {
	h := sha256.New()
	fmt.Fprintf(h, "poise plan 1\n%d\n", generation)
	d := differ{model: make(tags.Model)}
	for _, c := range configs {
		said := *c // what a program hands in beside the file is not a part of it
		said.Logger, said.Sources, said.Spans, said.Engine, said.Workers = nil, nil, nil, "", 0
		io.WriteString(h, d.text("", reflect.ValueOf(said)))
		io.WriteString(h, "\n")
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
