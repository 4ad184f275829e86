package configfile

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// TestNoneInPlaceOfADuration: where there may be no limit, the file says so by a word.
func TestNoneInPlaceOfADuration(t *testing.T) {
	const head = `version: 1
services: {web: {endpoints: ["http://127.0.0.1:1"]}}
`
	nothing := func(string) (string, bool) { return "", false }
	c, err := Parse("f", []byte(head+"timeouts: {tunnel: 5m}\nroutes: [{service: web, timeout: none, stall: none}]\n"), nothing)
	if err != nil || c.Routes[0].Timeout != config.None || c.Routes[0].Stall != config.None || c.Timeouts.Tunnel != 5*time.Minute {
		t.Fatalf("%+v, %v", c.Routes, err)
	}
	if full := c.WithDefaults(); full.Validate() != nil || full.Routes[0].Stall != config.None {
		t.Errorf("with defaults: %+v, %v", full.Routes[0], full.Validate())
	}
	for text, want := range map[string]string{
		"routes: [{service: web, timeout: never}]":                  "a duration such as 500ms, 3s or 1m, or none, is expected here, not never",
		"routes: [{service: web, stall: 5}]":                        "a unit is missing",
		"routes: [{service: web, stall: -5s}]":                      "-5s is less than 0s",
		"routes: [{service: web}]\ntimeouts: {stall: none}":         "a duration such as 500ms, 3s or 1m is expected here, not none",
		"routes: [{service: web, paths: lenint}]":                   `"lenint" is not one of strict, lenient, did you mean lenient?`,
		"routes: [{service: web}]\ntimeouts: {tunnel: 0.5}":         "a unit is missing",
		"routes: [{service: web}]\ntimeouts: {tunnel: none, x: 1s}": "x",
	} {
		if _, err := Parse("f", []byte(head+text+"\n"), nothing); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
