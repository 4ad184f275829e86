//go:build linux

package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	caddyPackage = "github.com/caddyserver/caddy/v2/cmd/caddy"
	caddyVersion = "v2.11.9"
)

var caddy = peer{
	name: "Caddy",
	install: func(k *kit) (string, error) {
		if _, err := os.Stat(k.caddy()); err == nil {
			return caddyVersion[1:], nil
		}
		env := []string{"GOBIN=" + filepath.Dir(k.caddy()), "GOFLAGS=", "GOWORK=off"}
		if _, err := k.run(env, "go", "install", caddyPackage+"@"+caddyVersion); err != nil {
			return "", err
		}
		return caddyVersion[1:], nil
	},
	start:   startCaddy,
	remarks: "`GOMAXPROCS=1`; connections to the endpoints are kept, all of them; many routes as a list",
}

// caddy is where its one version is.
func (k *kit) caddy() string { return filepath.Join(k.cache, "caddy-"+caddyVersion, "caddy") }

// object is one of JSON.
type object = map[string]any

func startCaddy(t *testing.T, k *kit, s setup) *rig.Process {
	var upstreams []object
	for _, e := range s.Endpoints {
		upstreams = append(upstreams, object{"dial": e})
	}
	transport := object{"protocol": "http", "compression": false, "dial_timeout": "5s",
		"keep_alive": object{"enabled": true, "max_idle_conns": 0, "max_idle_conns_per_host": max(1024, s.Pool), "idle_timeout": "300s"}}
	if s.Inner {
		transport["versions"] = []string{"h2c", "2"}
	}
	handle := []object{{
		"handler":        "reverse_proxy",
		"upstreams":      upstreams,
		"load_balancing": object{"selection_policy": object{"policy": "round_robin"}},
		"transport":      transport,
		"headers":        object{"request": object{"set": object{"X-Real-Ip": []string{"{http.request.remote.host}"}}}},
	}}
	routes := []object{{"handle": handle}}
	if s.Routes > 0 {
		routes = nil
		for i := range s.Routes {
			routes = append(routes, object{"match": []object{{"path": []string{fmt.Sprintf("/r%d/*", i)}}}, "handle": handle})
		}
	}
	protocols := []string{"h1"}
	if s.Multi {
		protocols = []string{"h1", "h2", "h2c"}
	}
	server := object{"listen": []string{s.Listen}, "protocols": protocols, "routes": routes,
		"automatic_https": object{"disable": true}, "idle_timeout": "300s"}
	logs := object{"default": object{"level": "ERROR"}}
	if s.Log != "" {
		server["logs"] = object{}
		logs = object{"default": object{"writer": object{"output": "file", "filename": s.Log}}}
	}
	apps := object{"http": object{"servers": object{"all": server}}}
	if s.Cert != "" {
		server["tls_connection_policies"] = []object{{"protocol_min": "tls1.3", "curves": []string{"x25519"}, "default_sni": "bench.test"}}
		apps["tls"] = object{"certificates": object{"load_files": []object{{"certificate": s.Cert, "key": s.Key}}}}
	}
	text, err := json.Marshal(object{"admin": object{"disabled": true}, "logging": object{"logs": logs}, "apps": apps})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return rig.Start(t, rig.Command{Path: k.caddy(), Core: proxyCore, Args: []string{"run", "--config", file(t, "caddy.json", string(text))},
		Env: []string{"GOMAXPROCS=1", "HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}})
}
