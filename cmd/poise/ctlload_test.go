package main

import (
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

func TestWhatCtlSaysOfLoad(t *testing.T) {
	for want, x := range map[string]poise.ShadowStatus{
		"shadow p2c was not asked yet":                                                      {Policy: "p2c"},
		"shadow p2c agreed in 25.0 % of 8 picks":                                            {Policy: "p2c", Picks: 8, Agreed: 2},
		"shadow p2c agreed in 25.0 % of 8 picks; it promised a wait of 4ms, the policy 5ms": {Policy: "p2c", Picks: 8, Agreed: 2, Wait: 5 * time.Millisecond, ShadowWait: 4 * time.Millisecond},
		"shadow p2c is off: policy: Pick of the shadow took 5ms":                            {Policy: "p2c", Picks: 8, Off: "policy: Pick of the shadow took 5ms"},
	} {
		if got := shadowed(&x); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, r := range map[string]poise.LoadReport{
		"12 in flight, 31.0 % busy": {InFlight: 12, Utilization: 0.31},
		"31.0 % busy":               {InFlight: -1, Utilization: 0.31},
		"nothing that is used":      {InFlight: -1, Utilization: -1},
	} {
		if got := reported(&r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
