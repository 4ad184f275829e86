package eureka

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/discovery/internal/fakes"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a fake as the suite of all sources wants it.
type contract struct {
	*fake
	t    *testing.T
	n    *fakes.Network
	stop func()
}

// Set registers what is new and cancels the rest, between two polls.
func (c *contract) Set(specs []endpoint.Spec) {
	c.set(func() {
		keep := make(map[string]bool)
		for i, s := range specs {
			keep[s.Address] = true
			weight, status := fmt.Sprint(s.Weight), "UP"
			if s.Out {
				status = [...]string{"OUT_OF_SERVICE", "DOWN", "STARTING"}[i%3]
			}
			if old := c.apps["WEB"][s.Address]; old != nil && old["metadata"].(map[string]string)["weight"] == weight && old["status"] == status {
				continue
			}
			ip, port, _ := net.SplitHostPort(s.Address)
			n, _ := strconv.Atoi(port)
			in := instance("WEB", s.Address, ip, n, map[string]string{"weight": weight})
			in["status"] = status
			c.putLocked(in)
		}
		for _, id := range slices.Collect(maps.Keys(c.apps["WEB"])) {
			if keep[id] {
				continue
			}
			gone := maps.Clone(c.apps["WEB"][id])
			delete(c.apps["WEB"], id)
			gone["actionType"] = "DELETED"
			c.change(gone)
		}
	})
}

func (c *contract) Down()  { c.stop() }
func (c *contract) Up()    { c.stop = c.serve(c.t, c.n, "one:8761") }
func (c *contract) Reset() { c.Down(); c.Up() }

func (c *contract) Freeze() { c.set(func() { c.silent = make(chan struct{}) }) }

func (c *contract) Unfreeze() {
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
			c := &contract{fake: newFake(), t: t, n: fakes.NewNetwork()}
			c.Up()
			return New(Config{Servers: []string{base}, dial: c.n.Dial}, "web"), c
		},
	})
}
