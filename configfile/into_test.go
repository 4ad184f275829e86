package configfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
)

type toyFile struct {
	Kind string        `yaml:"kind" doc:"what" enum:"red,green" default:"red"`
	Wait time.Duration `yaml:"wait" doc:"how long"`
	Log  string        `yaml:"log" doc:"a file" path:"true"`
}

// A file of another kind has places, nearest words and relative paths as a configuration has.
func TestReadInto(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toy.yaml")
	read := func(text string) (v toyFile, err error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err = configfile.ReadInto(path, &v, func() error { return config.NewErrors(config.Check(config.Fill(v))...) })
		return v, err
	}
	v, err := read("kind: green\nwait: 3s\nlog: a.log\n")
	if err != nil || v.Kind != "green" || v.Wait != 3*time.Second || v.Log != filepath.Join(filepath.Dir(path), "a.log") {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = read("kind: gren\nwiat: 3s\n")
	for _, want := range []string{":1:7: kind: \"gren\" is not one of red, green, did you mean green?", ":2:1: wiat: unknown key, did you mean wait?"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if _, err := read(""); err == nil {
		t.Error("an empty file is accepted")
	}
}
