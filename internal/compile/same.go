package compile

// Apply keeps a source running when the new configuration says the same as the old one.
// What a configuration says is compared by value, except for an embedder's own values:
// those may be in use by other goroutines, so nothing looks inside them.

import (
	"reflect"
	"slices"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// SameSource reports whether two configurations name the same source. nil equals nil only.
func SameSource(a, b *config.Source) bool {
	if a == nil || b == nil {
		return a == b
	}
	return sameCustom(a.Custom, b.Custom) && slices.EqualFunc(a.Merge, b.Merge, samePart) &&
		reflect.DeepEqual(plainSource(*a), plainSource(*b))
}

func samePart(a, b config.SourcePart) bool {
	return a.Shadow == b.Shadow && SameSource(&a.Source, &b.Source)
}

// plainSource is s without its parts and the embedder's value: pointers to structs of
// package config, which hold texts, numbers and lists only.
func plainSource(s config.Source) config.Source {
	s.Custom, s.Merge = nil, nil
	return s
}

// sameCustom reports whether two sources of an embedder are one. Comparable values are
// compared by ==, which does not follow pointers. Of the others, a map or a slice is the
// same if it is the same memory, and a Static list if it has the same content; the rest
// (functions, structs that hold a map or a function) counts as different.
func sameCustom(a, b discovery.Source) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if x, ok := a.(discovery.Static); ok {
		y, ok := b.(discovery.Static)
		return ok && slices.EqualFunc(x, y, endpoint.Spec.Equal)
	}
	v, w := reflect.ValueOf(a), reflect.ValueOf(b)
	if v.Type() != w.Type() {
		return false
	}
	switch {
	case v.Comparable() && w.Comparable():
		return a == b
	case v.Kind() == reflect.Map:
		return v.UnsafePointer() == w.UnsafePointer()
	case v.Kind() == reflect.Slice:
		return v.Len() == w.Len() && v.UnsafePointer() == w.UnsafePointer()
	}
	return false
}
