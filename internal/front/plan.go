package front

import (
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/plan"
	"github.com/poise-lb/poise/internal/service"
)

// Plan is poise.Proxy.Plan.
func (srv *Server) Plan(c config.Config) (plan.Plan, error) {
	running := make(map[string]*service.Service)
	for _, s := range srv.core.Services() {
		running[s.Name()] = s
	}
	return plan.Make(plan.State{
		Config: *srv.core.Config(), Generation: srv.core.Reloads().Generation, Feed: srv.feed,
		Live: func(name string) []service.EndpointStatus {
			if s := running[name]; s != nil {
				return s.Snapshot()
			}
			return nil
		},
	}, c)
}

// PlanOffline is poise.PlanChange.
func PlanOffline(old, c config.Config) (plan.Plan, error) {
	return plan.Make(plan.State{Config: old}, c)
}
