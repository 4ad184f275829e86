package config

// Other files of an operator, a scenario of poise simulate for instance, are structs with the tags
// of this package. Fill and Check give them what Config has: defaults that stand in tags, and
// bounds and words that one walk checks.
//
//	type Load struct {
//		Rate float64 `yaml:"rate" doc:"requests a second" default:"100" max:"1000000"`
//	}
//	full := config.Fill(Load{})           // Rate is 100
//	problems := config.Check(Load{-1})    // rate: -1 is less than 0

import (
	"reflect"

	"github.com/poise-lb/poise/internal/tags"
)

// Fill returns a copy of v, a struct with the tags of this package, in which every zero value
// that has a default has that default. It shares nothing with v but what is Go only.
func Fill[T any](v T) T {
	return filler{make(tags.Model)}.copy(reflect.ValueOf(v)).Interface().(T)
}

// Check returns what the tags find wrong with v, a struct that has been through Fill, and
// with everything in it, in the order of its fields; nil: nothing.
func Check(v any) []Problem {
	w := validator{model: make(tags.Model)}
	w.tags("", reflect.ValueOf(v))
	return w.problems
}
