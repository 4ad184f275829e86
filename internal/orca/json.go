package orca

// The JSON form of a report, by the rules for messages: names as in the message or in lowerCamelCase,
// numbers also as strings. It is read in one pass without a tree, since a few numbers are all that
// is wanted:
//
//	{"cpu_utilization": 0.3, "rps": "12", "named_metrics": {"in_flight": 12, "x": 7}}
//
// The names are compared as they are written: one with an escape in it is none that is known.

import "github.com/poise-lb/poise/internal/message"

// depthMost bounds how deep values are nested that are skipped.
const depthMost = 8

// A scan is what is left of a JSON text.
type scan struct{ rest []byte }

// json reads a message.
func (m *metrics) json(v []byte) bool {
	s := scan{v}
	ok := s.object(func(key []byte) bool {
		if string(key) == "named_metrics" || string(key) == "namedMetrics" {
			return s.object(func(key []byte) bool { return s.metric(key, m.name) })
		}
		return s.metric(key, m.set)
	})
	return ok && s.peek() == 0
}

// metric reads the value of key: a number, which set takes over, or anything else, which is skipped.
func (s *scan) metric(key []byte, set func(key []byte, x float64) bool) bool {
	if c := s.peek(); c == '{' || c == '[' {
		return s.skip(depthMost)
	}
	begun := s.rest
	if !s.skip(0) {
		return false
	}
	text := message.TrimSpace(begun[:len(begun)-len(s.rest)])
	if len(text) >= 2 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	x, ok := number(text)
	if !ok { // fine, unless it is one that is used
		return set(key, -1)
	}
	return set(key, x)
}

// peek is the next character that is no space; 0: there is none.
func (s *scan) peek() byte {
	for len(s.rest) > 0 {
		switch c := s.rest[0]; c {
		case ' ', '\t', '\n', '\r':
			s.rest = s.rest[1:]
		default:
			return c
		}
	}
	return 0
}

// mark takes the character c.
func (s *scan) mark(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// object reads an object; each reads the value of one key.
func (s *scan) object(each func(key []byte) bool) bool {
	if !s.mark('{') {
		return false
	}
	if s.mark('}') {
		return true
	}
	for {
		key, ok := s.text()
		if !ok || !s.mark(':') || !each(key) {
			return false
		}
		if s.mark('}') {
			return true
		}
		if !s.mark(',') {
			return false
		}
	}
}

// text reads a string, and returns what is between its quotes.
func (s *scan) text() ([]byte, bool) {
	if !s.mark('"') {
		return nil, false
	}
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			t := s.rest[:i]
			s.rest = s.rest[i+1:]
			return t, true
		}
	}
	return nil, false
}

// skip skips a value; depth is how deep it may be nested.
func (s *scan) skip(depth int) bool {
	switch s.peek() {
	case 0:
		return false
	case '"':
		_, ok := s.text()
		return ok
	case '{':
		return depth > 0 && s.object(func([]byte) bool { return s.skip(depth - 1) })
	case '[':
		return depth > 0 && s.array(depth-1)
	}
	i := 0
	for i < len(s.rest) && !ends(s.rest[i]) {
		i++
	}
	s.rest = s.rest[i:]
	return i > 0
}

// array skips an array, whose values may be nested as deep.
func (s *scan) array(depth int) bool {
	s.mark('[')
	if s.mark(']') {
		return true
	}
	for s.skip(depth) {
		if s.mark(']') {
			return true
		}
		if !s.mark(',') {
			return false
		}
	}
	return false
}

// ends reports whether c ends a number or a word.
func ends(c byte) bool {
	switch c {
	case ',', '}', ']', ':', '"', '{', '[', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}
