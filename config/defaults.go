package config

// Defaults stand in the tags of the structs, nowhere else. WithDefaults walks over a value
// and fills in what is zero, so a configuration made in Go and one read from a file mean the
// same, and the schema and the documents print the numbers that are really used.

import (
	"reflect"

	"github.com/poise-lb/poise/internal/tags"
)

// WithDefaults returns a copy of c in which every zero value that has a default has that
// default: of Health, Source and the other pointers only where they are not nil. The copy
// shares no map, slice or pointer with c, except what is Go only: loggers, custom
// policies and custom sources. It is idempotent.
func (c Config) WithDefaults() Config {
	return filler{make(tags.Model)}.copy(reflect.ValueOf(c)).Interface().(Config)
}

// WithDefaults returns e with its weight filled in.
func (e Endpoint) WithDefaults() Endpoint {
	return filler{make(tags.Model)}.copy(reflect.ValueOf(e)).Interface().(Endpoint)
}

// WithDefaults returns h with what it does not say filled in.
func (h Health) WithDefaults() Health {
	return filler{make(tags.Model)}.copy(reflect.ValueOf(h)).Interface().(Health)
}

// A filler copies values of the model and gives them their defaults.
type filler struct{ model tags.Model }

func (f filler) copy(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Struct:
		f.fields(out, v)
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(f.copy(v.Elem()))
		}
	case reflect.Slice:
		// An empty list that is not nil was meant, and stays: "retry on nothing".
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(f.copy(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for it := v.MapRange(); it.Next(); {
				out.SetMapIndex(it.Key(), f.copy(it.Value()))
			}
		}
	default:
		out.Set(v)
	}
	return out
}

func (f filler) fields(out, v reflect.Value) {
	for _, t := range f.model.Of(v.Type()) {
		if t.Name == "" {
			out.FieldByIndex(t.Index).Set(v.FieldByIndex(t.Index)) // Go only: shared
			continue
		}
		out.FieldByIndex(t.Index).Set(f.copy(v.FieldByIndex(t.Index)))
		if t.Default == "" || !v.FieldByIndex(t.Index).IsZero() {
			continue
		}
		d, err := tags.Value(t.Type, t.Default)
		if err != nil {
			panic("config: default of " + t.Name + ": " + err.Error()) // a test reads every tag
		}
		out.FieldByIndex(t.Index).Set(d)
	}
	// A value that is bounded by another one follows it, so that a user need not say both.
	switch given := v.Interface().(type) {
	case Health:
		if full := out.Addr().Interface().(*Health); given.Timeout == 0 {
			full.Timeout = min(full.Timeout, full.Interval)
		}
	case Limits:
		if full := out.Addr().Interface().(*Limits); given.Target == 0 {
			full.Target = min(full.Target, full.Head)
		}
	}
}
