package consul

import (
	"net"
	"strconv"
	"testing"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a fake as the suite of all sources wants it.
type contract struct{ *fake }

func (c contract) Set(specs []endpoint.Spec) {
	c.do(func() {
		old := c.services
		c.services = make(map[string]*service)
		for i, spec := range specs {
			host, port, _ := net.SplitHostPort(spec.Address)
			s := &service{created: c.index, passing: true, node: "10.1.1.1"}
			if was := old[spec.Address]; was != nil {
				s.created = was.created
			}
			s.ID, s.Name, s.Address = spec.Address, "web", host
			s.Port, _ = strconv.Atoi(port)
			s.Weights.Passing = int(spec.Weight)
			if spec.Out {
				s.maintenance = [...]string{"_node_maintenance", "_service_maintenance:" + s.ID}[i%2]
			}
			c.services[s.ID] = s
		}
	})
}

func (c contract) Down()     { c.listen.Cut(true) }
func (c contract) Up()       { c.listen.Cut(false) }
func (c contract) Reset()    { c.listen.Cut(false) }
func (c contract) Freeze()   { c.do(func() { c.frozen = true }) }
func (c contract) Unfreeze() { c.do(func() { c.frozen = false }) }

func TestContract(t *testing.T) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true, Weights: true, Outs: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			var c Config
			all, dial := network(t, 1, &c)
			s := newRegistry(c, dial).Source(c.Service, c.Tags)
			return s, contract{all[0]}
		},
	})
}
