package configfile

// ${VAR}, ${VAR:-default} and ${file:/path} in text values. Values are replaced after the
// YAML has been parsed, so that what a variable holds can never become syntax.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// includeMax bounds a file that ${file:...} puts into a value: it is for secrets and names.
const includeMax = 64 << 10

// An expander replaces ${...} in text values.
type expander struct {
	env func(string) (string, bool) // nil: there are neither variables nor files
	dir string                      // what relative files stand on; empty: the working directory
	// files collects what was read, if it is not nil; zeros: it could not be read.
	files map[string][sha256.Size]byte
}

// expand returns text with everything replaced. What was put in is not looked at again.
func (e *expander) expand(text string) (string, error) {
	var out strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		if i > 0 && text[i-1] == '$' { // $${ is an escape
			out.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return "", errors.New("${ without }: write $${ if it is meant as it is")
		}
		value, err := e.value(text[i+2 : i+end])
		if err != nil {
			return "", err
		}
		out.WriteString(text[:i] + value)
		text = text[i+end+1:]
	}
}

// value is what stands for the text between ${ and }.
func (e *expander) value(inner string) (string, error) {
	if path, ok := strings.CutPrefix(inner, "file:"); ok {
		if e.env == nil {
			return "", errors.New("${" + inner + "} is not read here: write the value itself, or $${ if it is meant as it is")
		}
		return e.include(path)
	}
	name, standard, hasDefault := strings.Cut(inner, ":-")
	if !isName(name) {
		return "", fmt.Errorf("${%s} is not understood: it is ${NAME}, ${NAME:-default} or ${file:/path}", inner)
	}
	if strings.Contains(standard, "${") {
		return "", fmt.Errorf("${%s} has another ${ in it: only plain defaults are supported", inner)
	}
	var value string
	var ok bool
	if e.env != nil {
		value, ok = e.env(name)
	}
	switch {
	case hasDefault && (!ok || value == ""):
		return standard, nil
	case !ok:
		return "", fmt.Errorf("the variable %s is not set: set it, or write ${%s:-default}", name, name)
	}
	return value, nil
}

// include reads a regular file; one that is none, such as a pipe, could make us wait.
func (e *expander) include(path string) (string, error) {
	if path == "" {
		return "", errors.New("${file:} has no path")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.dir, path)
	}
	if e.files != nil {
		e.files[path] = [sha256.Size]byte{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, includeMax+1))
	if err != nil {
		return "", err
	}
	if len(data) > includeMax {
		return "", fmt.Errorf("%s is longer than %d KiB", path, includeMax>>10)
	}
	if e.files != nil {
		e.files[path] = sha256.Sum256(data)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
