package compile

import (
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/downstream"
)

// Services that requests name are compiled in two steps: what all names of an entry have in
// common with the configuration, so that mistakes are found then, and the rest when a name is
// asked for.

// A DirectoryPlan is an entry of discover made concrete.
type DirectoryPlan struct {
	Config    config.Discover
	at        string               // in the configuration
	bounds    *downstream.Settings // the parts that endpoints are held to, too
	snapshots string
	feed      Feeder
	template  *ServicePlan // of any name: what differs is where the endpoints come from
}

// Service is the plan of the service of that name, but for its source.
func (d *DirectoryPlan) Service(name string) *ServicePlan {
	sp := *d.template
	sp.Config = d.Config.Service(name)
	connections := *sp.Connections // TLS sessions and names are each service's own
	sp.TLS = sp.TLS.For(sp.Config.TLS)
	connections.TLS = sp.TLS.Config
	sp.Connections = &connections
	return &sp
}

// Source completes a plan of Service. It may read files, and so has no place in an exchange.
func (d *DirectoryPlan) Source(sp *ServicePlan) (err error) {
	sp.Feed, err = d.feed(d.at, sp.Config)
	return err
}

// compileDirectory checks the entry by what it would make of some name, and keeps what all
// names have in common.
func compileDirectory(name string, c *config.Config, feed Feeder) (*DirectoryPlan, error) {
	d := &DirectoryPlan{
		Config: c.Discover[name], at: config.Key("discover", name), bounds: ClientSettings(c),
		snapshots: c.Snapshot, feed: feed,
	}
	var err error
	if d.template, err = compileService(d.at, d.Config.Service("service"), Zone(c), labelsOf(c, "", name), d.bounds, feed); err != nil {
		return nil, err
	}
	d.template.Snapshots = d.snapshots
	return d, nil
}
