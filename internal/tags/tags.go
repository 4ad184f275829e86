// Package tags reads the struct tags of the configuration model: the one truth about
// names, defaults, bounds and help, from which decoding, defaults, validation and the
// schema are made. What the tags mean is described in package config.
package tags

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Duration is the type of durations, which reflection sees as integers.
var Duration = reflect.TypeFor[time.Duration]()

// NoDuration is the word none in place of a duration.
const NoDuration time.Duration = -1

// A Field is what the tags of one field of a struct say.
type Field struct {
	Index    []int  // of the field in its struct, for reflect.Value.FieldByIndex
	Name     string // in the file; empty: Go only
	Type     reflect.Type
	Doc      string
	Default  string // empty: none
	Enum     []string
	Min, Max string // empty: none
	Required bool
	Short    bool
	Percent  bool
	Bytes    bool // a number of bytes, written with its unit
	None     bool // a duration that may be none: NoDuration
	Path     bool
	Secret   bool
	Example  string
	Zero     string // the bool field beside it that an explicit zero in the file sets; empty: none
}

// Model remembers the tags of the structs that were asked for, because reading them is
// most of the work for thousands of services. Make one per operation with make; it is not
// safe for concurrent use.
type Model map[reflect.Type][]Field

// Of returns every field of struct type t in its order, those that are not in the file
// too. In place of an embedded struct that is inline stand its fields.
func (m Model) Of(t reflect.Type) []Field {
	if fields, ok := m[t]; ok {
		return fields
	}
	fields := make([]Field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("yaml") != ",inline" {
			fields = append(fields, read(f))
			continue
		}
		for _, inner := range m.Of(f.Type) {
			inner.Index = append([]int{i}, inner.Index...)
			fields = append(fields, inner)
		}
	}
	m[t] = fields
	return fields
}

func read(f reflect.StructField) Field {
	name := f.Tag.Get("yaml")
	if name == "" || name == "-" {
		return Field{Index: f.Index, Type: f.Type}
	}
	field := Field{
		Index:    f.Index,
		Name:     name,
		Type:     f.Type,
		Doc:      f.Tag.Get("doc"),
		Default:  f.Tag.Get("default"),
		Min:      f.Tag.Get("min"),
		Max:      f.Tag.Get("max"),
		Required: f.Tag.Get("required") == "true",
		Secret:   f.Tag.Get("secret") == "true",
		Short:    f.Tag.Get("short") == "true",
		Percent:  f.Tag.Get("unit") == "percent",
		Bytes:    f.Tag.Get("unit") == "bytes",
		None:     f.Tag.Get("none") == "true",
		Path:     f.Tag.Get("path") == "true",
		Example:  f.Tag.Get("example"),
		Zero:     f.Tag.Get("zero"),
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		field.Enum = strings.Split(enum, ",")
	}
	return field
}

// Short returns the field that a plain value in place of a t means, if there is one.
func (m Model) Short(t reflect.Type) (Field, bool) {
	if t.Kind() == reflect.Struct {
		for _, f := range m.Of(t) {
			if f.Short {
				return f, true
			}
		}
	}
	return Field{}, false
}

// Value returns what the text of a default, min or max tag is in a field of type t: a
// string, bool, int (also with a unit of bytes), float, duration, or list of strings or
// durations, which is split at commas.
func Value(t reflect.Type, text string) (reflect.Value, error) {
	v := reflect.New(t).Elem()
	var err error
	switch {
	case t == Duration:
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
	case t.Kind() == reflect.String:
		v.SetString(text)
	case t.Kind() == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case t.Kind() == reflect.Int:
		n, ok := ParseSize(text)
		if !ok {
			n, err = strconv.Atoi(text)
		}
		v.SetInt(int64(n))
	case t.Kind() == reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		v.SetFloat(f)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		v.Set(reflect.ValueOf(strings.Split(text, ",")).Convert(t))
	case t.Kind() == reflect.Slice && t.Elem() == Duration:
		for word := range strings.SplitSeq(text, ",") {
			d, parseErr := time.ParseDuration(word)
			err = errors.Join(err, parseErr)
			v.Set(reflect.Append(v, reflect.ValueOf(d)))
		}
	default:
		err = fmt.Errorf("a %s cannot have one", t)
	}
	return v, err
}
