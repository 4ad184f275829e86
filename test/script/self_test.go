package script

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

// The framework is tested without a proxy: clients talk to endpoint a itself. What it
// reports there can only come from its own mistakes.

type nothing struct{}

func (nothing) Apply(config.Config) error { return nil }
func (nothing) Close(time.Duration) error { return nil }

func (nothing) Operate(string, string, float64) error { return nil }
func (nothing) Status() []string                      { return nil }

// direct returns a play whose clients connect to endpoint a.
func direct(s stage, text string) (*play, error) {
	a, err := parseArchive("-- poise.yaml --\n${a} ${b}\n-- script --\n" + text)
	p := &play{name: "self", archive: a, stage: s, patience: time.Second}
	p.parse = func(string, []byte) (config.Config, error) { return config.Config{}, nil }
	p.open = func(config.Config) (proxy, string, error) { return nothing{}, p.endpoints["a"].address, nil }
	return p, err
}

// eachStage runs a script directly on both kinds of stage.
func eachStage(t *testing.T, text string, check func(t *testing.T, err error)) {
	t.Run("virtual", func(t *testing.T) {
		for seed := range uint64(5) {
			w := virtual.New(seed)
			w.SegmentMax = int(seed * seed * seed * 5)
			p, err := direct(&virtualStage{world: w}, text)
			if err == nil {
				err = rehearse(w, p.run)
			}
			check(t, err)
		}
	})
	t.Run("sockets", func(t *testing.T) {
		s := newSocketStage()
		p, err := direct(s, text)
		if err == nil {
			err = p.run()
		}
		s.actors.Wait()
		check(t, err)
	})
}

// dialogue uses every word of the language once.
const dialogue = `
GET /x header "X-A: 1" -> 200 body "a" from a length 1
endpoint a saw GET /x header "X-A: 1" no-header X-B body ""
endpoint a saw nothing
counts a=0 b=0
connections a=1 b=0
3 times HEAD / -> 200 length 1 body ""
counts a=3 b=0..1
endpoint a reply 200 chunk "he" chunk "llo" trailer "X-Sum: 5"
endpoint a next reply 503 header "Retry-After: 1"
GET / -> 503 header "Retry-After: 1"
POST / chunk "1" chunk "2" trailer "X-T: t" -> 200 chunked body "hello" trailer "X-Sum: 5"
counts a=2
endpoint a reply 200 body "end" until-close http/1.0
GET / http/1.0 -> 200 until-close body "end"
endpoint a reply 204
GET / -> 204 body ""
endpoint a reply 200 bytes 80000
POST / bytes 70000 -> 200 bytes 80000
endpoint a interim 103 header "Link: </x>" then continue then reply 200 body "late"
client c
  send GET /
  expect 103 header "Link: </x>"
  expect 100
  expect 200 body "late"
  send GET /
  expect 200 body "late"
endpoint a
  head 200 chunked
  piece "one"
  wait 20ms
  piece "two"
  end trailer "X-T: t"
client c
  send GET /
  expect head 200
  expect content "one"
  expect nothing 5ms
  expect content "two"
  expect end trailer "X-T: t"
endpoint a head 200 length 10 then piece "half" then wait 5ms then reset
client c
  send GET /
  expect head 200
  expect cut
  close
endpoint a raw "HTTP/1.1 200 OK\r\n\r\n" then close
client c
  raw "GET / HTTP/1.1\r\n\r\n"
  expect raw "HTTP/1.1 200 OK\r\n\r\n"
  expect closed
  close
endpoint a reply 101 header "Upgrade: x" header "Connection: Upgrade" then echo
client c
  send GET /
  expect 101 header "Upgrade: x"
  raw "ping"
  expect raw "ping"
  finish
  expect closed
  close
endpoint a hang
client c
  send GET /
  wait 5ms
  abort
endpoint a saw hangup
endpoint a reply 200 body "back"
within 1s GET / -> 200 body "back" from $who
GET / -> 200 from $who
endpoint a early then reply 413 then close
client d
  send POST / length 100
  expect 413
  expect closed
`

func TestActorsUnderstandEachOther(t *testing.T) {
	eachStage(t, dialogue, func(t *testing.T, err error) {
		if err != nil {
			t.Error(err)
		}
	})
}

