package configfile

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/poise-lb/poise/config"
)

func TestEndpoints(t *testing.T) {
	two := []config.Endpoint{{URL: "http://127.0.0.1:1"}, {URL: "http://127.0.0.1:2", Weight: 3}}
	for data, want := range map[string][]config.Endpoint{
		"- http://127.0.0.1:1\n- {url: http://127.0.0.1:2, weight: 3}\n":                                                   two,
		"endpoints:\n  - http://127.0.0.1:1\n  - url: http://127.0.0.1:2\n    weight: 3\n":                                 two,
		`["http://127.0.0.1:1", {"url": "http://127.0.0.1:2", "weight": 3}]`:                                               two,
		`{"endpoints": ["http://127.0.0.1:1", {"url": "http://127.0.0.1:2", "weight": 3}]}`:                                two,
		"{\n\t\"endpoints\": [\n\t\t\"http://127.0.0.1:1\",\n\t\t{\"url\": \"http://127.0.0.1:2\", \"weight\": 3}\n\t]\n}": two,
		"- {url: http://127.0.0.1:1, weight: 0}":                                                                           {{URL: "http://127.0.0.1:1", Drain: true}},
		"- {weight: 0, drain: false, url: http://127.0.0.1:1}":                                                             {{URL: "http://127.0.0.1:1", Drain: true}},
		"- {url: http://127.0.0.1:1, weight: 3, drain: true}\n- http://127.0.0.1:2":                                        {{URL: "http://127.0.0.1:1", Weight: 3, Drain: true}, {URL: "http://127.0.0.1:2"}},
		`[{"url": "http://127.0.0.1:1", "zone": "a", "backup": true, "metadata": {"version": "v2", "n": "1"}}]`:            {{URL: "http://127.0.0.1:1", Zone: "a", Backup: true, Metadata: map[string]string{"version": "v2", "n": "1"}}},
		"- {url: http://127.0.0.1:1, priority: 2}":                                                                         {{URL: "http://127.0.0.1:1", Priority: 2}},
		"[]":            {},
		"endpoints: []": {},
	} {
		got, rejected, err := Endpoints("l", []byte(data))
		if err != nil || len(rejected) > 0 || len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %+v, %v", data, got, rejected, err)
		}
	}
	for data, want := range map[string]string{
		"":              "l:1:1: the file is empty",
		"a":             "l:1:1: a mapping is expected here, not the value a",
		"endpoint: [a]": "l:1:1: endpoint: unknown key, did you mean endpoints?\nl:1:1: endpoints: is missing: URLs, or mappings with url, weight, zone and so on",
		"- http://${A}": `l:1:3: endpoints[0].url: "http://${A}": not a URL: invalid character "{" in host name`,
		"- {url: \"http://a\", weight: 2000}\n- wait": "l:1:29: endpoints[0].weight: 2000 is more than 1000\nl:2:3: endpoints[1].url: \"wait\": a URL begins with http:// or https://, as in http://wait",
	} {
		if got, _, err := Endpoints("l", []byte(data)); fmt.Sprint(err) != want {
			t.Errorf("%s: %+v,\n%v, want\n%s", data, got, err, want)
		}
	}
}

// TestBadEntriesAreRejected: they do not spoil the list.
func TestBadEntriesAreRejected(t *testing.T) {
	const good = "- http://127.0.0.1:1\n"
	for data, want := range map[string]string{
		good + "-":                     " l:2:3: endpoints[1]: no value is given: leave it out for the default",
		good + "- http://127.0.0.1:1/": "http://127.0.0.1:1/ l:2:3: endpoints[1].url: http://127.0.0.1:1/ is listed twice",
		good + "- {url: http://127.0.0.1:2, weight: 2000}":              "http://127.0.0.1:2 l:2:37: endpoints[1].weight: 2000 is more than 1000",
		good + "- {url: http://127.0.0.1:2, weight: heavy}":             "http://127.0.0.1:2 l:2:37: endpoints[1].weight: a whole number is expected here, not heavy",
		good + "- {url: http://127.0.0.1:2, wait: 1}":                   "http://127.0.0.1:2 l:2:29: endpoints[1].wait: unknown key",
		good + "- {url: http://127.0.0.1:2, priority: 16}":              "http://127.0.0.1:2 l:2:39: endpoints[1].priority: 16 is more than 15",
		good + "- {url: http://127.0.0.1:2, priority: 2, backup: true}": "http://127.0.0.1:2 l:2:50: endpoints[1].backup: is short for priority: 1, and the priority is 2: give one of them",
		good + "- [1]":    " l:2:3: endpoints[1]: a mapping is expected here, not a list",
		"- what\n" + good: "what l:1:3: endpoints[0].url: \"what\": a URL begins with http:// or https://, as in http://what",
	} {
		got, rejected, err := Endpoints("l", []byte(data))
		if err != nil || len(got) != 1 || got[0].URL != "http://127.0.0.1:1" || len(rejected) != 1 {
			t.Errorf("%s: %+v, %+v, %v", data, got, rejected, err)
		} else if text := rejected[0].Entry + " " + rejected[0].Reason(); text != want {
			t.Errorf("%s:\n%s, want\n%s", data, text, want)
		}
	}
}
