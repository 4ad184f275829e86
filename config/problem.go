package config

// Mistakes are collected, not returned one by one: an operator mends a file in one turn.
// A Problem says where (a path as in the file), what was found, what is wrong and which valid
// word is nearest; package configfile adds the line and the column.

import (
	"fmt"
	"strconv"
	"strings"
)

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Path is where: the names of the file, as in routes[0].service. Make it with Key and
	// Index. Empty: the whole configuration.
	Path    string
	Value   string // what was found there; empty if something is missing
	Message string // what is wrong with it, to be read after the path
	Near    string // the valid value that was probably meant, or empty
}

// Text is the message with its hint.
func (p Problem) Text() string {
	if p.Near != "" {
		return p.Message + ", did you mean " + p.Near + "?"
	}
	return p.Message
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.Text()
	}
	return p.Path + ": " + p.Text()
}

// Errors is every problem that was found. As an error it is never empty.
type Errors struct{ List []Problem }

// NewErrors returns the problems as an error, or nil if there are none.
func NewErrors(problems ...Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Errors{List: problems}
}

// Problems returns the problems; package configfile shows them at their lines.
func (e *Errors) Problems() []Problem { return e.List }

// Error is all problems, one a line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.List))
	for i, p := range e.List {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Key is the path of a value in the struct or map at path: services.users. A name that is
// not plain is quoted: services["a.b"].
func Key(path, name string) string {
	if !plain(name) {
		return path + "[" + strconv.Quote(name) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// Index is the path of a value in the list at path: routes[0].
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func plain(name string) bool {
	for _, c := range []byte(name) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return name != ""
}
