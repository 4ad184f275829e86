package poise

import (
	"github.com/poise-lb/poise/internal/front"
	"github.com/poise-lb/poise/internal/plan"
)

// A Plan is what Apply would do: see Proxy.Plan and PlanChange. It is a value for encoding/json,
// and WriteText writes it for people.
type Plan = plan.Plan

// Plan says what Apply would do with c at this moment: routes, services, endpoints and listeners
// that come, go and change, which endpoints are probed anew, how many keys of consistent hashing
// move, and what a restart is needed for. It changes nothing. If c has mistakes the error is that
// of Apply. Listeners are compared with those of the Config that is in force.
func (p *Proxy) Plan(c Config) (Plan, error) { return p.server.Plan(c) }

// PlanChange is Proxy.Plan for two configurations of which none is in force: endpoints are those
// of static lists. The zero Config in place of old stands for no configuration.
func PlanChange(old, c Config) (Plan, error) { return front.PlanOffline(old, c) }
