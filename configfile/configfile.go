// Package configfile reads config.Config from YAML, of which JSON is a subset, and tells
// every mistake with its file, line and column. It is strict: unknown and repeated keys,
// wrong types, durations without a unit and values that are not there are refused.
//
// Text values may contain ${VAR}, ${VAR:-default} (also used when VAR is empty) and
// ${file:/path} (the file's content without its final line break); $${ stands for ${.
// They are replaced after parsing, so what comes in can never change the structure. A
// value with a replacement may stand for a number, a duration or a boolean, quoted or not.
//
// Anchors, aliases and merge keys (<<) may be used, tags such as !!str may not.
package configfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// A Problem is one mistake and where it is.
type Problem struct {
	File    string
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Error is every mistake that was found, in the order of the file. It is never empty.
type Error struct {
	Problems []Problem
	// Files are those that were read, as File.Files has them. Nil from Parse.
	Files map[string][sha256.Size]byte
}

// Error is one line per mistake: file:line:column: what.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// A File is a configuration and where its values were written.
type File struct {
	// Config is what the file says, and nothing where it says nothing: without defaults.
	Config config.Config

	name   string
	files  map[string][sha256.Size]byte
	places map[string]place // by the path of the value
}

// Files are the files that Config was made of, by path: the configuration and every one
// that ${file:...} names; with each the SHA-256 of what was read, or zeros if it could not
// be read. If one of them changes, reading again may give another Config. Files that the
// values of Config name (certificates, authorities, endpoint lists) are not among them.
func (f *File) Files() map[string][sha256.Size]byte { return maps.Clone(f.files) }

// Load reads the file at path with the environment of the process. Relative paths in it
// (certificates, authorities, endpoint lists, the access log, ${file:...}) stand on its
// folder. Mistakes are an *Error; that it cannot be read is an error of package os.
func Load(path string) (config.Config, error) {
	f, err := Read(path)
	if err != nil {
		return config.Config{}, err
	}
	return f.Config, nil
}

// Read is Load for callers that need the places of values.
func Read(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	read := map[string][sha256.Size]byte{path: sha256.Sum256(data)}
	f, err := parse(path, data, &expander{env: os.LookupEnv, dir: filepath.Dir(path), files: read})
	if bad := (*Error)(nil); errors.As(err, &bad) {
		bad.Files = read
	}
	if err != nil {
		return nil, err
	}
	f.files = read
	resolve(reflect.ValueOf(&f.Config).Elem(), make(tags.Model), filepath.Dir(path))
	return f, nil
}

// Parse reads data; name is what errors call it. env answers ${VAR}; nil: there are
// no variables, and ${file:...} is a mistake, so that no file is read. Relative paths stay as they
// are and stand on the working directory.
func Parse(name string, data []byte, env func(string) (string, bool)) (config.Config, error) {
	f, err := parse(name, data, &expander{env: env})
	if err != nil {
		return config.Config{}, err
	}
	return f.Config, nil
}

func parse(name string, data []byte, e *expander) (*File, error) {
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	f := &File{name: name}
	d := newDecoder(name, root)
	d.expander = e
	d.decode(root, reflect.ValueOf(&f.Config).Elem(), "")
	d.compileExpressions(&f.Config)
	f.places = d.places
	return f, d.finish(f, f.Config.Validate)
}

// Locate returns err with file, line and column, if it says which values are at fault: if
// it, or an error that it wraps, has Problems, as those of config.Validate and poise.New
// do. Other errors, and nil, are returned as they are.
func (f *File) Locate(err error) error {
	var with interface{ Problems() []config.Problem }
	if !errors.As(err, &with) || len(with.Problems()) == 0 {
		return err
	}
	located := &Error{}
	for _, p := range with.Problems() {
		located.Problems = append(located.Problems, f.locate(p))
	}
	located.sort()
	return located
}

// Place returns where the value at path is written, as in poise.yaml:22:14; empty: the file does
// not say it, so that it has its default. path is as in config.Problem.
func (f *File) Place(path string) string {
	at, ok := f.places[path]
	if !ok || path == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", f.name, at.line, at.column)
}

func (f *File) locate(p config.Problem) Problem {
	at := f.find(p.Path)
	return Problem{File: f.name, Line: at.line, Column: at.column, Message: p.String()}
}

// find returns the place of the value at path, or of the nearest value around it.
func (f *File) find(path string) place {
	for {
		if at, ok := f.places[path]; ok {
			return at
		}
		if path == "" {
			return place{1, 1}
		}
		path = parent(path)
	}
}

// parent cuts the last name or index off a path made by config.Key and config.Index.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		for i := strings.LastIndex(path, `["`); i >= 0; i = strings.LastIndex(path[:i], `["`) {
			if i == 0 || path[i-1] != '\\' { // not a quoted [ and "
				return path[:i]
			}
		}
		return ""
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func (e *Error) sort() {
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	e.Problems = slices.Compact(e.Problems)
}

// resolve puts dir in front of the relative paths in v.
func resolve(v reflect.Value, model tags.Model, dir string) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range model.Of(v.Type()) {
			text := v.FieldByIndex(f.Index)
			switch {
			case f.Name == "":
			case !f.Path:
				resolve(text, model, dir)
			case text.String() != "" && text.String() != "-" && !filepath.IsAbs(text.String()):
				text.SetString(filepath.Join(dir, text.String()))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			resolve(v.Elem(), model, dir)
		}
	case reflect.Slice:
		for i := range v.Len() {
			resolve(v.Index(i), model, dir)
		}
	case reflect.Map: // its values cannot be set in place
		for _, key := range v.MapKeys() {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(v.MapIndex(key))
			resolve(item, model, dir)
			v.SetMapIndex(key, item)
		}
	}
}
