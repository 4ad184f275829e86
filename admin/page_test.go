package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page stays small: no framework, no build step, comments and spaces as they are written.
// sourceMost bounds what a browser unpacks of it in one language, sentMost what it is sent.
const sourceMost, sentMost = 82_500, 33_300

func TestPageSize(t *testing.T) {
	for _, language := range []string{"en", "zh"} {
		sent, source := 0, 0
		for name, f := range pages() {
			if name != "" && (path.Ext(name) != ".json" || name == language+".json") { // index.html is there twice
				sent += len(f.packed)
				source += len(f.plain)
			}
		}
		t.Logf("%s: %d bytes of source, %d sent", language, source, sent)
		if sent > sentMost || source > sourceMost {
			t.Errorf("%s: %d bytes of source, at most %d; %d are sent, at most %d", language, source, sourceMost, sent, sentMost)
		}
	}
}

// Every file is there under its type, is not loaded again while it is the same, and is sent
// compressed to those that accept it.
func TestPageFiles(t *testing.T) {
	s := newSide(t, Options{Tokens: []Token{{"ops", secret, Operate}}}) // the page itself needs none
	for name, f := range pages() {
		for _, packed := range []bool{false, true} {
			set := func(tag string) func(*http.Request) {
				return func(r *http.Request) {
					r.Header.Set("Accept-Encoding", "identity")
					if packed {
						r.Header.Set("Accept-Encoding", "br, gzip")
					}
					if tag != "" {
						r.Header.Set("If-None-Match", tag)
					}
				}
			}
			res := s.get("/"+name, set(""))
			want := f.plain
			if packed {
				want = f.packed
			}
			if res.status != 200 || !bytes.Equal(res.content, want) || res.Get("Content-Type") == "" || res.Get("Content-Type") != f.kind {
				t.Errorf("%q: %d, %d bytes of %q", name, res.status, len(res.content), res.Get("Content-Type"))
			}
			if got := res.Get("Content-Encoding") == "gzip"; got != packed {
				t.Errorf("%q: compressed: %v", name, got)
			}
			if res.Get("Content-Security-Policy") != policy {
				t.Errorf("%q: no policy", name)
			}
			if again := s.get("/"+name, set(res.Get("ETag"))); again.status != 304 || len(again.content) > 0 {
				t.Errorf("%q again: %d", name, again.status)
			}
		}
	}
	if status, text := s.ask("GET", "/nothing.js", nil); status != 404 || !strings.Contains(text, "/api/v1") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := s.ask("GET", "/page.go", nil); status != 404 {
		t.Errorf("%d %s", status, text)
	}
}

// reply is an answer with its fields.
type reply struct {
	status int
	http.Header
	content []byte
}

// get asks without the transport's own decompression.
func (s *side) get(path string, edit func(r *http.Request)) reply {
	s.Helper()
	r, err := http.NewRequest("GET", s.server.URL+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	edit(r)
	res, err := s.server.Client().Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(res.Body); err != nil {
		s.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, content.Bytes()}
}

// What the policy forbids is not in the files: the browser would drop it without a word to users.
func TestPagePolicy(t *testing.T) {
	for name, bad := range map[string]*regexp.Regexp{
		".html": regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son\w+=|(src|href)="(https?:)?//`),
		".js":   regexp.MustCompile(`\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|setAttribute\('style'|import\(|https?://(?:[^aw]|w[^w])`),
		".css":  regexp.MustCompile(`@import|url\(`),
	} {
		for file, f := range pages() {
			if strings.HasSuffix(file, name) {
				if found := bad.Find(f.plain); found != nil {
					t.Errorf("%s: %q", file, found)
				}
			}
		}
	}
}

// catalogue reads the words of a language.
func catalogue(t *testing.T, language string) map[string]string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(pages()[language+".json"].plain))
	words := make(map[string]string)
	if err := d.Decode(&words); err != nil {
		t.Fatalf("%s.json: %v", language, err)
	}
	if n := len(regexp.MustCompile(`"[^"]*":`).FindAll(pages()[language+".json"].plain, -1)); n != len(words) {
		t.Errorf("%s.json: %d keys, %d of them different", language, n, len(words))
	}
	return words
}

// foreign are the families of keys that only other languages have: the API says them in English.
var foreign = map[string]bool{"p": true, "event": true}

