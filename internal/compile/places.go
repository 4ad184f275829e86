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

// compilePlaces wraps the policy of the service. zone is that of the proxy.
func (p *ServicePlan) compilePlaces(zone string) {
	s := &p.Config
	if s.Subset.Size > 0 {
		proxy := s.Subset.Proxy
		if proxy == "" {
			proxy, _ = os.Hostname()
		}
		p.Settings.Policy = policy.InSubset(p.Settings.Policy, s.Subset.Size, proxy)
	}
	if s.Zones.Mode == "ignore" || s.Zones.Mode != "prefer" && s.Policy.Custom == nil && s.Policy.Type == "consistent_hash" {
		zone = ""
	}
	places := policy.Places{
		Zone: zone, Share: float64(s.Zones.Share) / 100,
		OverflowBelow: float64(s.Priorities.OverflowBelow) / 100, PriorityKey: s.Priorities.Key,
	}
	p.Settings.Policy = policy.InPlaces(p.Settings.Policy, places)
	p.Settings.Priority = places.Priority
}
