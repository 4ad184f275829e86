package front

// A proxy that contacts nothing: for Explain by a configuration alone. It is a core.Proxy without
// sources, probes, workers, listeners and an access log. A host name in a list is an endpoint by
// its name; nothing is resolved.

import (
	"fmt"
	"log/slog"
	"maps"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
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
			feed, why, err := listed(path, s)
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

// listed is the static list of a service, or why its endpoints are not known.
func listed(path string, s config.Service) (feed core.Feed, why string, err error) {
	if s.Source != nil {
		if list, ok := s.Source.Custom.(discovery.Static); ok {
			return core.Feed{Static: list}, "", nil
		}
		return feed, "its endpoints come from a source, which was not asked", nil
	}
	for i, e := range s.Endpoints {
		spec, host, err := e.Parse()
		if err != nil {
			at := config.Index(path+".endpoints", i)
			return feed, "", config.NewErrors(config.Problem{Path: at, Value: e.URL, Message: err.Error()})
		}
		if host != "" {
			why = fmt.Sprintf("host names such as %s are not resolved here: each stands for its addresses, by which the keys of consistent hashing go", host)
		}
		feed.Static = append(feed.Static, spec)
	}
	return feed, why, nil
}
