package configfile

// From YAML nodes to the structs of package config. Decoding goes on after a mistake, so that
// all mistakes of a file are reported together, each with its line, its column and the nearest
// key that exists. Aliases can make a small file large: what they make is counted.

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/internal/tags"
)

// Bounds of what aliases can make of a small file: values, and mappings that were merged,
// each counted as often as it is used.
const (
	visitsMax = 200_000
	mergesMax = 10_000
)

// A decoder turns nodes into values of the model and notes every mistake on the way.
type decoder struct {
	name     string
	expander *expander // nil: text is taken as it is
	model    tags.Model
	anchors  map[string]ast.Node
	visits   int
	merges   int
	places   map[string]place
	problems []Problem
	paths    []string        // of the values that the problems are about
	wrong    map[string]bool // paths of values that were not understood
	around   map[string]bool // paths of what holds them
}

func newDecoder(name string, root ast.Node) *decoder {
	d := &decoder{
		name:   name,
		model:  make(tags.Model),
		places: make(map[string]place),
		wrong:  make(map[string]bool),
		around: make(map[string]bool),
	}
	d.collectAnchors(root)
	d.places[""] = placeOf(root)
	return d
}

// fail notes a mistake at path.
func (d *decoder) fail(path string, at place, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	d.problems = append(d.problems, Problem{d.name, at.line, at.column, message})
	d.paths = append(d.paths, path)
	d.wrong[path] = true
	for path != "" && !d.around[path] {
		d.around[path] = true
		path = parent(path)
	}
}

// finish joins the mistakes of decoding and those that validate finds. Of the latter it
// leaves out what is a consequence of the former: about a value that was not understood,
// something in it, or what holds it. A file that was left half-way is not validated.
func (d *decoder) finish(f *File, validate func() error) error {
	all := &Error{Problems: d.problems}
	var invalid *config.Errors
	if d.visits <= visitsMax && d.merges <= mergesMax && errors.As(validate(), &invalid) {
		for _, p := range invalid.List {
			if !d.follows(p.Path) {
				all.Problems = append(all.Problems, f.locate(p))
			}
		}
	}
	if len(all.Problems) == 0 {
		return nil
	}
	all.sort()
	return all
}

func (d *decoder) follows(path string) bool {
	if d.around[path] || d.wrong[""] {
		return true
	}
	for ; path != ""; path = parent(path) {
		if d.wrong[path] {
			return true
		}
	}
	return false
}

// decode puts node into v, which is settable. It reports whether it was understood.
func (d *decoder) decode(node ast.Node, v reflect.Value, path string) bool {
	if _, ok := d.places[path]; !ok {
		d.places[path] = placeOf(node)
	}
	if d.visits++; d.visits > visitsMax {
		if d.visits == visitsMax+1 {
			d.fail(path, placeOf(node), "the file has more than %d values", visitsMax)
		}
		return false
	}
	node, ok := d.plain(node, path)
	if !ok {
		return false
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case isNull(node):
		d.fail(path, d.places[path], "no value is given: leave it out for the default")
		return false
	case v.Kind() == reflect.Struct:
		return d.decodeStruct(node, v, path)
	case v.Kind() == reflect.Map:
		return d.decodeMap(node, v, path)
	case v.Kind() == reflect.Slice:
		return d.decodeList(node, v, path)
	}
	return d.decodeScalar(node, v, tags.Field{Type: v.Type()}, path)
}

func (d *decoder) decodeStruct(node ast.Node, v reflect.Value, path string) bool {
	entries, isMapping := d.entries(node, path)
	if !isMapping {
		return d.decodeShort(node, v, path)
	}
	fields := d.model.Of(v.Type())
	given := make(map[string]bool)
	all := true
	for _, e := range entries {
		at := config.Key(path, e.key)
		i := slices.IndexFunc(fields, func(f tags.Field) bool { return f.Name == e.key && f.Name != "" })
		if i < 0 {
			d.unknown(path, e, fields)
			all = false
			continue
		}
		given[e.key] = true
		d.places[at] = e.place
		all = d.decodeField(e.value, v.FieldByIndex(fields[i].Index), fields[i], at) && all
	}
	for _, f := range fields {
		if f.Zero != "" && given[f.Name] && v.FieldByIndex(f.Index).IsZero() {
			v.FieldByName(f.Zero).SetBool(true)
		}
		if f.Required && !given[f.Name] {
			d.fail(config.Key(path, f.Name), d.places[path], "is missing: %s", f.Doc)
			all = false
		}
	}
	return all
}

func (d *decoder) unknown(path string, e entry, fields []tags.Field) {
	var names []string
	for _, f := range fields {
		if f.Name != "" {
			names = append(names, f.Name)
		}
	}
	hint := ""
	if near := nearest.Word(e.key, names); near != "" {
		hint = ", did you mean " + near + "?"
	}
	d.fail(config.Key(path, e.key), e.place, "unknown key%s", hint)
}

// decodeShort takes a plain value, or a list, in place of a struct for the field that it stands for.
func (d *decoder) decodeShort(node ast.Node, v reflect.Value, path string) bool {
	f, ok := d.model.Short(v.Type())
	_, scalar := scalarOf(node)
	if _, list := node.(*ast.SequenceNode); !ok || !scalar && !(list && f.Type.Kind() == reflect.Slice) {
		d.fail(path, placeOf(node), "a mapping is expected here, not %s", kindOf(node))
		return false
	}
	d.places[path] = placeOf(node)
	at := config.Key(path, f.Name)
	d.places[at] = placeOf(node)
	return d.decodeField(node, v.FieldByIndex(f.Index), f, at)
}

// decodeField is decode for a field of a struct, whose tags say more than its type.
func (d *decoder) decodeField(node ast.Node, v reflect.Value, f tags.Field, path string) bool {
	switch v.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return d.decode(node, v, path)
	}
	written := placeOf(node)
	node, ok := d.plain(node, path)
	if !ok {
		return false
	}
	if isNull(node) {
		d.fail(path, d.places[path], "no value is given: leave it out for the default")
		return false
	}
	d.places[path] = written // rather than that of its key
	return d.decodeScalar(node, v, f, path)
}

func (d *decoder) decodeMap(node ast.Node, v reflect.Value, path string) bool {
	entries, isMapping := d.entries(node, path)
	if !isMapping {
		d.fail(path, placeOf(node), "a mapping of names is expected here, not %s", kindOf(node))
		return false
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	all := true
	for _, e := range entries {
		at := config.Key(path, e.key)
		d.places[at] = e.place
		item := reflect.New(v.Type().Elem()).Elem()
		all = d.decode(e.value, item, at) && all
		v.SetMapIndex(reflect.ValueOf(e.key), item) // also if wrong: others may refer to it
	}
	return all
}

func (d *decoder) decodeList(node ast.Node, v reflect.Value, path string) bool {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		d.fail(path, placeOf(node), "a list is expected here, as in [a, b], not %s", kindOf(node))
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	all := true
	for i, item := range list.Values {
		all = d.decode(item, v.Index(i), config.Index(path, i)) && all
	}
	return all
}
