package explain

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The text of Explanations that were decoded from JSON, as they come from another process.
func TestText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var e Explanation
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := e.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(file, ".json") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", file, err, b.String(), want)
		}
	}
}

func TestLocate(t *testing.T) {
	e := Explanation{
		Routes: []Tried{{Key: "routes[0]"}}, Service: &Service{ConfigKey: "services.s"}, Retry: &Retry{Key: "services.s.retry"},
		Limits: []Limit{{Key: "routes[0].timeout"}, {Key: "timeouts.head"}},
	}
	places := map[string]string{"routes[0]": "p:1:1", "services.s": "p:2:1", "services.s.retry": "p:3:1", "routes[0].timeout": "p:4:1"}
	e.Locate(func(key string) string { return places[key] })
	if e.Routes[0].Place != "p:1:1" || e.Service.Place != "p:2:1" || e.Retry.Place != "p:3:1" || e.Limits[0].Place != "p:4:1" || e.Limits[0].Default || !e.Limits[1].Default {
		t.Errorf("%+v", e)
	}
}
