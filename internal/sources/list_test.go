package sources

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// readJSON is what a list says: its endpoints, then how many entries are rejected.
func readJSON(text string) (string, error) {
	list, rejects, err := parseJSON("list.json", []byte(text))
	if err != nil {
		return "", err
	}
	return shown(Listed("list.json", list, rejects))
}

func shown(specs []endpoint.Spec, rejects []discovery.Reject, err error) (string, error) {
	var out []string
	for _, s := range specs {
		one := s.URL()
		if s.Weight > 1 {
			one += fmt.Sprint("*", s.Weight)
		}
		if s.Out {
			one += " out"
		}
		if s.Zone != "" || s.Priority != 0 || s.Metadata != nil {
			one += fmt.Sprintf(" %s/%d %v", s.Zone, s.Priority, s.Metadata)
		}
		out = append(out, one)
	}
	if len(rejects) > 0 {
		out = append(out, fmt.Sprint(len(rejects), " rejected"))
	}
	return strings.Join(out, ", "), err
}

// listsInJSON are lists that the reader of this package and that of YAML take alike. What
// begins with an exclamation mark is part of the error of the former.
var listsInJSON = map[string]string{
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "weight": 7}]`:                                  "http://10.0.0.1:1, http://10.0.0.2:80*7",
	"\ufeff {\"endpoints\": [\"unix:/run/a\"]}\n":                                                     "http://unix:/run/a",
	`[{"drain": true, "url": "http://10.0.0.1:1", "weight": 2}]`:                                      "http://10.0.0.1:1*2 out",
	`[{"url": "http://[::1]:1", "weight": 0}]`:                                                        "http://[::1]:1 out",
	`[{"url": "http://10.0.0.1:1", "zone": "a", "backup": true}]`:                                     "http://10.0.0.1:1 a/1 map[]",
	`[{"url": "http://10.0.0.1:1", "priority": 3, "metadata": {"version": "v2", "n": 7, "b": true}}]`: "http://10.0.0.1:1 /3 map[b:true n:7 version:v2]",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "metadata": {"a": {}}}]`:                        "http://10.0.0.1:1, 1 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "metadata": ["a"]}]`:                            "http://10.0.0.1:1, 1 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "priority": 16}]`:                               "http://10.0.0.1:1, 1 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "priority": 2, "backup": true}]`:                "http://10.0.0.1:1, 1 rejected",
	`[]`:                     "",
	`{"endpoints": []}`:      "",
	``:                       "!empty",
	" \n":                    "!empty",
	`{}`:                     "!endpoints is no list",
	`{"endpoints": null}`:    "!endpoints is no list",
	`{"endpoints": {}}`:      "!endpoints is no list",
	`{"servers": []}`:        "!no key servers",
	`["http://10.0.0.1:1"`:   "!unexpected end",
	`["http://10.0.0.1:1"]]`: "!invalid character",
	`["http://name:1"]`:      "!takes addresses",
	`["what"]`:               "!no entry can be used: what",
	`"http://10.0.0.1:1"`:    "!no list in JSON",
	`["http://10.0.0.1:1", 7, null, [], "http://10.0.0.1:1", "http://name", "what"]`:           "http://10.0.0.1:1, 6 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "wieght": 1}, {"weight": 1}]`:            "http://10.0.0.1:1, 2 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "weight": null}]`:                        "http://10.0.0.1:1, 1 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "weight": 1.5}]`:                         "http://10.0.0.1:1, 1 rejected",
	`["http://10.0.0.1:1", {"url": "http://10.0.0.2", "weight": -1}, {"url": ""}, {"url": 1}]`: "http://10.0.0.1:1, 3 rejected",
	`["http://10.0.0.1:1", {"URL": "http://10.0.0.2"}, {"url": "http://10.0.0.1:1"}]`:          "http://10.0.0.1:1, 2 rejected",
}

func TestListsInJSON(t *testing.T) {
	for text, want := range listsInJSON {
		got, err := readJSON(text)
		if part, failed := strings.CutPrefix(want, "!"); failed {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, %v, want %s", text, got, err, want)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	_, rejects, _ := parseJSON("list.json", []byte(`[{"url": "http://10.0.0.2", "wieght": 1}]`))
	if len(rejects) != 1 || rejects[0].ID != "http://10.0.0.2" || rejects[0].Reason != "list.json: endpoints[0]: wieght: there is no such key; did you mean weight?" {
		t.Errorf("%+v", rejects)
	}
	if _, err := readJSON("- http://10.0.0.1:1\n"); err == nil || !strings.Contains(err.Error(), "sources.File()") {
		t.Errorf("a list in YAML: %v", err)
	}
}

// TestListsAreReadAlike: a program that links YAML later reads its JSON lists as before.
func TestListsAreReadAlike(t *testing.T) {
	for text := range listsInJSON {
		got, err := readJSON(text)
		list, rejected, failed := configfile.Endpoints("list.json", []byte(text))
		want := ""
		if failed == nil {
			want, failed = shown(Listed("list.json", list, make([]discovery.Reject, len(rejected))))
		}
		if (err == nil) != (failed == nil) || got != want {
			t.Errorf("%s:\n%q, %v; of YAML\n%q, %v", text, got, err, want, failed)
		}
	}
}
