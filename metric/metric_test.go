package metric

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md and the golden files anew")

const page = "../docs/metrics.md"

// The table of the page is what the code has.
func TestTheDocumentListsEveryFamily(t *testing.T) {
	var table strings.Builder
	for _, f := range Families() {
		labels := make([]string, len(f.Labels))
		for i, l := range f.Labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, strings.Join(labels, ", "), f.Help)
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?s)(\| --- \| --- \| --- \| --- \|\n).*?(\n<!-- end -->)`)
	want := rows.ReplaceAll(data, []byte("${1}"+table.String()+"$2"))
	if string(want) == string(data) {
		return
	}
	if !*update {
		t.Fatal(page + " is out of date: go test ./metric -update")
	}
	if err := os.WriteFile(page, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

var nameShape = regexp.MustCompile(`^(poise|go|process)_[a-z]+(_[a-z]+)*$`)

// Names follow the conventions of Prometheus: counters end with _total, units are named and
// basic, and no name is the beginning of another family's samples.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Families() {
		switch {
		case !nameShape.MatchString(f.Name):
			t.Errorf("%s is no name", f.Name)
		case seen[f.Name]:
			t.Errorf("%s is there twice", f.Name)
		case (f.Kind == Counter) != strings.HasSuffix(f.Name, "_total"):
			t.Errorf("%s is a %s", f.Name, f.Kind)
		case f.Kind == Histogram && f.Unit != "seconds":
			t.Errorf("%s has the unit %q", f.Name, f.Unit)
		case f.Unit != "" && !strings.Contains(f.Name, "_"+f.Unit):
			t.Errorf("%s does not name its unit %s", f.Name, f.Unit)
		case f.Help == "" || !strings.HasSuffix(f.Help, "."):
			t.Errorf("%s has the help %q", f.Name, f.Help)
		case slices.Contains(f.Labels, "le"):
			t.Errorf("%s has a label of histograms", f.Name)
		}
		if base := strings.TrimSuffix(f.Name, "_total"); base != f.Name && seen[base] {
			t.Errorf("%s and %s are one family of OpenMetrics", f.Name, base)
		}
		seen[f.Name], seen[strings.TrimSuffix(f.Name, "_total")] = true, true
	}
	for name := range seen {
		for _, suffix := range []string{"_bucket", "_sum", "_count", "_created", "_total"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && suffix != "_total" && seen[base] {
				t.Errorf("%s is a sample of %s", name, base)
			}
		}
	}
}
