package configfile

// From bytes to one YAML document. Size and nesting are bounded before the parser sees them,
// because its time grows with the square of the nesting, and its errors are made into ours.

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a document. The parser's time grows with the square of the nesting.
const (
	bytesMax = 16 << 20
	depthMax = 64
)

// A place is a line and a column, from 1.
type place struct{ line, column int }

// document parses data and returns its only document.
func document(name string, data []byte) (ast.Node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if err := checkText(name, data); err != nil {
		return nil, err
	}
	file, err := tree(name, data)
	if err != nil {
		return nil, err
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			at := placeOf(doc.Body)
			return nil, &Error{Problems: []Problem{{name, at.line, at.column, "a second document: one is enough"}}}
		}
		root = doc.Body
	}
	if root == nil {
		return nil, &Error{Problems: []Problem{{name, 1, 1, "the file is empty"}}}
	}
	return root, nil
}

// tree parses data. Endpoint lists are read while traffic flows: should the parser ever
// panic, that is a bad file and not the end of the process.
func tree(name string, data []byte) (file *ast.File, err error) {
	defer func() {
		if why := recover(); why != nil {
			file, err = nil, mistake(name, nil, fmt.Sprintf("the YAML parser failed: %v", why))
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if t := tooDeep(tokens); t != nil {
		return nil, mistake(name, t.Position, fmt.Sprintf("nested more than %d deep", depthMax))
	}
	file, err = parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // they are found with the unknown ones
	if err != nil {
		return nil, syntax(name, err)
	}
	return file, nil
}

// checkText refuses what is not text before the parser can make something of it.
func checkText(name string, data []byte) error {
	if len(data) > bytesMax {
		return &Error{Problems: []Problem{{name, 1, 1, fmt.Sprintf("the file is longer than %d MiB", bytesMax>>20)}}}
	}
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return &Error{Problems: []Problem{{name, line, column, "not UTF-8 text"}}}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return &Error{Problems: []Problem{{name, line, column, fmt.Sprintf("a control character, %U", r)}}}
		case r == '\n', r == '\r' && !bytes.HasPrefix(data[i+1:], []byte("\n")):
			line, column = line+1, 0
		}
		i, column = i+n, column+1
	}
	return nil
}

// tooDeep returns the token at which nesting passes depthMax, in brackets or in
// indicators on one line, as in "- - -". Nesting by indentation needs a file that grows
// with its square, so bytesMax and patience bound it.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets, run := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			run++
		}
		if t.Prev == nil || t.Prev.Position.Line != t.Position.Line {
			run = 0
		}
		if brackets > depthMax || run > depthMax {
			return t
		}
	}
	return nil
}

func mistake(name string, at *token.Position, message string) *Error {
	p := Problem{File: name, Line: 1, Column: 1, Message: message}
	if at != nil {
		p.Line, p.Column = max(1, at.Line), max(1, at.Column)
	}
	return &Error{Problems: []Problem{p}}
}

// syntax turns an error of the parser into one of ours.
func syntax(name string, err error) error {
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &located) {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return mistake(name, nil, message)
	}
	var at *token.Position
	if t := located.GetToken(); t != nil {
		at = t.Position
	}
	return mistake(name, at, located.GetMessage())
}

// placeOf is where a reader would point: at a container's first key, not at its colon.
func placeOf(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return placeOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return placeOf(n.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return place{max(1, t.Position.Line), max(1, t.Position.Column)}
	}
	return place{1, 1}
}
