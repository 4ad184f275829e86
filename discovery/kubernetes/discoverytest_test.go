package kubernetes

import (
	"net"
	"net/http"
	"testing"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a server as the suite of all sources wants it.
type contract struct {
	*server
	frozen chan struct{} // nil: it is not
}

func (c *contract) Set(specs []endpoint.Spec) {
	var addresses []string
	for _, s := range specs {
		host, _, _ := net.SplitHostPort(s.Address)
		addresses = append(addresses, host)
	}
	c.set("web-1", sliceOf(80, addresses...))
}

func (c *contract) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pipes {
		p.Close()
	}
	c.pipes = nil
}

func (c *contract) Down() {
	c.refusing(true)
	c.Reset()
}

func (c *contract) Up() { c.refusing(false) }

func (c *contract) refusing(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// Freeze hangs every request, and the watches that are open.
func (c *contract) Freeze() {
	frozen := make(chan struct{})
	c.frozen = frozen
	c.setFault(func(w http.ResponseWriter, r *http.Request, watch bool) bool {
		select {
		case <-frozen:
		case <-r.Context().Done():
		}
		return true
	})
	c.cut()
}

func (c *contract) Unfreeze() {
	c.setFault(nil)
	if c.frozen != nil {
		close(c.frozen)
		c.frozen = nil
	}
}

func TestContract(t *testing.T) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			s := newServer(t)
			t.Cleanup(s.stop)
			return s.source(), &contract{server: s}
		},
	})
}
