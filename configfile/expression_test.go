package configfile

import (
	"strings"
	"testing"
)

// Regular expressions are compiled while a file is read, for services and for discover.
func TestExpressions(t *testing.T) {
	const head = "version: 1\nroutes: [{service: a}]\n"
	read := func(match string) string {
		return head + "services: {a: {endpoints: [\"http://127.0.0.1:1\"], health: {check: GET /, match: '" + match + "'}}}\n" +
			"discover: {d: {source: {consul: {service: \"{service}\"}}, health: {check: GET /, match: '" + match + "'}}}\n"
	}
	c, err := Parse("a.yaml", []byte(read("/^o[kK]$/")), nil)
	if err != nil {
		t.Fatal(err)
	}
	for at, match := range map[string]func([]byte) bool{"service": c.Services["a"].Health.MatchFunc, "discover": c.Discover["d"].Health.MatchFunc} {
		if match == nil || !match([]byte("oK")) || match([]byte("okay")) {
			t.Errorf("%s: it does not match as it is written", at)
		}
	}
	if c, err = Parse("a.yaml", []byte(read("/ok")), nil); err != nil || c.Services["a"].Health.MatchFunc != nil {
		t.Errorf("plain text: %v", err)
	}
	_, err = Parse("a.yaml", []byte(read("/(/")), nil)
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "a.yaml:3:") || !strings.Contains(lines[0], "services.a.health.match: not a regular expression: ") ||
		!strings.HasPrefix(lines[1], "a.yaml:4:") || !strings.Contains(lines[1], "discover.d.health.match: ") {
		t.Errorf("%v", err)
	}
}
