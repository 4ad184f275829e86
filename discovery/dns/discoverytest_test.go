package dns

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a name server as the suite of all sources wants a registry.
type contract struct{ *server }

const contractName = "web.test."

func (c contract) Set(specs []endpoint.Spec) {
	c.set(func(z *zone) {
		records := []string{}
		for _, s := range specs {
			host, _, _ := net.SplitHostPort(s.Address)
			records = append(records, fmt.Sprintf("A 0 %s", host))
		}
		z.records[contractName] = records
	})
}

// Down: a resolver whose own servers are away.
func (c contract) Down() {
	c.set(func(z *zone) { z.rcodes = map[string]dnsmessage.RCode{contractName: dnsmessage.RCodeServerFailure} })
}
func (c contract) Up()       { c.set(func(z *zone) { z.rcodes = nil }) }
func (c contract) Reset()    {}
func (c contract) Freeze()   { c.set(func(z *zone) { z.silent = map[string]bool{contractName: true} }) }
func (c contract) Unfreeze() { c.set(func(z *zone) { z.silent = nil }) }

func TestContract(t *testing.T) {
	if testing.Short() {
		t.Skip("takes twenty seconds of real time")
	}
	discoverytest.Run(t, discoverytest.Config{
		Atomic: true, Arrives: time.Second, Reconnects: 100,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			s := newServer(t, zone{records: map[string][]string{contractName: {}}})
			return New(Config{Host: contractName, Port: 80, Server: s.address, TTLMin: 10 * time.Millisecond, TTLMax: 10 * time.Millisecond}), contract{s}
		},
	})
}
