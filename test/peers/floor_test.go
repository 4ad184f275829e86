//go:build linux

package peers

import (
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

var floor = peer{
	name: "floor",
	install: func(k *kit) (string, error) {
		cc, err := k.debian("cc", "gcc libc6-dev")
		if err != nil {
			return "", err
		}
		source, err := filepath.Abs("servers/floor.c")
		if err != nil {
			return "", err
		}
		k.floor = filepath.Join(k.t.TempDir(), "floor")
		if _, err := k.run(nil, cc, "-O2", "-o", k.floor, source); err != nil {
			return "", err
		}
		version, err := k.version(`\) (\S+)`, cc, "--version")
		return "cc " + version, err
	},
	start: func(t *testing.T, k *kit, s setup) *rig.Process {
		args := []string{port(s.Listen)}
		for _, e := range s.Endpoints {
			args = append(args, port(e))
		}
		return rig.Start(t, rig.Command{Path: k.floor, Args: args, Core: proxyCore})
	},
	cannot: func(s setup) bool {
		return s.Cert != "" || s.Log != "" || s.Routes > 0 || len(s.Endpoints) > 2
	},
	remarks: "no proxy: C that copies bytes between two connections by epoll, and knows nothing of HTTP",
	only:    true,
}