// Every kind of expectation fails when what it says is not so.
func TestExpectationsFail(t *testing.T) {
	for script, want := range map[string]string{
		"GET / -> 404":                                                      "status 200, want 404",
		"GET / -> 200 body b":                                               `body is "a", want "b"`,
		"GET / -> 200 contains x":                                           "does not contain",
		"GET / -> 200 base64 x":                                             "illegal base64",
		"GET / -> 200 header \"X-A: 1\"":                                    `X-A is [], want ["1"]`,
		"GET / -> 200 header \"X-A: *\"":                                    "X-A is missing",
		"GET / -> 200 no-header X-Endpoint":                                 "X-Endpoint is there",
		"GET / -> 200 from b":                                               `endpoint "a" answered, want b`,
		"GET / -> 200 not-from a":                                           `endpoint "a" answered`,
		"GET / -> 200 chunked":                                              "framing is length",
		"GET / -> 200 length 2":                                             "Content-Length is 1",
		"GET / -> 200 trailer \"A: b\"":                                     "trailer: A is []",
		"GET / -> 200 reason x":                                             "reason is []",
		"GET / -> 200 until-close":                                          "framing is length",
		"GET / -> 200\nendpoint a saw GET /y":                               `it saw "GET / HTTP/1.1"`,
		"GET / -> 200\nendpoint a saw GET / body x":                         `body is ""`,
		"GET / -> 200\nendpoint a saw GET / host h":                         `Host is ["example.com"]`,
		"GET / -> 200\nendpoint a saw nothing":                              "it saw GET /",
		"endpoint a saw GET /":                                              "it saw no request",
		"endpoint a saw hangup":                                             "it did not",
		"GET / -> 200\ncounts a=2":                                          "got a=1",
		"GET / -> 200\nconnections a=2..3":                                  "got a=1",
		"client c\n  send GET /\n  expect nothing 50ms":                     `got "H`,
		"client c\n  expect closed":                                         "still open",
		"client c\n  send GET /\n  expect closed":                           `got "H`,
		"client c\n  send GET /\n  expect raw \"HTTP/1.1 500\"":             "want",
		"client c\n  send GET /\n  expect head 200\n  expect cut":           "good order",
		"client c\n  send GET /\n  expect head 200\n  expect end":           "more content",
		"client c\n  send GET /\n  expect head 200\n  expect content \"b\"": `want "b"`,
		"endpoint a raw \"HTTP/1.1 200 OK\\n\\n\" then close\nGET / -> 200": "CR LF",
		"endpoint a raw \"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhel\" then close\nGET / -> 200": "unexpected EOF",
		"endpoint a close-at-once\nGET / -> 200":                                                            "no response",
		"endpoint a reset-at-once\nGET / -> 200":                                                            "reset",
		"endpoint a refuse\nGET / -> 200":                                                                   "refused",
		"GET / -> 200\napply x":                                                                             "no file named x",
		"operator weight a":                                                                                 "want: operator",
		"operator drain z":                                                                                  "no configuration speaks of it",
		"endpoint z refuse":                                                                                 "no configuration speaks of it",
		"endpoint a dance":                                                                                  "cannot do that",
		"frobnicate":                                                                                        "no such statement",
		"GET / -> 200 colour red":                                                                           "colour: no such word",
		"client c\n  send GET \"/":                                                                          "a quote is not closed",
	} {
		t.Run(strings.ReplaceAll(script, "\n", ";"), func(t *testing.T) {
			eachStage(t, script, func(t *testing.T, err error) {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want: %s", err, want)
				} else if !strings.HasPrefix(err.Error(), "self:") {
					t.Errorf("no line: %v", err)
				}
			})
		})
	}
}

func TestAnArchiveKnowsItsLines(t *testing.T) {
	a, err := parseArchive("# comment\nonly: virtual\n-- one --\n1\n2\n-- two --\n3\n")
	if err != nil || a.comment != "# comment\nonly: virtual\n" {
		t.Fatal(a, err)
	}
	if got := fmt.Sprint(a.files); got != "[{one 4 1\n2\n} {two 7 3\n}]" {
		t.Error(got)
	}
	if _, err := parseArchive("-- a --\n-- a --\n"); err == nil {
		t.Error("a file that is there twice is let through")
	}
}
