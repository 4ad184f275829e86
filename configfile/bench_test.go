package configfile

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse reads, checks and locates a thousand services with four endpoints each.
func BenchmarkParse(b *testing.B) {
	data := []byte(thousand())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse("f", data, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func thousand() string {
	var services, routes strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&services, "  s%d:\n    endpoints: [\"http://10.0.0.1:%d\", \"http://10.0.0.2:80\", \"http://10.0.0.3:80\", {url: \"http://10.0.0.4:80\", weight: 3}]\n", i, i+1)
		fmt.Fprintf(&services, "    policy: round_robin\n    health: {check: HEAD /health, interval: 1s}\n")
		fmt.Fprintf(&routes, "  - {match: {path: /s%d/**}, service: s%d}\n", i, i)
	}
	return "version: 1\nservices:\n" + services.String() + "routes:\n" + routes.String()
}