// Both catalogues have every key that the page uses, with the same values to fill in, and no other.
func TestPageWords(t *testing.T) {
	en, zh := catalogue(t, "en"), catalogue(t, "zh")
	values := regexp.MustCompile(`\{\w+\}`)
	for key, text := range en {
		other, ok := zh[key]
		if !ok {
			t.Errorf("zh.json has no %q", key)
			continue
		}
		a, b := values.FindAllString(text, -1), values.FindAllString(other, -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%q: %v in English, %v in Chinese", key, a, b)
		}
		if other == "" || text == "" {
			t.Errorf("%q is empty", key)
		}
	}
	for key := range zh {
		if family, _, _ := strings.Cut(key, "."); en[key] == "" && !foreign[family] {
			t.Errorf("en.json has no %q", key)
		}
	}
	asked, mentioned, families := usedKeys()
	for key, file := range asked {
		if _, ok := en[key]; !ok {
			t.Errorf("%s uses %q, which no catalogue has", file, key)
		}
	}
	for key := range en {
		family, _, _ := strings.Cut(key, ".")
		if !mentioned[key] && !families[family] {
			t.Errorf("nothing uses %q", key)
		}
	}
}

// usedKeys finds the keys that files ask for, all texts that may be one, and the families (what
// stands before the dot) of keys that are put together from a word of the API.
func usedKeys() (asked map[string]string, mentioned, families map[string]bool) {
	asked, mentioned, families = make(map[string]string), make(map[string]bool), make(map[string]bool)
	call := regexp.MustCompile(`\bt\(\s*'([^']+)'\s*[,)]|data-t(?:-\w+)?="([^"]+)"`)
	column := regexp.MustCompile(`\{ id: '([\w.]+)'|\bfigure\('([\w.]+)'|\bplain\('([\w.]+)'|\b(\w+): \((?:a|c|l)(?:, td)?\) =>`)
	quoted := regexp.MustCompile(`['"]([\w.-]+)['"]`)
	begun := regexp.MustCompile(`\b(?:t|said)\('(\w+)(?:\.\w+)*\.' ?\+`)
	for name, f := range pages() {
		for _, m := range call.FindAllSubmatch(f.plain, -1) {
			asked[string(m[1])+string(m[2])] = name
		}
		for _, m := range column.FindAllSubmatch(f.plain, -1) {
			asked["col."+string(bytes.Join(m[1:], nil))] = name
		}
		if path.Ext(name) != ".json" {
			for _, m := range quoted.FindAllSubmatch(f.plain, -1) {
				mentioned[string(m[1])] = true
			}
		}
		for _, m := range begun.FindAllSubmatch(f.plain, -1) {
			families[string(m[1])] = true
		}
	}
	return asked, mentioned, families
}

// Each word of the API that the page has words for is in the catalogues.
func TestPageKnowsTheAPI(t *testing.T) {
	en, zh := catalogue(t, "en"), catalogue(t, "zh")
	var states []string
	_, text := newSide(t, Options{}).ask("GET", "/metrics?scope=service", nil)
	for _, m := range regexp.MustCompile(`[{,]state="([^"]+)"`).FindAllStringSubmatch(text, -1) {
		states = append(states, m[1])
	}
	if len(states) < 8 {
		t.Fatalf("the metrics have the states %v only", states)
	}
	for family, words := range map[string][]string{
		"state":    states,
		"p":        {"none", "panic", "last-resort", "ejected", "stale", "fault", "held", "rejected", "refused"},
		"cause":    {"probes", "breaker", "operator", "outlier"},
		"level":    {"info", "warn", "error"},
		"override": {"drain", "eject", "weight"},
		"do":       {"drain", "undrain", "eject", "uneject", "admit", "weight", "unweight"},
		"means":    {"drain", "undrain", "eject", "uneject", "admit", "weight", "unweight"},
		"severity": {"1", "2"},
	} {
		for _, w := range words {
			if zh[family+"."+w] == "" || en[family+"."+w] == "" && !foreign[family] {
				t.Errorf("no word for %s.%s", family, w)
			}
			if family == "state" && !bytes.Contains(pages()["index.html"].plain, []byte(`id="g-`+w+`"`)) {
				t.Errorf("no sign for the state %s", w)
			}
		}
	}
}
