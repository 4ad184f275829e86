package etcd

import (
	"fmt"
	"testing"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a fake as the suite of all sources wants it.
type contract struct{ *fake }

// Set writes what is new and erases the rest, in one transaction.
func (c contract) Set(specs []endpoint.Spec) {
	c.do(func() {
		keep := make(map[string]bool)
		for i, s := range specs {
			key, value := prefix+s.Address, fmt.Sprintf(`{"address":%q,"weight":%v}`, s.Address, s.Weight)
			switch {
			case s.Out && i%2 == 0:
				value = fmt.Sprintf(`{"address":%q,"weight":0}`, s.Address)
			case s.Out:
				value = fmt.Sprintf(`{"address":%q,"enabled":false}`, s.Address)
			}
			keep[key] = true
			if string(c.keys[key].Value) != value {
				c.write(key, value, 0)
			}
		}
		for key := range c.keys {
			if !keep[key] {
				c.erase(key)
			}
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
			s := New(c)
			s.registry.dial = dial
			return s, contract{all[0]}
		},
	})
}
