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

// A contract is a name server as the suite of all sources wants a registry: of addresses, or
// of SRV records, whose targets' addresses come along.
type contract struct {
	*server
	name string
	srv  bool
}

func (c contract) Set(specs []endpoint.Spec) {
	c.set(func(z *zone) {
		records := map[string][]string{c.name: {}}
		for _, s := range specs {
			host, port, _ := net.SplitHostPort(s.Address)
			if !c.srv {
				records[c.name] = append(records[c.name], fmt.Sprintf("A 0 %s", host))
				continue
			}
			target := host + ".test."
			records[c.name] = append(records[c.name], fmt.Sprintf("SRV 0 10 %v %s %s", s.Weight, port, target))
			records[target] = []string{"A 0 " + host}
		}
		z.records = records
	})
}

// Down: a resolver whose own servers are away.
func (c contract) Down() {
	c.set(func(z *zone) { z.rcodes = map[string]dnsmessage.RCode{c.name: dnsmessage.RCodeServerFailure} })
}
func (c contract) Up()       { c.set(func(z *zone) { z.rcodes = nil }) }
func (c contract) Reset()    {}
func (c contract) Freeze()   { c.set(func(z *zone) { z.silent = map[string]bool{c.name: true} }) }
func (c contract) Unfreeze() { c.set(func(z *zone) { z.silent = nil }) }

func TestContract(t *testing.T) {
	runContract(t, "web.test.", false)
}

func TestContractOfSRV(t *testing.T) {
	runContract(t, "_http._tcp.web.test.", true)
}

func runContract(t *testing.T, name string, srv bool) {
	if testing.Short() {
		t.Skip("takes twenty seconds of real time")
	}
	discoverytest.Run(t, discoverytest.Config{
		Atomic: true, Arrives: time.Second, Reconnects: 100,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			s := newServer(t, zone{extra: true, records: map[string][]string{name: {}}})
			c := Config{Host: name, Port: 80, Server: s.address, TTLMin: 10 * time.Millisecond, TTLMax: 10 * time.Millisecond}
			if srv {
				c.SRV, c.Host, c.Port = name, "", 0
			}
			return New(c), contract{s, name, srv}
		},
	})
}
