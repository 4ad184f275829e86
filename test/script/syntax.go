package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A statement is one line of a script, with the indented lines below it as its steps.
type statement struct {
	line  int
	words []string
	steps []statement
}

func (s statement) String() string { return strings.Join(s.words, " ") }

// parseScript splits a script into statements. firstLine is where it begins in its file.
func parseScript(text string, firstLine int) ([]statement, error) {
	var all []statement
	line := firstLine - 1
	for l := range strings.Lines(text) {
		line++
		words, err := split(l)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", line, err)
		}
		if len(words) == 0 {
			continue
		}
		s := statement{line: line, words: words}
		if l[0] != ' ' && l[0] != '\t' {
			all = append(all, s)
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%d: an indented line without one above it", line)
		}
		above := &all[len(all)-1]
		above.steps = append(above.steps, s)
	}
	return all, nil
}

// split cuts a line into words at spaces; a word in double quotes is a Go string, and #
// at the start of a word begins a comment.
func split(l string) ([]string, error) {
	var words []string
	for {
		l = strings.TrimLeft(l, " \t\r\n")
		if l == "" || l[0] == '#' {
			return words, nil
		}
		if l[0] == '"' {
			quoted, err := strconv.QuotedPrefix(l)
			if err != nil {
				return nil, fmt.Errorf("a quote is not closed: %s", l)
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, quoted)
			}
			words = append(words, word)
			l = l[len(quoted):]
			continue
		}
		end := strings.IndexAny(l, " \t\r\n")
		if end < 0 {
			end = len(l)
		}
		words = append(words, l[:end])
		l = l[end:]
	}
}

// steps cuts the words of a line at "then", so that a short program fits on one line.
func steps(line int, words []string) []statement {
	var out []statement
	for from := 0; from < len(words); {
		to := from
		for to < len(words) && words[to] != "then" {
			to++
		}
		out = append(out, statement{line: line, words: words[from:to]})
		from = to + 1
	}
	return out
}

// options are the words that describe a message: what to send, or what has to come.
type options struct {
	fields     []field
	absent     []string // names of fields that must not be there
	content    *string
	contains   []string // texts the content must contain
	base64     *string  // what the content must stand for, in base64 that may be padded anywhere
	chunks     []string
	trailers   []field
	length     int // declared or expected Content-Length; -1: not given
	chunked    bool
	untilClose bool
	old        bool // HTTP/1.0
	host       string
	at         string // address a client comes from
	from       string // endpoint that must have answered, or $variable
	notFrom    string
	further    int    // fields to add to a message that is sent
	head       int    // bytes that its head is padded to; 0: as it is
	target     int    // bytes that its target is padded to; 0: as it is
	cookies    string // name of a jar: its cookies are sent, and those that the response sets are kept in it
	reason     string // machine-readable reason of Poise's own answers
}

// parseOptions reads words such as: header "A: b" body "text".
func parseOptions(words []string) (options, error) {
	o := options{length: -1, host: "example.com"}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch word {
		case "chunked":
			o.chunked = true
			continue
		case "until-close":
			o.untilClose = true
			continue
		case "http/1.0":
			o.old = true
			continue
		}
		if len(words) == 0 {
			return o, fmt.Errorf("%s: unknown, or its value is missing", word)
		}
		if err := o.set(word, words[0]); err != nil {
			return o, err
		}
		words = words[1:]
	}
	return o, nil
}

// set takes an option that has a value.
func (o *options) set(word, value string) error {
	var err error
	var f field
	switch word {
	case "header":
		f, err = parseField(value)
		o.fields = append(o.fields, f)
	case "trailer":
		f, err = parseField(value)
		o.trailers = append(o.trailers, f)
	case "no-header":
		o.absent = append(o.absent, value)
	case "body":
		o.content = &value
	case "bytes":
		var n int
		n, err = strconv.Atoi(value)
		text := pattern(n)
		o.content = &text
	case "base64":
		o.base64 = &value
	case "contains":
		o.contains = append(o.contains, value)
	case "chunk":
		o.chunks = append(o.chunks, value)
	case "length":
		o.length, err = strconv.Atoi(value)
	case "fields":
		o.further, err = strconv.Atoi(value)
	case "head":
		o.head, err = strconv.Atoi(value)
	case "target":
		o.target, err = strconv.Atoi(value)
	case "host":
		o.host = value
	case "at":
		o.at = value
	case "from":
		o.from = value
	case "not-from":
		o.notFrom = value
	case "cookies":
		o.cookies = value
	case "reason":
		o.reason = value
	default:
		return fmt.Errorf("%s: no such word", word)
	}
	return err
}

// pattern is content of n bytes in which a missing or a doubled piece shows. A shorter one is the
// begin of a longer one, so that they are made once: under the race detector each byte takes its time.
func pattern(n int) string {
	for _, p := range patterns {
		if text := p(); n <= len(text) {
			return text[:n]
		}
	}
	return makePattern(n)
}

var patterns = [...]func() string{
	sync.OnceValue(func() string { return makePattern(1 << 16) }),
	sync.OnceValue(func() string { return makePattern(1 << 25) }),
}

func makePattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte((i+i/23+i/4096)%26)
	}
	return string(b)
}

func parseDuration(words []string) (time.Duration, error) {
	if len(words) != 1 {
		return 0, errors.New("exactly one duration is needed")
	}
	return time.ParseDuration(words[0])
}
