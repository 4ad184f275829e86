//go:build linux

package peers

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/peers/stage"
)

// TestPageIsThatOfTheResults: no digit was changed by hand, and what is measured is shown.
func TestPageIsThatOfTheResults(t *testing.T) {
	if *runFlag || *writeFlag {
		t.Skip("it is being written")
	}
	r, err := read(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Scenarios) == 0 {
		t.Fatal("no results: run make bench")
	}
	for path, want := range map[string]func(old string) string{
		pageFile:    func(old string) string { return page(r, notesOf(old)) },
		pictureFile: func(string) string { return picture(r) },
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want(string(text)) != string(text) {
			t.Errorf("%s is not what the results say: run the test with -args -write", path)
		}
	}
}

// TestWrite writes page and picture anew, of the results there are.
func TestWrite(t *testing.T) {
	if !*writeFlag {
		t.Skip("without -write")
	}
	r, err := read(resultsFile)
	if err == nil {
		err = publish(r)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestResultsOnDisk: what was written is what is read.
func TestResultsOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	if err := example().write(path); err != nil {
		t.Fatal(err)
	}
	got, err := read(path)
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, example())
	}
}

// example has turns of which the figures are known.
func example() results {
	at := func(cost, p99 time.Duration) turn {
		return turn{Result: stage.Result{Requests: 1000, Elapsed: time.Second, CPU: 1000 * cost, P50: p99 / 2, P99: p99}}
	}
	var h1 outcome
	h1.Date, h1.Rounds = "2026-01-02", 3
	for i := range 3 {
		noise := time.Duration(i) * time.Microsecond
		h1.add("", "nginx", at(20*time.Microsecond+noise, time.Duration(1+i)*time.Millisecond))
		h1.add("", fastEngine, at(18*time.Microsecond+noise, time.Millisecond))
	}
	cheap := at(time.Microsecond, time.Microsecond)
	cheap.Errors, cheap.Error = 3, "reset"
	h1.add("", "nginx", cheap) // does not count
	h1.add("", "Caddy", cheap)
	idle := turn{Result: stage.Result{Held: 5000}, Bytes: 700}
	var memory outcome
	memory.add("idle", fastEngine, idle)
	return results{Scenarios: map[string]outcome{"h1": h1, "memory": memory}, Skipped: map[string]string{"Envoy": "no | network"}}
}

func TestFigures(t *testing.T) {
	r := example()
	for _, c := range []struct {
		peer   string
		figure figure
		want   float64
	}{{"nginx", cost, 20}, {fastEngine, cost, 18}, {"nginx", p99, 2000}, {"nginx", rate, 1000}, {"nginx", busy, 2.2}} {
		if got, ok := r.Scenarios["h1"].value("", c.peer, c.figure); !ok || got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%s: %v, want %v", c.peer, got, c.want)
		}
	}
	if v, ok := r.Scenarios["h1"].value("", "Caddy", cost); ok {
		t.Errorf("a turn with errors has the figure %v", v)
	}
	if v := median([]float64{9, 1, 5, 2}); v != 3.5 {
		t.Errorf("the median is %v", v)
	}
}

func TestTargetsAreJudged(t *testing.T) {
	table := targetTable(example())
	for _, want := range []string{
		"| HTTP/1.1: CPU per request of nginx's | 0.95 × | 0.90 × | nginx | met |",
		"| idle connection: bytes | 600 | 700 |  | **missed** |",
		"| TLS: of HAProxy's | 0.80 × | – |  | not measured |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
}

// TestTheBestIsComparedWith: of two versions of nginx, and of all others.
func TestTheBestIsComparedWith(t *testing.T) {
	r := example()
	newer := r.Scenarios["h1"].Turns[""]["nginx"][0]
	newer.CPU = newer.CPU * 3 / 4 // 15 µs
	o := r.Scenarios["h1"]
	o.add("", "nginx, sid", newer)
	if want, table := "| HTTP/1.1: CPU per request of nginx's | 0.95 × | 1.20 × | nginx, sid | **missed** |", targetTable(r); !strings.Contains(table, want) {
		t.Errorf("no %s in\n%s", want, table)
	}
	if want, table := "| HTTP/1.1, connections kept, CPU µs | 18.0 | 15.0 | 1.20 × | nginx, sid |", bestTable(r); !strings.Contains(table, want) {
		t.Errorf("no %s in\n%s", want, table)
	}
}

func TestPageKeepsNotes(t *testing.T) {
	r := example()
	first := page(r, "\nThe *explanation*.\n")
	if again := page(r, notesOf(first)); again != first {
		t.Error("written again, the page is another")
	}
	for _, want := range []string{"The *explanation*.", "| nginx | 20.0 | 1,000 |", "| Caddy | failed |", `could not be had: no \| network`} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in\n%s", want, first)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		show func(float64) string
		in   float64
		want string
	}{{grouped, 1234567.4, "1,234,567"}, {grouped, 999.6, "1,000"}, {grouped, -1500, "-1,500"}, {tenths, 14.26, "14.3"}, {tenths, 1043, "1,043"},
		{millis, 812, "0.81"}, {millis, 12345, "12.3"}, {millis, 123456, "123"}} {
		if got := c.show(c.in); got != c.want {
			t.Errorf("%v is shown as %s, want %s", c.in, got, c.want)
		}
	}
}

// TestPicture: it is well-formed, runs nothing, and its bars are as long as their values.
func TestPicture(t *testing.T) {
	text := picture(example())
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "script" {
			t.Error("a script")
		}
	}
	if !strings.Contains(text, `width="230.0"`) || !strings.Contains(text, `width="207.0"`) { // 20 and 18
		t.Errorf("bars are not as long as they should:\n%s", text)
	}
}

// TestEverybodyNamedIsThere: scenarios, variants and peers that are referred to by name.
func TestEverybodyNamedIsThere(t *testing.T) {
	known := func(name string) bool {
		return name == "" || slices.ContainsFunc(peers, func(p peer) bool { return p.name == name })
	}
	all := func(names []string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !known(name) })
	}
	exists := func(name, way string) bool {
		return slices.ContainsFunc(scenarios, func(s scenario) bool {
			return s.name == name && slices.ContainsFunc(s.variants, func(v variant) bool { return v.name == way })
		})
	}
	for _, s := range scenarios {
		for _, name := range s.named {
			if !known(name) {
				t.Errorf("scenario %s: no peer %s", s.name, name)
			}
		}
	}
	for _, g := range targets {
		if !exists(g.scenario, g.variant) || g.base != "" && !exists(g.scenario, g.base) || !known(g.of) || !all(g.beside) {
			t.Errorf("target %s is of something that is not there", g.text)
		}
	}
	for _, p := range panels {
		if !exists(p.scenario, p.variant) {
			t.Errorf("panel %s is of something that is not there", p.title)
		}
	}
	for _, name := range append([]string{fastEngine, "floor"}, drawn...) {
		if !known(name) {
			t.Errorf("the picture has a peer %s", name)
		}
	}
}
