package affinity

// The syntax of a key expression, such as "header(X-User) | client_ip": terms
// in the order in which they are tried. Parsing happens once, when a configuration is
// compiled.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/nearest"
)

// segmentMax bounds path_segment(N).
const segmentMax = 64

// A SyntaxError says what is wrong with a key expression.
type SyntaxError struct {
	Expr    string
	Offset  int    // in bytes
	Reason  string // without a suggestion
	Nearest string // the word that was probably meant; may be empty
}

// Error names the expression, the place, the reason and the suggestion.
func (e *SyntaxError) Error() string {
	s := fmt.Sprintf("key %q: at byte %d: %s", e.Expr, e.Offset, e.Reason)
	if e.Nearest != "" {
		s += ", did you mean " + e.Nearest + "?"
	}
	return s
}

// Parse reads a key expression: terms with | between them, tried from left to right. A term
// is header(name), cookie(name), query(name), path, path_segment(number) or client_ip;
// space around everything is ignored. The error is a *SyntaxError.
func Parse(expr string) (*Key, error) {
	k := new(Key)
	at := 0
	for text := range strings.SplitSeq(expr, "|") {
		t, err := parseTerm(expr, at, text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(k.terms, t) {
			return nil, &SyntaxError{Expr: expr, Offset: skipSpace(expr, at), Reason: "this term stands here twice"}
		}
		k.terms = append(k.terms, t)
		at += len(text) + 1
	}
	return k, nil
}

// parseTerm reads text, which begins at byte at of expr.
func parseTerm(expr string, at int, text string) (term, error) {
	at += len(text) - len(strings.TrimLeft(text, " \t"))
	text = strings.Trim(text, " \t")
	fail := func(offset int, format string, args ...any) (term, error) {
		return term{}, &SyntaxError{Expr: expr, Offset: at + offset, Reason: fmt.Sprintf(format, args...)}
	}
	word, argument, called := strings.Cut(text, "(")
	open := len(word)
	word = strings.TrimRight(word, " \t")
	if word == "" {
		return fail(0, "a term is missing: one of %s", strings.Join(words, ", "))
	}
	from := slices.Index(words, word)
	if from < 0 {
		return term{}, &SyntaxError{Expr: expr, Offset: at, Reason: fmt.Sprintf("no such source %q", word), Nearest: nearest.Word(word, words)}
	}
	t := term{from: source(from)}
	if t.from == fromPath || t.from == fromClient {
		if called {
			return fail(open, "%s takes no argument", word)
		}
		return t, nil
	}
	if !called {
		return fail(len(word), "%s needs an argument, as in %s(%s)", word, word, sample(t.from))
	}
	inner, after, closed := strings.Cut(argument, ")")
	if !closed {
		return fail(len(text), "the closing parenthesis is missing")
	}
	if after != "" {
		return fail(open+1+len(inner)+1, "%q after the term: terms have | between them", strings.TrimLeft(after, " \t"))
	}
	inside := open + 1 + len(inner) - len(strings.TrimLeft(inner, " \t"))
	if reason := t.setArgument(strings.Trim(inner, " \t")); reason != "" {
		return fail(inside, "%s", reason)
	}
	return t, nil
}

// setArgument returns what is wrong with the argument.
func (t *term) setArgument(s string) (reason string) {
	switch {
	case t.from == fromSegment:
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > segmentMax {
			return fmt.Sprintf("path_segment needs a number from 1 to %d", segmentMax)
		}
		t.position = n
		return ""
	case t.from == fromQuery:
		if i := strings.IndexFunc(s, notParameter); s == "" || i >= 0 {
			return fmt.Sprintf("%q is not the name of a query parameter as it stands in a URL", s)
		}
	case !message.ValidName([]byte(s)):
		return fmt.Sprintf("%q is not a %s name", s, words[t.from])
	}
	t.name = s
	if t.from == fromHeader {
		t.kind = message.KindOf([]byte(s))
		// Case does not count: written one way, equal terms are equal.
		if t.kind != message.Other {
			t.name = t.kind.String()
		}
	}
	return ""
}

// notParameter reports that r cannot stand in the name of a query parameter: it separates,
// or may not be in a URL as it is (RFC 3986 §3.4).
func notParameter(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("&=#\"<>\\^`{|}", r)
}

// sample is an argument for an error message.
func sample(s source) string {
	return [...]string{fromHeader: "X-User-Id", fromCookie: "sid", fromQuery: "user_id", fromSegment: "2"}[s]
}

// skipSpace returns where in expr, from at on, the first byte is that is no space.
func skipSpace(expr string, at int) int {
	return at + len(expr[at:]) - len(strings.TrimLeft(expr[at:], " \t"))
}
