package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	registrar "github.com/poise-lb/poise/discovery/consul"
	"github.com/poise-lb/poise/test/internal/rig"
)

func consul() *registry {
	return &registry{
		name: "consul", kind: "consul", spare: 3, weights: true,
		lease: 3 * time.Second, expiry: 6 * time.Second,
		refused: `(?i)ACL not found|403|permission denied|not accepted`,
		run:     consulRun, ready: consulReady, put: consulPut, drop: consulDrop, out: consulOut,
		secure: func(*server) error { return nil }, // it is started with a token
		source: func(_ *server, at, service, password string) string {
			text := fmt.Sprintf("consul: {server: %q, service: %s", "http://"+at, service)
			if password != "" {
				text += fmt.Sprintf(", token: %q", consulToken(password))
			}
			return text + "}"
		},
		client: func(s *server, service string) (rig.Command, error) {
			return official(s, "consul", s.address(), service)
		},
	}
}

// consulToken makes a token of a password: tokens are UUIDs.
func consulToken(password string) string {
	h := fmt.Sprintf("%x", password+"0123456789abcdef")
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32]
}

// consulRun is one server that is its own cluster. It keeps its data, which a development
// server would not.
func consulRun(s *server) []rig.Command {
	config := map[string]any{
		"server": true, "bootstrap_expect": 1, "node_name": "live", "log_level": "error",
		"data_dir": filepath.Join(s.data, "data"), "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"ports": map[string]int{"http": s.port, "server": s.spare[0], "serf_lan": s.spare[1], "serf_wan": -1,
			"dns": -1, "grpc": -1, "grpc_tls": -1},
		"performance":          map[string]int{"raft_multiplier": 1},
		"disable_update_check": true, "telemetry": map[string]bool{"disable_hostname": true},
		"limits": map[string]int{"http_max_conns_per_client": 5000},
	}
	if s.password != "" {
		config["acl"] = map[string]any{"enabled": true, "default_policy": "deny",
			"tokens": map[string]string{"initial_management": consulToken(s.password), "agent": consulToken(s.password)}}
	}
	text, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.data, "consul.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return []rig.Command{{Path: filepath.Join(s.bin, "consul"), Args: []string{"agent", "-config-file=" + file}}}
}

func (s *server) consul(method, path, body string) ([]byte, error) {
	r := request{method: method, url: s.url("%s", path), body: body, json: true}
	if s.password != "" {
		r.fields = map[string]string{"X-Consul-Token": consulToken(s.password)}
	}
	return r.do()
}

func consulReady(s *server) error {
	b, err := s.consul("GET", "/v1/catalog/nodes", "")
	if err == nil && !strings.Contains(string(b), `"live"`) {
		err = errors.New("it has no leader")
	}
	return err
}

// consulPut writes what the registrar does, except for the check, which stays if there is one.
func consulPut(s *server, in discovery.Instance) error {
	host, port := split(in)
	text, err := json.Marshal(map[string]any{"ID": in.Service + "-" + in.Address, "Name": in.Service, "Address": host, "Port": port,
		"Weights": map[string]int{"Passing": max(in.Weight, 1), "Warning": 1}})
	if err != nil {
		return err
	}
	_, err = s.consul("PUT", "/v1/agent/service/register", string(text))
	return err
}

func consulDrop(s *server, in discovery.Instance) error {
	_, err := s.consul("PUT", "/v1/agent/service/deregister/"+in.Service+"-"+in.Address, "")
	return err
}

func announceConsul(c cast) announcer {
	r := registrar.NewRegistrar(registrar.RegistrarConfig{Config: registrar.Config{Servers: []string{"http://" + c.Server}}, TTL: c.Lease})
	return func(ctx context.Context, in discovery.Instance, report func(error)) error {
		return r.Run(ctx, in, report)
	}
}
