package configfile

// The endpoint list that a file source watches. Other than in a configuration, one bad entry
// does not spoil the list: it is reported and left out, and the others are used.

// The list of a file source. One bad entry does not spoil the list: the others are used.

import (
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/poise-lb/poise/config"
)

// list is the form of an endpoint list that names its list.
type list struct {
	Endpoints []config.Endpoint `yaml:"endpoints" doc:"URLs, or mappings with url, weight, zone and so on" required:"true"`
}

// Endpoints reads the list that a file source watches: a YAML or JSON list of URLs, or of
// mappings with the keys of an entry, alone or under the key endpoints. name is what errors
// call it. Nothing is replaced in it: ${ is plain text. An empty list must be written as
// []; an empty file is a mistake, because it is what a half-written one looks like.
//
// Entries that are not understood, or name an endpoint of an earlier one, are left out of
// the list and returned as rejected, in the order of the file. A file that is no list, and
// a list of which no entry can be used, are an error, an *Error.
func Endpoints(name string, data []byte) (endpoints []config.Endpoint, rejected []Rejected, err error) {
	root, err := document(name, data)
	if err != nil {
		return nil, nil, err
	}
	var l list
	d := newDecoder(name, root)
	if _, bare := root.(*ast.SequenceNode); bare {
		d.decode(root, reflect.ValueOf(&l.Endpoints).Elem(), "endpoints")
	} else {
		d.decode(root, reflect.ValueOf(&l).Elem(), "")
	}
	s := sorting{file: &File{name: name, places: d.places}, entries: make([][]Problem, len(l.Endpoints))}
	for i, p := range d.problems {
		s.add(d.paths[i], p)
	}
	s.check(l.Endpoints)
	if len(s.rest.Problems) > 0 {
		s.rest.sort()
		return nil, nil, &s.rest
	}
	var all Error
	for i, e := range l.Endpoints {
		if bad := s.entries[i]; bad == nil {
			endpoints = append(endpoints, e)
		} else {
			all.Problems = append(all.Problems, bad...)
			rejected = append(rejected, Rejected{Entry: e.URL, Problems: bad})
		}
	}
	if endpoints == nil && rejected != nil {
		all.sort()
		return nil, nil, &all
	}
	return endpoints, rejected, nil
}

// Rejected is an entry of a list that is left out.
type Rejected struct {
	Entry    string // the URL, if one is given
	Problems []Problem
}

// Reason is every problem, in one line.
func (r Rejected) Reason() string {
	var all []string
	for _, p := range r.Problems {
		all = append(all, p.String())
	}
	return strings.Join(all, "; ")
}

// sorting gives problems to the entries they are about.
type sorting struct {
	file    *File
	entries [][]Problem
	rest    Error // what spoils the whole list
}

func (s *sorting) add(path string, p Problem) {
	if i, ok := entryOf(path); ok && i < len(s.entries) {
		s.entries[i] = append(s.entries[i], p)
	} else {
		s.rest.Problems = append(s.rest.Problems, p)
	}
}

// check validates the entries that were understood, one by one and against each other.
func (s *sorting) check(endpoints []config.Endpoint) {
	seen := make(map[string]bool)
	for i, e := range endpoints {
		if s.entries[i] != nil {
			continue
		}
		path := config.Index("endpoints", i)
		var invalid *config.Errors
		if errors.As(e.Validate(), &invalid) {
			for _, p := range invalid.List {
				p.Path = path + "." + p.Path
				s.add(p.Path, s.file.locate(p))
			}
			continue
		}
		spec, _, err := e.Parse()
		if err == nil && seen[spec.URL()] {
			p := config.Problem{Path: config.Key(path, "url"), Value: e.URL, Message: e.URL + " is listed twice"}
			s.add(p.Path, s.file.locate(p))
		}
		seen[spec.URL()] = true
	}
}

// entryOf is the index in a path that begins with endpoints[index].
func entryOf(path string) (int, bool) {
	rest, ok := strings.CutPrefix(path, "endpoints[")
	digits, _, closed := strings.Cut(rest, "]")
	i, err := strconv.Atoi(digits)
	return i, ok && closed && err == nil
}
