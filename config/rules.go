package config

// The rules that tags state (required, enum, min, max, pattern) are checked by one walk over
// the whole value, with the same model that defaults and the schema use.

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/internal/tags"
)

// tags checks what the tags say about v, which has its defaults, and everything in it.
func (v *validator) tags(path string, val reflect.Value) {
	switch val.Kind() {
	case reflect.Struct:
		for _, f := range v.model.Of(val.Type()) {
			if f.Name != "" {
				v.field(path, f, val)
			}
		}
	case reflect.Pointer:
		if !val.IsNil() {
			v.tags(path, val.Elem())
		}
	case reflect.Slice:
		for i := range val.Len() {
			v.tags(Index(path, i), val.Index(i))
		}
	case reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(keys(val))) {
			v.tags(Key(path, key), val.MapIndex(reflect.ValueOf(key)))
		}
	}
}

func keys(m reflect.Value) map[string]bool {
	out := make(map[string]bool, m.Len())
	for _, k := range m.MapKeys() {
		out[k.String()] = true
	}
	return out
}

func (v *validator) field(path string, f tags.Field, parent reflect.Value) {
	at, val := Key(path, f.Name), parent.FieldByIndex(f.Index)
	custom := parent.Type() == reflect.TypeFor[Policy]() && parent.Interface().(Policy).Custom != nil
	switch {
	case f.Required && (val.IsZero() || val.Kind() == reflect.Slice && val.Len() == 0):
		v.add(at, "", "", fmt.Sprintf("is missing: %s", f.Doc))
	case custom:
		return // the words are not looked at
	case f.Enum != nil:
		v.word(at, f, fmt.Sprint(val.Interface()))
	case val.Kind() == reflect.Int, val.Kind() == reflect.Int64, val.Kind() == reflect.Float64:
		v.bounds(at, f, val)
	default:
		v.tags(at, val)
	}
}

func (v *validator) word(path string, f tags.Field, got string) {
	if slices.Contains(f.Enum, got) {
		return
	}
	valid := strings.Join(f.Enum, ", ")
	if len(f.Enum) == 1 {
		v.add(path, got, "", fmt.Sprintf("%q is not known: it is %s", got, valid))
		return
	}
	v.add(path, got, nearest.Word(got, f.Enum), fmt.Sprintf("%q is not one of %s", got, valid))
}

// bounds checks a number or duration. Zero without a default means "not given".
func (v *validator) bounds(path string, f tags.Field, val reflect.Value) {
	if val.IsZero() || f.None && val.Int() == int64(None) {
		return
	}
	lowest, err := tags.Value(f.Type, cmp.Or(f.Min, "0"))
	highest := lowest
	if err == nil && f.Max != "" {
		highest, err = tags.Value(f.Type, f.Max)
	}
	if err != nil {
		panic("config: bounds of " + f.Name + ": " + err.Error()) // a test reads every tag
	}
	got := show(f, val)
	switch {
	case !(number(val) >= number(lowest)): // not a number, too
		v.add(path, got, "", fmt.Sprintf("%s is less than %s", got, show(f, lowest)))
	case f.Max != "" && number(val) > number(highest):
		v.add(path, got, "", fmt.Sprintf("%s is more than %s", got, show(f, highest)))
	}
}

func number(v reflect.Value) float64 {
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Int())
}

// show writes a value of the field as a file would.
func show(f tags.Field, v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	if f.Bytes && v.Int() >= 0 {
		return tags.Size(int(v.Int()))
	}
	return fmt.Sprint(v.Interface())
}
