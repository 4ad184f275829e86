package zookeeper

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a server as the suite of all sources wants it.
type contract struct {
	*server
	t       *testing.T
	written map[string]string
}

const contractPath = "/services/e"

func (c *contract) Set(specs []endpoint.Spec) {
	keep := make(map[string]bool)
	for _, s := range specs {
		name, data := contractPath+"/"+s.Address, instanceJSON(s.Address, int(s.Weight))
		if s.Out {
			data = strings.Replace(data, `"instance_status":"UP"`, `"instance_status":"OUT_OF_SERVICE"`, 1)
		}
		keep[name] = true
		// What differs in the time of its writing only is left alone.
		if known := strings.Join([]string{s.Address, fmt.Sprint(s.Weight, s.Out)}, "*"); c.written[name] != known {
			c.written[name] = known
			c.set(name, data)
		}
	}
	for name := range c.written {
		if !keep[name] {
			delete(c.written, name)
			c.delete(name)
		}
	}
}

func (c *contract) Down()     { c.stop() }
func (c *contract) Up()       { c.start(c.t, c.address) }
func (c *contract) Reset()    { c.cut() }
func (c *contract) Freeze()   { c.freeze() }
func (c *contract) Unfreeze() { c.thaw() }

func TestContract(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute of real time")
	}
	discoverytest.Run(t, discoverytest.Config{
		Weights: true, Outs: true, Arrives: time.Second, Reconnects: 8,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			s := newServer(t)
			s.set(contractPath, "")
			return New(s.config()), &contract{server: s, t: t, written: make(map[string]string)}
		},
	})
}
