package compile

// What a service is told of places: the zone of the proxy, fail-over groups and its subset of the
// endpoints. They wrap the policy, each only if it is asked for:
//
//	least_time                                        the policy of the configuration
//	InSubset(least_time, 20, "poise-3")               subset: 20
//	InPlaces(InSubset(least_time ...), zone, ...)     always: endpoints have priorities and zones
//
// InPlaces looks at the endpoints of each set, and is nothing but the policy where they are all of
// one place.

import (
	"cmp"
	"os"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/policy"
)

// zoneVariable is the environment's word for Config.Zone.
const zoneVariable = "POISE_ZONE"

// Zone is where the proxy is; empty: it is not known.
func Zone(c *config.Config) string { return cmp.Or(c.Zone, os.Getenv(zoneVariable)) }

// compilePlaces wraps the policy of the service, and its shadow, which is to choose among the same
// endpoints. zone is that of the proxy.
func (p *ServicePlan) compilePlaces(zone string) {
	s := &p.Config
	if s.Zones.Mode == "ignore" || s.Zones.Mode != "prefer" && s.Policy.Custom == nil && s.Policy.Type == "consistent_hash" {
		zone = ""
	}
	places := policy.Places{
		Zone: zone, Share: float64(s.Zones.Share) / 100,
		OverflowBelow: float64(s.Priorities.OverflowBelow) / 100, PriorityKey: s.Priorities.Key,
	}
	p.Settings.Priority = places.Priority
	p.Settings.Policy = p.placed(p.Settings.Policy, places)
	if p.Settings.Shadow != nil {
		p.Settings.Shadow = p.placed(p.Settings.Shadow, places)
	}
}

// placed is one within the subset of the service, and its places.
func (p *ServicePlan) placed(one policy.Policy, places policy.Places) policy.Policy {
	s := &p.Config.Subset
	if s.Size > 0 {
		proxy := s.Proxy
		if proxy == "" {
			proxy, _ = os.Hostname()
		}
		one = policy.InSubset(one, s.Size, proxy)
	}
	return policy.InPlaces(one, places)
}
