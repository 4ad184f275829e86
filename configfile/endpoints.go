package configfile

import (
	"errors"
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"github.com/poise-lb/poise/config"
)

// list is the form of an endpoint list that names its list.
type list struct {
	Endpoints []config.Endpoint `yaml:"endpoints" doc:"URLs, or mappings with url and weight" required:"true"`
}

// Endpoints reads the list that a file source watches: a YAML or JSON list of URLs, or of
// mappings with url and weight, alone or under the key endpoints. name is what errors
// call it. Nothing is replaced in it: ${ is plain text. An empty list must be written as
// []; an empty file is a mistake, because it is what a half-written one looks like.
func Endpoints(name string, data []byte) ([]config.Endpoint, error) {
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	var l list
	d := newDecoder(name, root)
	if _, bare := root.(*ast.SequenceNode); bare {
		d.decode(root, reflect.ValueOf(&l.Endpoints).Elem(), "endpoints")
	} else {
		d.decode(root, reflect.ValueOf(&l).Elem(), "")
	}
	f := &File{name: name, places: d.places}
	if err := d.finish(f, func() error { return check(l.Endpoints) }); err != nil {
		return nil, err
	}
	return l.Endpoints, nil
}

// check validates the entries one by one and against each other.
func check(endpoints []config.Endpoint) error {
	var problems []config.Problem
	seen := make(map[string]bool)
	for i, e := range endpoints {
		path := config.Index("endpoints", i)
		var invalid *config.Errors
		if errors.As(e.Validate(), &invalid) {
			for _, p := range invalid.List {
				p.Path = path + "." + p.Path
				problems = append(problems, p)
			}
			continue
		}
		spec, _, err := e.Parse()
		if err == nil && seen[spec.URL()] {
			problems = append(problems, config.Problem{Path: config.Key(path, "url"), Value: e.URL, Message: e.URL + " is listed twice"})
		}
		seen[spec.URL()] = true
	}
	return config.NewErrors(problems...)
}
