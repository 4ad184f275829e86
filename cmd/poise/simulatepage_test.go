package main

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/simulate"
)

var update = flag.Bool("update", false, "write the outputs and the picture of docs/simulate.md anew")

var simulateFence = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")

// The outputs in docs/simulate.md and its translation are those of the commands above them, the
// picture is that of the first one, and the scenario on the page is one. Policies and defaults that
// change have other figures: go test ./cmd/poise -run TestTheSimulatePage -update.
func TestTheSimulatePageIsTrue(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors round in another way")
	}
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"simulate.md", "simulate.zh.md"} {
		page, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		command, compared := "", 0
		now := simulateFence.ReplaceAllStringFunc(string(page), func(fence string) string {
			m := simulateFence.FindStringSubmatch(fence)
			switch m[1] {
			case "yaml":
				write(t, "poise.yaml", m[2])
			case "yml":
				write(t, "monday.yaml", m[2])
				if code, _, errs := call("simulate", "-c", "poise.yaml", "--scenario", "./monday.yaml", "--policy", "p2c", "--duration", "5s"); code != exitOK {
					t.Errorf("%s: the scenario: %s", name, errs)
				}
			case "sh":
				command = strings.TrimSpace(m[2])
			case "text":
				compared++
				_, out, errs := call(strings.Fields(command)[1:]...)
				if errs != "" {
					t.Errorf("%s: %s: %s", name, command, errs)
				}
				return "```text\n" + out + "```"
			}
			return fence
		})
		same(t, filepath.Join(docs, name), string(page), now)
		if compared < 1 {
			t.Errorf("%s: no output compared", name)
		}
	}
	picture, _ := os.ReadFile(filepath.Join(docs, "simulate.svg"))
	same(t, filepath.Join(docs, "simulate.svg"), string(picture), pictureOfThePage(t))
}

// same reports a file that is not as it should be, or writes it.
func same(t *testing.T, path, is, should string) {
	t.Helper()
	switch {
	case is == should:
	case *update:
		write(t, path, should)
	default:
		t.Errorf("%s is out of date: go test ./cmd/poise -run TestTheSimulatePage -update; it should be\n%s", path, should)
	}
}

func pictureOfThePage(t *testing.T) string {
	t.Helper()
	c, err := configfile.Load("poise.yaml")
	if err != nil {
		t.Fatal(err)
	}
	subject, err := simulate.New(&c, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range simulate.Builtin() {
		if sc.Name == "slow" {
			sc = sc.WithDefaults()
			shown, err := subject.Compare(&sc, []string{"p2c", "least_connections", "peak_ewma", "round_robin"})
			if err != nil {
				t.Fatal(err)
			}
			return shown.Picture()
		}
	}
	t.Fatal("there is no scenario slow")
	return ""
}

// Every key of a scenario is on the page.
func TestTheSimulatePageHasEveryKey(t *testing.T) {
	page, err := os.ReadFile("../../docs/simulate.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	var look func(of reflect.Type)
	look = func(of reflect.Type) {
		for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			return
		}
		for i := range of.NumField() {
			f := of.Field(i)
			keys++
			if key := f.Tag.Get("yaml"); !regexp.MustCompile("`([a-z_]+\\.)?" + key + "[`.]").Match(page) {
				t.Errorf("docs/simulate.md does not name the key %s", key)
			}
			look(f.Type)
		}
	}
	look(reflect.TypeFor[simulate.Scenario]())
	if keys < 30 {
		t.Errorf("only %d keys looked at", keys)
	}
	for _, sc := range simulate.Builtin() {
		if !strings.Contains(string(page), "`"+sc.Name+"`") {
			t.Errorf("docs/simulate.md does not name the scenario %s", sc.Name)
		}
	}
}
