package configfile

// Other files than a configuration, read by the same rules: a scenario of poise simulate.

import (
	"os"
	"path/filepath"
	"reflect"

	"github.com/poise-lb/poise/internal/tags"
)

// ReadInto reads the file at path into v, a pointer to a struct with the tags of package config,
// by the rules of this package; but nothing is replaced in it: ${ is plain text. Relative paths in
// it stand on its folder. validate, called once v is filled in, may return a *config.Errors,
// whose problems get their places; nil: nothing is validated. Mistakes are an *Error; that the
// file cannot be read is an error of package os.
func ReadInto(path string, v any, validate func() error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := ParseInto(path, data, v, validate); err != nil {
		return err
	}
	resolve(reflect.ValueOf(v).Elem(), make(tags.Model), filepath.Dir(path))
	return nil
}

// ParseInto is ReadInto for text; name is what errors call it. Relative paths stay as they are.
func ParseInto(name string, data []byte, v any, validate func() error) error {
	root, err := document(name, data)
	if err != nil {
		return err
	}
	d := newDecoder(name, root)
	d.decode(root, reflect.ValueOf(v).Elem(), "")
	if validate == nil {
		validate = func() error { return nil }
	}
	return d.finish(&File{name: name, places: d.places}, validate)
}
