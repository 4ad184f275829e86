package accesslines

// Lines of words, of which some are in quotes or brackets: combined and Envoy's default. A
// backslash in quotes keeps a quote from ending them, as nginx and Envoy escape it.

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// word cuts the first word off line, without its quotes or brackets.
func word(line []byte) (text, rest []byte, err error) {
	line = bytes.TrimLeft(line, " ")
	if len(line) == 0 {
		return nil, nil, errors.New("the line ends too early")
	}
	switch line[0] {
	case '"':
		for i := 1; i < len(line); i++ {
			if line[i] == '\\' {
				i++
			} else if line[i] == '"' {
				return line[1:i], line[i+1:], nil
			}
		}
		return nil, nil, errors.New(`a " is not closed`)
	case '[':
		text, rest, closed := bytes.Cut(line[1:], []byte("]"))
		if !closed {
			return nil, nil, errors.New("a [ is not closed")
		}
		return text, rest, nil
	}
	text, rest, _ = bytes.Cut(line, []byte(" "))
	return text, rest, nil
}

// words cuts n words off line.
func words(line []byte, n int) (all [][]byte, rest []byte, err error) {
	rest = line
	for range n {
		var text []byte
		if text, rest, err = word(rest); err != nil {
			return nil, nil, err
		}
		all = append(all, text)
	}
	return all, rest, nil
}

// combinedTime is $time_local.
const combinedTime = "02/Jan/2006:15:04:05 -0700"

// parseCombined reads client, identity, user, [time], "request", status, bytes, and what may
// follow: "referer", "agent", and times by their names. The time is that of the end, to the second.
func parseCombined(line []byte, e *Entry) error {
	w, rest, err := words(line, 7)
	if err != nil {
		return err
	}
	*e = Entry{Client: string(w[0]), Method: methodOf(w[4])}
	ended, err := time.Parse(combinedTime, string(w[3]))
	if err != nil {
		return fmt.Errorf("not a line of the combined format: %w", err)
	}
	if e.Status, err = strconv.Atoi(string(w[5])); err != nil {
		return fmt.Errorf("not a line of the combined format: status %q", w[5])
	}
	for len(bytes.TrimSpace(rest)) > 0 {
		var text []byte
		if text, rest, err = word(rest); err != nil {
			return err
		}
		name, value, named := strings.Cut(string(text), "=")
		if !named {
			continue
		}
		if value == "" || value[0] == '"' { // name="value" is cut at a blank within the quotes
			full := append([]byte(value), rest...)
			if len(full) > 0 && full[0] == '"' {
				quoted, after, err := word(full)
				if err != nil {
					return err
				}
				value, rest = string(quoted), after
			}
		}
		e.named(name, value)
	}
	e.Began = ended.Add(-e.Whole)
	return nil
}

// named takes a value behind a combined line: lists of attempts have the last one's.
func (e *Entry) named(name, value string) {
	last := value
	if i := strings.LastIndexAny(value, ", "); i >= 0 {
		last = value[i+1:]
	}
	switch name {
	case "rt", "request_time":
		e.Whole = seconds(last)
	case "urt", "upstream_response_time":
		e.Took = seconds(last)
	case "uaddr", "ua_addr", "upstream_addr":
		e.Endpoint = last
	}
}

// seconds is 0 for -, and -1 for what is no number.
func seconds(text string) time.Duration {
	if text == "-" || text == "" {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1
	}
	if n == 0 {
		return short
	}
	return nanoseconds(n * 1e9)
}

// methodOf is the method of a request line.
func methodOf(request []byte) string {
	method, _, _ := bytes.Cut(request, []byte(" "))
	return string(method)
}

// parseEnvoy reads [begin] "request" status flags received sent duration upstream "forwarded for"
// "agent" "request id" "authority" "upstream host". The times are milliseconds.
func parseEnvoy(line []byte, e *Entry) error {
	w, rest, err := words(line, 8)
	if err != nil {
		return fmt.Errorf("not a line of Envoy's default format: %w", err)
	}
	*e = Entry{Method: methodOf(w[1])}
	if e.Began, err = time.Parse(time.RFC3339Nano, string(w[0])); err != nil {
		return fmt.Errorf("not a line of Envoy's default format: %w", err)
	}
	if e.Status, err = strconv.Atoi(string(w[2])); err != nil {
		return fmt.Errorf("not a line of Envoy's default format: status %q", w[2])
	}
	// Behind the flags Istio writes up to three reasons. The bytes that follow are numbers.
	for skipped := 0; !allNumbers(w[len(w)-4 : len(w)-1]); skipped++ {
		var more []byte
		if more, rest, err = word(rest); err != nil || skipped == 3 {
			return errors.New("not a line of Envoy's default format: there are no numbers of bytes and times behind the flags")
		}
		w = append(w, more)
	}
	times := w[len(w)-2:]
	if e.Whole = milliseconds(times[0]); e.Whole < 0 {
		return fmt.Errorf("not a line of Envoy's default format: duration %q", times[0])
	}
	if e.Took = milliseconds(times[1]); e.Took < 0 {
		return fmt.Errorf("not a line of Envoy's default format: time of the endpoint %q", times[1])
	}
	tail, _, err := words(rest, 5)
	if err != nil {
		return fmt.Errorf("not a line of Envoy's default format: %w", err)
	}
	e.Client, _, _ = strings.Cut(string(tail[0]), ",")
	e.Endpoint = strings.TrimPrefix(string(tail[4]), "tcp://")
	return nil
}

func allNumbers(words [][]byte) bool {
	for _, w := range words {
		if _, err := strconv.ParseUint(string(w), 10, 63); err != nil {
			return false
		}
	}
	return true
}

func milliseconds(text []byte) time.Duration {
	if string(text) == "-" {
		return 0
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return -1
	}
	if n == 0 {
		return short
	}
	return nanoseconds(n * 1e6)
}
