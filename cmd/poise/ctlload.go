package main

// What poise ctl says of load reports and of shadows:
//
//	why an endpoint is as it is     reports 12 in flight, 31.0 % busy
//	below the table of services     users: shadow least_time agreed in 71.2 % of 8120 picks; it
//	                                promised a wait of 4.1ms, the policy 5.2ms

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/poise-lb/poise"
)

// reported is what an endpoint has said of its load.
func reported(r *poise.LoadReport) string {
	var words []string
	if r.InFlight >= 0 {
		words = append(words, fmt.Sprintf("%d in flight", r.InFlight))
	}
	if r.Utilization >= 0 {
		words = append(words, percent(r.Utilization)+" busy")
	}
	return cmp.Or(strings.Join(words, ", "), "nothing that is used")
}

// shadowed is how the shadow of a service does.
func shadowed(x *poise.ShadowStatus) string {
	switch {
	case x.Off != "":
		return fmt.Sprintf("shadow %s is off: %s", x.Policy, x.Off)
	case x.Picks == 0:
		return fmt.Sprintf("shadow %s was not asked yet", x.Policy)
	}
	line := fmt.Sprintf("shadow %s agreed in %s of %d picks", x.Policy, percent(float64(x.Agreed)/float64(x.Picks)), x.Picks)
	if x.Wait > 0 {
		line += fmt.Sprintf("; it promised a wait of %s, the policy %s", seconds(x.ShadowWait.Seconds()), seconds(x.Wait.Seconds()))
	}
	return line
}
