package configfile

// Scalars. The type of the field alone decides what a plain value means: "no" is never false,
// 502 is a word in a list of words and a number elsewhere.

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/poise-lb/poise/internal/tags"
)

// decodeScalar puts a plain value into v. What it means is decided by the type of v
// alone: 502 is a word in a list of words and a number elsewhere, and no is never false.
func (d *decoder) decodeScalar(node ast.Node, v reflect.Value, f tags.Field, path string) bool {
	s, ok := scalarOf(node)
	if !ok {
		d.fail(path, placeOf(node), "%s is expected here, not %s", wanted(f, v.Type()), kindOf(node))
		return false
	}
	if d.expander != nil {
		text, err := d.expander.expand(s.text)
		if err != nil {
			d.fail(path, placeOf(node), "%s", err)
			return false
		}
		s.replaced = text != s.text
		s.text = text
	}
	if v.Kind() == reflect.String {
		v.SetString(s.text)
		return true
	}
	if s.quoted && !s.replaced && v.Type() != tags.Duration { // in JSON a duration must be quoted
		_, size := tags.ParseSize(s.text)
		if percent := strings.HasSuffix(s.text, "%"); !(f.Percent && percent) && !(f.Bytes && size) {
			d.fail(path, placeOf(node), "%s is expected here, not the text %q: write it without quotes", wanted(f, v.Type()), abbreviate(s.text))
			return false
		}
	}
	if why := convert(v, f, s.text); why != "" {
		d.fail(path, placeOf(node), "%s", why)
		return false
	}
	if f.Default != "" && v.IsZero() && f.Zero == "" {
		d.fail(path, placeOf(node), "%s is not a value it can have: leave it out for the default, %s%s", s.text, f.Default, bound(f))
		return false
	}
	return true
}

// bound says why zero is refused, where the help does.
func bound(f tags.Field) string {
	if _, after, ok := strings.Cut(f.Doc, "; "); ok {
		return " (" + after + ")"
	}
	return ""
}

// convert puts text into a bool, number or duration and returns what is wrong with it.
func convert(v reflect.Value, f tags.Field, text string) string {
	switch {
	case v.Type() == tags.Duration:
		return convertDuration(v, f, text)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return wanted(f, v.Type()) + " is expected here, not " + abbreviate(text) + nearBool(text)
		}
		v.SetBool(text == "true")
	case f.Bytes:
		return convertSize(v, text)
	case v.Kind() == reflect.Int:
		digits := text
		if f.Percent {
			digits = strings.TrimSuffix(text, "%")
		}
		n, err := strconv.Atoi(digits)
		if err != nil || strconv.Itoa(n) != digits { // not 010, 0x10 or +10, which mean different things elsewhere
			return wanted(f, v.Type()) + " is expected here, not " + abbreviate(text)
		}
		v.SetInt(int64(n))
	case v.Kind() == reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) || strings.ContainsAny(text, "xX_") {
			return wanted(f, v.Type()) + " is expected here, not " + abbreviate(text)
		}
		v.SetFloat(n)
	default:
		panic("configfile: no way to read a " + v.Type().String()) // a test decodes every field
	}
	return ""
}

func convertDuration(v reflect.Value, f tags.Field, text string) string {
	if f.None && text == "none" {
		v.SetInt(int64(tags.NoDuration))
		return ""
	}
	duration, err := time.ParseDuration(text)
	if err == nil && text != "0" {
		v.SetInt(int64(duration))
		return ""
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return "a unit is missing: write " + text + "s or " + text + "ms"
	}
	return wanted(f, v.Type()) + " is expected here, not " + abbreviate(text)
}

// convertSize wants a unit, as durations do: a plain number could be meant in KiB.
func convertSize(v reflect.Value, text string) string {
	if n, ok := tags.ParseSize(text); ok {
		v.SetInt(int64(n))
		return ""
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return "a unit is missing: write " + tags.Size(n) + " or " + strconv.Itoa(n) + "KiB"
	}
	return wanted(tags.Field{Bytes: true}, v.Type()) + " is expected here, not " + abbreviate(text)
}

func nearBool(text string) string {
	switch strings.ToLower(text) {
	case "yes", "on", "true", "1", "y":
		return ", did you mean true?"
	case "no", "off", "false", "0", "n":
		return ", did you mean false?"
	}
	return ""
}

func wanted(f tags.Field, t reflect.Type) string {
	switch {
	case f.Bytes:
		return "a size such as 512B, 64KiB or 1MiB"
	case t == tags.Duration && f.None:
		return "a duration such as 500ms, 3s or 1m, or none,"
	case t == tags.Duration:
		return "a duration such as 500ms, 3s or 1m"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	}
	return "a number"
}
