package explain

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/testgolden"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The text of Explanations that were decoded from JSON, as they come from another process.
func TestText(t *testing.T) {
	testgolden.Texts(t, *update, func(data []byte) (string, error) {
		var e Explanation
		if err := json.Unmarshal(data, &e); err != nil {
			return "", err
		}
		var b strings.Builder
		err := e.WriteText(&b)
		return b.String(), err
	})
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
