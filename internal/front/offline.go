package front

// A proxy that contacts nothing: for Explain by a configuration alone. It is a core.Proxy without
// sources, probes, workers, listeners and an access log. A host name in a list is an endpoint by
// its name; nothing is resolved.

import (
	"log/slog"
	"maps"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/explain"
)

// ExplainOffline is poise.Explain.
func ExplainOffline(c config.Config, q explain.Request) (explain.Explanation, error) {
	full := c.WithDefaults()
	if err := full.Validate(); err != nil { // health checks included, which are left out below
		return explain.Explanation{}, err
	}
	rt := goroutine.New()
	rt.Log = slog.New(slog.DiscardHandler)
	unknown := make(map[string]string) // why endpoints of a service are not known, by its place
	proxy, err := core.New(rt, withoutProbes(c), core.Options{
		Logger: rt.Log,
		Feed: func(path string, s config.Service) (core.Feed, error) {
			feed, why, err := compile.Listed(path, s)
			if why != "" {
				unknown[path] = why
			}
			return feed, err
		},
	})
	if err != nil {
		return explain.Explanation{}, err
	}
	defer proxy.Close() // no exchange and no source holds it up
	x, err := proxy.Explain(q)
	if err != nil {
		return x, err
	}
	x.Offline, x.Generation = true, 0
	if x.Service == nil {
		return x, nil
	}
	if why := unknown[x.Service.ConfigKey]; why != "" {
		x.Notes = append(x.Notes, "service "+x.Service.Name+": "+why)
	}
	if len(x.Service.Candidates) == 0 && c.Services[x.Service.Name].Source != nil {
		x.Reply = nil // the source may well name endpoints
	}
	return x, nil
}

// withoutProbes is c without health checks: their first verdict would be waited for.
func withoutProbes(c config.Config) config.Config {
	c.Services = maps.Clone(c.Services)
	for name, s := range c.Services {
		s.Health = nil
		c.Services[name] = s
	}
	return c
}
