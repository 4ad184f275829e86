package metric

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// everything visits two series of each family, with values and labels that have to be written with
// care. It is always the same, so the texts are golden files; test/observe has promtool read them.
func everything(v Visitor) {
	created := time.Date(2026, 8, 4, 12, 0, 0, 250e6, time.UTC)
	awkward := []string{`plain`, `a "quoted" \ back` + "\nline", `users-ü`, "not\xffUTF-8"}
	values := []float64{0, 1, 17, 0.25, 1e15, 1.5e-9, 1 << 53, math.Inf(1), -2.5}
	bounds := []float64{0.0005, 0.25, 1, 30}
	n := 0
	for _, f := range Families() {
		v.Family(f)
		for one := range 2 {
			if len(f.Labels) == 0 && one > 0 {
				continue
			}
			labels := make([]string, len(f.Labels))
			for i := range labels {
				labels[i] = awkward[(n+i)%len(awkward)]
			}
			if len(labels) > 0 {
				labels[0] = []string{"first", "second"}[one] + " " + labels[0]
			}
			at := created
			if n%3 == 0 {
				at = time.Time{} // it is not known since when
			}
			if f.Kind == Histogram {
				v.Histogram(labels, &Distribution{Bounds: bounds, Counts: []uint64{uint64(n), 0, 3, 1, 2}, Sum: 61.75}, at)
			} else {
				x := values[n%len(values)]
				if f.Kind == Counter {
					x = math.Abs(x)
				}
				v.Value(labels, x, at)
			}
			n++
		}
	}
}

// The texts are what they were, byte for byte.
func TestGolden(t *testing.T) {
	for file, open := range map[string]bool{"testdata/prometheus.txt": false, "testdata/openmetrics.txt": true} {
		var b strings.Builder
		text := NewText(&b, open)
		everything(text)
		if err := text.Close(); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() == string(want) {
			continue
		}
		got, lines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(got), len(lines)) {
			if got[i] != lines[i] {
				t.Errorf("%s:%d\n%s\nwant\n%s", file, i+1, got[i], lines[i])
				break
			}
		}
		if len(got) != len(lines) {
			t.Errorf("%s has %d lines, want %d: go test ./metric -update", file, len(got), len(lines))
		}
	}
}
