// Package affinity finds the key of a request that consistent hashing stands on: a part of
// the request that is the same whenever the same endpoint shall serve.
package affinity

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/internal/message"
)

// A Key says where in a request the key is. It is never modified after Parse: any number of
// goroutines may use it at once. The zero Key, like a nil one, finds nothing.
type Key struct{ terms []term }

// term is one place to look.
type term struct {
	from     source
	name     string       // of a field, a cookie or a query parameter
	kind     message.Kind // of a field
	position int          // of a path segment, from 1
}

// source is what kind of place a term names.
type source uint8

const (
	fromHeader source = iota
	fromCookie
	fromQuery
	fromPath
	fromSegment
	fromClient
)

// words are the sources as they are written; the index is the source.
var words = []string{"header", "cookie", "query", "path", "path_segment", "client_ip"}

// String is the key as Parse reads it.
func (k *Key) String() string {
	var b strings.Builder
	for i, t := range k.terms {
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(words[t.from])
		switch t.from {
		case fromHeader, fromCookie, fromQuery:
			b.WriteString("(" + t.name + ")")
		case fromSegment:
			b.WriteString("(" + strconv.Itoa(t.position) + ")")
		}
	}
	return b.String()
}

// Of returns the key of q: the value of the first term that is present and not empty, and
// false if none is. normPath is the normal form of q.Path (package route); clientIP is the
// client's address in whatever form, always the same. The value is a part of one of the
// arguments. Of does not allocate.
//
//	header(N)        the first field N that is not empty; fields marked as dropped are not seen
//	cookie(N)        the first cookie N (case counts) that is not empty, without quotes around
//	                 it (RFC 6265 §4.1.1)
//	query(N)         the first parameter N that is not empty, as it stands: percent-encodings
//	                 and + are not decoded, neither in the name nor in the value
//	path             normPath
//	path_segment(N)  the Nth segment of normPath, from 1
//	client_ip        clientIP
func (k *Key) Of(q *message.Request, normPath, clientIP []byte) (value []byte, ok bool) {
	if k == nil {
		return nil, false
	}
	for i := range k.terms {
		switch t := &k.terms[i]; t.from {
		case fromHeader:
			value = t.field(q.Fields)
		case fromCookie:
			value = t.cookie(q.Fields)
		case fromQuery:
			value = t.parameter(q.Query)
		case fromPath:
			value = normPath
		case fromSegment:
			value = segment(normPath, t.position)
		case fromClient:
			value = clientIP
		}
		if len(value) > 0 {
			return value, true
		}
	}
	return nil, false
}

func (t *term) field(fields []message.Field) []byte {
	for i := range fields {
		f := &fields[i]
		if f.Drop || f.Kind != t.kind || len(f.Value) == 0 {
			continue
		}
		if t.kind != message.Other || message.EqualFold(f.Name, t.name) {
			return f.Value
		}
	}
	return nil
}

func (t *term) cookie(fields []message.Field) []byte {
	for i := range fields {
		if f := &fields[i]; !f.Drop && f.Kind == message.Cookie {
			for rest, more := f.Value, true; more; {
				var pair []byte
				pair, rest, more = bytes.Cut(rest, []byte(";"))
				name, value, _ := bytes.Cut(pair, []byte("="))
				if string(message.TrimSpace(name)) != t.name {
					continue
				}
				if value = unquote(message.TrimSpace(value)); len(value) > 0 {
					return value
				}
			}
		}
	}
	return nil
}

// unquote takes off a pair of double quotes.
func unquote(v []byte) []byte {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

func (t *term) parameter(rest []byte) []byte {
	for more := true; more; {
		var pair []byte
		pair, rest, more = bytes.Cut(rest, []byte("&"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		if string(name) == t.name && len(value) > 0 {
			return value
		}
	}
	return nil
}

// segment returns the nth segment of a path, from 1; nil if there is none.
func segment(path []byte, n int) []byte {
	for ; n > 0; n-- {
		if len(path) == 0 || path[0] != '/' {
			return nil
		}
		path = path[1:]
		i := bytes.IndexByte(path, '/')
		if i < 0 {
			i = len(path)
		}
		if n == 1 {
			return path[:i]
		}
		path = path[i:]
	}
	return nil
}
