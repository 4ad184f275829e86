package nacos

import (
	"net"
	"strconv"
	"testing"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/discovery/internal/fakes"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a fake as the suite of all sources wants it.
type contract struct{ *fake }

func (c contract) Set(specs []endpoint.Spec) {
	c.set(func() {
		all := make(map[string]map[string]any)
		for i, s := range specs {
			ip, port, _ := net.SplitHostPort(s.Address)
			n, _ := strconv.Atoi(port)
			all[s.Address] = host(ip, n, "")
			all[s.Address]["weight"] = s.Weight
			switch {
			case s.Out && i%2 == 0:
				all[s.Address]["weight"] = 0
			case s.Out:
				all[s.Address]["enabled"] = false
			}
		}
		c.services[webSubject] = all
		c.changed(webSubject)
	})
}

func (c contract) Down() {
	c.stopGRPC()
	c.stopHTTP()
}

func (c contract) Up() {
	c.startGRPC()
	c.startHTTP()
}

func (c contract) Reset() {
	c.Down()
	c.Up()
}

func (c contract) Freeze() { c.set(func() { c.silent = make(chan struct{}) }) }

func (c contract) Unfreeze() {
	c.set(func() {
		if c.silent != nil {
			close(c.silent)
			c.silent = nil
		}
	})
}

func TestContract(t *testing.T) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true, Weights: true, Outs: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			n := fakes.NewNetwork()
			f := newFake(t, n)
			return New(Config{Servers: []string{"one:8848"}, dial: n.Dial}, webConfig), contract{f}
		},
	})
}
