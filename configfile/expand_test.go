package configfile

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absolute := write("secret", "s3cret\n")
	write("crlf", "x\r\n")
	write("two", "a\nb\n\n")
	write("big", strings.Repeat("a", includeMax+1))
	write("dollar", "${HOME}")
	env := map[string]string{"A": "1", "EMPTY": "", "TRICK": "${A}: [x", "_b2": "two"}
	e := &expander{env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }, dir: dir}
	for in, want := range map[string]string{
		"plain":                     "plain",
		"$":                         "$",
		"$A {A} $$ }":               "$A {A} $$ }",
		"${A}":                      "1",
		"x${A}${A}y${_b2}":          "x11ytwo",
		"${B:-d}":                   "d",
		"${A:-d}":                   "1",
		"${EMPTY}":                  "",
		"${EMPTY:-d}":               "d",
		"${B:-}":                    "",
		"${B:-a:-b}":                "a:-b",
		"$${A}":                     "${A}",
		"$${A} ${A}":                "${A} 1",
		"$$${A}":                    "$${A}",
		"${TRICK}":                  "${A}: [x", // what comes in is not looked at again
		"${file:" + absolute + "}":  "s3cret",
		"a${file:secret}b":          "as3cretb",
		"${file:crlf}":              "x",
		"${file:two}":               "a\nb\n",
		"${file:dollar}":            "${HOME}",
		"http://${A}:${B:-80}/$x/}": "http://1:80/$x/}",
	} {
		if got, err := e.expand(in); got != want || err != nil {
			t.Errorf("%q is %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"${B}":            "variable B is not set",
		"${":              "without }",
		"a ${A":           "without }",
		"${}":             "not understood",
		"${A-b}":          "not understood",
		"${1A}":           "not understood",
		"${ A}":           "not understood",
		"${B:-${A}}":      "plain defaults",
		"${file:}":        "no path",
		"${file:nowhere}": "no such file",
		"${file:.}":       "not a regular file",
		"${file:big}":     "longer than 64 KiB",
	} {
		if got, err := e.expand(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := (&expander{}).expand("${A}"); err == nil {
		t.Error("without an environment there is a variable")
	}
}

// TestReplacedValuesTakeTheTypeOfTheirField, quoted or not; the structure stays as it was.
func TestReplacedValuesTakeTheTypeOfTheirField(t *testing.T) {
	env := map[string]string{"N": "7", "D": "9s", "T": "true", "F": "1.5", "P": "40%", "U": "http://127.0.0.1:1", "L": "[a, b]"}
	c, err := Parse("f", []byte(`version: ${ONE:-1}
timeouts: {idle: "${D}"}
access_log: {path: "${L}", buffer: "${N}"}
services:
  a:
    endpoints: ["${U}", "http://127.0.0.1:${N}"]
    breaker: {off: "${T}", failure_rate: "${P}"}
    policy: {type: consistent_hash, bounded_load: "${F}"}
routes:
  - service: a
    headers: {request: {set: {X-N: "${N}", "${N}": '$${N}'}}}
`), func(n string) (string, bool) { v, ok := env[n]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	a := c.Services["a"]
	if c.Version != 1 || c.Timeouts.Idle != 9*time.Second || c.AccessLog.Path != "[a, b]" || c.AccessLog.Buffer != 7 ||
		a.Endpoints[0].URL != env["U"] || a.Endpoints[1].URL != "http://127.0.0.1:7" || !a.Breaker.Off ||
		a.Breaker.FailureRate != 40 || a.Policy.BoundedLoad != 1.5 {
		t.Errorf("%+v", c)
	}
	if set := c.Routes[0].Headers.Request.Set; set["X-N"] != "7" || set["${N}"] != "${N}" {
		t.Errorf("%q", set)
	}
}

func TestRelativePathsStandOnTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "u"), []byte("http://127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "poise.yaml")
	if err := os.WriteFile(path, []byte(`version: 1
listen: [{address: ":1", tls: {certificates: [{cert: a.pem, key: /k/b.pem}]}}]
access_log: "-"
services:
  a: {endpoints: ["${file:u}"], tls: {ca: ../ca.pem}}
  b: {source: {file: lists/b.yaml}}
routes: [{service: a}, {service: b, match: {path: relative}}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		c.Listen[0].TLS.Certificates[0].Cert: filepath.Join(dir, "a.pem"),
		c.Listen[0].TLS.Certificates[0].Key:  "/k/b.pem",
		c.AccessLog.Path:                     "-",
		c.Services["a"].TLS.CA:               filepath.Join(filepath.Dir(dir), "ca.pem"),
		c.Services["b"].Source.File.Path:     filepath.Join(dir, "lists/b.yaml"),
		c.Services["a"].Endpoints[0].URL:     "http://127.0.0.1:1",
		c.Routes[1].Match.Path:               "relative",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestFilesThatTookPart are known, whether the configuration has mistakes or not.
func TestFilesThatTookPart(t *testing.T) {
	dir := t.TempDir()
	path, secret, missing := filepath.Join(dir, "poise.yaml"), filepath.Join(dir, "secret"), filepath.Join(dir, "missing")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const text = "version: 1\nservices: {a: {endpoints: ['${file:secret}']}}\nroutes: [{service: a}]\n"
	put(secret, "http://127.0.0.1:1")
	put(path, text)
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	files := f.Files()
	if len(files) != 2 || files[path] != sha256.Sum256([]byte(text)) || files[secret] != sha256.Sum256([]byte("http://127.0.0.1:1")) {
		t.Errorf("%x", files)
	}
	put(path, strings.Replace(text, "secret", "missing", 1))
	_, err = Read(path)
	var bad *Error
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	if sum, there := bad.Files[missing]; len(bad.Files) != 2 || !there || sum != [32]byte{} {
		t.Errorf("with a mistake: %x", bad.Files)
	}
}
