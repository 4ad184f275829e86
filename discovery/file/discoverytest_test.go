package file

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A contract is a file as the suite of all sources wants a registry.
type contract struct {
	t    *testing.T
	path string
	data []byte
	down bool
}

func (c *contract) Set(specs []endpoint.Spec) {
	if specs == nil {
		specs = []endpoint.Spec{}
	}
	var err error
	if c.data, err = json.Marshal(specs); err != nil {
		c.t.Fatal(err)
	}
	if !c.down {
		c.Up()
	}
}

// Down removes the file, Up puts it in place in one step.
func (c *contract) Down() {
	c.down = true
	if err := os.Remove(c.path); err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
}

func (c *contract) Up() {
	c.down = false
	next := c.path + ".next"
	if err := os.WriteFile(next, c.data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(next, c.path); err != nil {
		c.t.Fatal(err)
	}
}

func (c *contract) Reset()    {}
func (c *contract) Freeze()   {}
func (c *contract) Unfreeze() {}

func TestContract(t *testing.T) {
	if testing.Short() {
		t.Skip("takes twenty seconds of real time")
	}
	discoverytest.Run(t, discoverytest.Config{
		Atomic: true, Weights: true, Arrives: time.Second, Notices: 20 * time.Second, Recovers: 20 * time.Second, Reconnects: 40,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			c := &contract{t: t, path: filepath.Join(t.TempDir(), "list.json"), data: []byte("[]")}
			c.Up()
			return New(c.path, func(data []byte) (specs []endpoint.Spec, rejected []discovery.Reject, err error) {
				err = json.Unmarshal(data, &specs)
				return specs, nil, err
			}), c
		},
		Without: map[string]string{"frozen": "a file does not hang"},
	})
}
