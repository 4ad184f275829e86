package reason

import (
	"os"
	"regexp"
	"testing"
)

// TestEveryReasonHasANumber compares the list of numbers with the constants in reason.go.
func TestEveryReasonHasANumber(t *testing.T) {
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`(?m)^\t\w+\s+= "([^"]+)"$`).FindAllSubmatch(source, -1)
	if len(words) != Count {
		t.Errorf("reason.go has %d constants, the list all in index.go %d: a new reason goes to its end", len(words), Count)
	}
	for _, w := range words {
		i := Index(string(w[1]))
		if i == Count || At(i) != string(w[1]) {
			t.Errorf("%q has no number: add its constant to the end of the list all in index.go", w[1])
		}
	}
	if i := Index("no such reason"); At(i) != "other" {
		t.Errorf("an unknown word is counted as %q", At(i))
	}
}
