package config

// Small languages inside values: a check such as "HEAD /health", status ranges such as
// "200-299", conditions of retries; those of gRPC are in grpc.go. Each is parsed here and nowhere
// else, by validation and by what uses the value.

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// checkConnect is the check that only connects.
const checkConnect = "tcp"

// Connects reports whether a probe connects and sends no request.
func (h Health) Connects() bool { return h.Check == checkConnect }

// Expression is the regular expression that Match holds between slashes; ok is false if it
// is plain text.
func (h Health) Expression() (expression string, ok bool) {
	if len(h.Match) < 2 || h.Match[0] != '/' || h.Match[len(h.Match)-1] != '/' {
		return "", false
	}
	return h.Match[1 : len(h.Match)-1], true
}

// Matcher reads MatchFunc and Match: a function that reports whether content passes; nil:
// anything does.
func (h Health) Matcher() (func(content []byte) bool, error) {
	if h.MatchFunc != nil || h.Match == "" {
		return h.MatchFunc, nil
	}
	if expression, ok := h.Expression(); ok {
		// This package leaves regexp out, a quarter of a megabyte in every program.
		return nil, fmt.Errorf("files alone have regular expressions; in Go say MatchFunc: regexp.MustCompile(%q).Match", expression)
	}
	text := []byte(h.Match)
	return func(content []byte) bool { return bytes.Contains(content, text) }, nil
}

// Request reads Check: the method and the request-target of a probe; both are empty for one
// that only connects.
func (h Health) Request() (method, target string, err error) {
	if h.Connects() {
		return "", "", nil
	}
	if _, ok := h.GRPC(); ok {
		return "POST", "/grpc.health.v1.Health/Check", nil
	}
	method, target, err = splitCheck(h.Check)
	if err != nil {
		return "", "", err
	}
	return method, target, nil
}

func splitCheck(check string) (method, target string, err error) {
	method, target, found := strings.Cut(check, " ")
	target = strings.TrimLeft(target, " ")
	if !found || !strings.HasPrefix(target, "/") {
		return "", "", fmt.Errorf("%q is not a method and a path, as in HEAD /health; nor is it tcp or grpc", check)
	}
	if !isToken(method) || method == "CONNECT" {
		return "", "", fmt.Errorf("%q is not a method that can probe", method)
	}
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return "", "", fmt.Errorf("the path has a %q, which must be percent-encoded", c)
		}
	}
	return method, target, nil
}

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !plain(string(c)) && !strings.ContainsRune("!#$%&'*+.^`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// A StatusRange is the statuses from First to Last, both included.
type StatusRange struct{ First, Last int }

// Has reports whether status is in the range.
func (r StatusRange) Has(status int) bool { return r.First <= status && status <= r.Last }

// Statuses reads Expect; without defaults, nil is an empty list.
func (h Health) Statuses() ([]StatusRange, error) {
	out := make([]StatusRange, len(h.Expect))
	for i, text := range h.Expect {
		var err error
		if out[i], err = parseStatuses(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseStatuses(text string) (StatusRange, error) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	a, okA := parseStatus(strings.TrimSpace(first))
	b, okB := parseStatus(strings.TrimSpace(last))
	if !okA || !okB || a > b {
		return StatusRange{}, fmt.Errorf("%q is neither a status nor a range such as 200-399", text)
	}
	return StatusRange{a, b}, nil
}

// parseStatus accepts final statuses: 200 to 599.
func parseStatus(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 200 && n <= 599 && strconv.Itoa(n) == text
}

// Due reads After: a percentile as a number from 0 to 1, or a time; the other one is 0.
func (h Hedge) Due() (percentile float64, after time.Duration, err error) {
	if number, ok := strings.CutPrefix(h.After, "p"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err == nil && p >= 50 && p <= 99.9 {
			return p / 100, 0, nil
		}
	} else if d, err := time.ParseDuration(h.After); err == nil && d >= time.Millisecond {
		return 0, d, nil
	}
	return 0, 0, fmt.Errorf("%q is neither a percentile from p50 to p99.9 nor a time from 1ms", h.After)
}

// Conditions is what Retry.On says.
type Conditions struct {
	Connect bool // the connection could not be made
	Reset   bool // it broke before a response head
	Timeout bool // no response head came in time
	// Unavailable: gRPC's status of that name came, and no message before it.
	Unavailable bool
	Statuses    []int
}

// Conditions reads On; without defaults, nil is nothing.
func (r Retry) Conditions() (Conditions, error) {
	var c Conditions
	for _, word := range r.On {
		if err := c.add(word); err != nil {
			return Conditions{}, err
		}
	}
	return c, nil
}

func (c *Conditions) add(word string) error {
	switch word {
	case "connect":
		c.Connect = true
	case "reset":
		c.Reset = true
	case "timeout":
		c.Timeout = true
	case "unavailable":
		c.Unavailable = true
	default:
		status, ok := parseStatus(word)
		if !ok || status < 400 {
			return fmt.Errorf("%q is not retried on: it is connect, reset, timeout, unavailable or a status from 400 to 599", word)
		}
		c.Statuses = append(c.Statuses, status)
	}
	return nil
}
