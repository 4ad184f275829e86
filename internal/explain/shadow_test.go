package explain

import (
	"strings"
	"testing"
)

// A shadow is a column more, and a load report a line below the table; without them there is neither.
func TestTextOfShadowsAndReports(t *testing.T) {
	write := func(s Service) string {
		var b strings.Builder
		s.write(&b)
		return b.String()
	}
	one := Endpoint{ID: "http://10.0.0.1:80", State: "healthy", Weight: 1, Share: 0.25, Expected: 0.5}
	plain := write(Service{Name: "users", Policy: "p2c", Draws: 1000, Candidates: []Endpoint{one}})
	if strings.Contains(plain, "shadow") || strings.Contains(plain, "reports") {
		t.Errorf("without either:\n%s", plain)
	}
	one.Shadowed, one.Reported = 0.75, "12 in flight, 9 of them of others"
	text := write(Service{Name: "users", Policy: "p2c", Shadow: "least_time", Draws: 1000, Candidates: []Endpoint{one}})
	for _, want := range []string{"by weight  by the shadow (least_time)", "25.0 %  50.0 %     75.0 %", "http://10.0.0.1:80 reports 12 in flight, 9 of them of others"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
