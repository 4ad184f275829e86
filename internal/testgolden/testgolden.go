// Package testgolden compares texts with golden files, for tests.
package testgolden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Texts renders every testdata/*.json, and compares the text with the file of the same name that
// ends in .txt. update writes those files anew.
func Texts(t *testing.T, update bool, render func(data []byte) (string, error)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := render(data)
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(file, ".json") + ".txt"
		if update {
			if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || text != string(want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", file, err, text, want)
		}
	}
}
