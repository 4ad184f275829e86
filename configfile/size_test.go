package configfile

import (
	"strings"
	"testing"
)

const sized = `version: 1
services: {web: {endpoints: ["http://127.0.0.1:1"]}}
routes: [{service: web}]
limits: {head: `

func TestSizesOfAFile(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	for text, want := range map[string]int{"128KiB": 128 << 10, `"1MiB"`: 1 << 20, "2000B": 2000} {
		c, err := Parse("f", []byte(sized+text+"}\n"), none)
		if err != nil || c.Limits.Head != want {
			t.Errorf("%s: %d, %v", text, c.Limits.Head, err)
		}
	}
	for text, want := range map[string]string{
		"65536": "a unit is missing: write 64KiB or 65536KiB",
		"64":    "a unit is missing: write 64B or 64KiB",
		"64KB":  "a size such as 512B, 64KiB or 1MiB is expected here, not 64KB",
		"[1]":   "a size such as 512B",
		"0B":    "leave it out for the default, 64KiB",
		"2MiB":  "2MiB is more than 1MiB",
	} {
		_, err := Parse("f", []byte(sized+text+"}\n"), none)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "f:4:16") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
