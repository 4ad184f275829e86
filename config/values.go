package config

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/poise-lb/poise/internal/tags"
)

// A Value is one value of a configuration, for people.
type Value struct {
	Path  string // as in Problem: timeouts.idle, routes[0].match.path
	Value string // as the file would say it; a secret is only said to be one
}

// Redacted stands in the place of a secret.
const Redacted = "(secret)"

// Values lists every value of c that is not zero, in the order of the model. With the defaults of
// WithDefaults that is the effective configuration. Secrets and passwords in URLs are left out, so
// the list can be shown.
func (c *Config) Values() []Value {
	l := lister{model: make(tags.Model)}
	l.fields("", reflect.ValueOf(c).Elem())
	return l.out
}

type lister struct {
	model tags.Model
	out   []Value
}

func (l *lister) fields(path string, v reflect.Value) {
	for _, f := range l.model.Of(v.Type()) {
		if f.Name != "" {
			l.value(Key(path, f.Name), f, v.FieldByIndex(f.Index))
		}
	}
}

func (l *lister) value(path string, f tags.Field, v reflect.Value) {
	if v.IsZero() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		l.value(path, f, v.Elem())
	case reflect.Struct:
		l.fields(path, v)
	case reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(keys(v))) {
			l.value(Key(path, key), f, v.MapIndex(reflect.ValueOf(key)))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			l.add(path, f, list(f, v))
			return
		}
		for i := range v.Len() {
			l.value(Index(path, i), f, v.Index(i))
		}
	default:
		l.add(path, f, withoutPassword(show(f, v)))
	}
}

// list writes a list of plain values in one line.
func list(f tags.Field, v reflect.Value) string {
	words := make([]string, v.Len())
	for i := range words {
		words[i] = withoutPassword(show(f, v.Index(i)))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (l *lister) add(path string, f tags.Field, text string) {
	if f.Secret {
		text = Redacted
	}
	l.out = append(l.out, Value{path, text})
}

// withoutPassword is a text without the password that a URL in it may have.
func withoutPassword(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return Redacted // it may be one
	}
	if _, has := u.User.Password(); has {
		return fmt.Sprintf("%s://%s:%s@%s%s", u.Scheme, u.User.Username(), Redacted, u.Host, u.Path)
	}
	return text
}
