package live

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/etcd"
	"github.com/poise-lb/poise/test/internal/rig"
)

func etcd34() *registry { return newEtcd("etcd34", "usr/bin/etcd") }

func etcd36() *registry { return newEtcd("etcd36", "etcd") }

func newEtcd(name, program string) *registry {
	return &registry{
		name: name, kind: "etcd", spare: 1, weights: true,
		lease: 5 * time.Second, expiry: 8 * time.Second, // longer than it takes to stop: leases end meanwhile
		refused: `(?i)authentication failed|invalid user|not accepted|password`,
		run: func(s *server) []rig.Command {
			return []rig.Command{etcdCommand(filepath.Join(s.bin, program), s.data, s.port, s.spare[0])}
		},
		ready: etcdReady, secure: etcdSecure, put: etcdPut, drop: etcdDrop,
		source: func(_ *server, at, service, password string) string {
			text := fmt.Sprintf("etcd: {servers: [%q], prefix: /services/%s/", "http://"+at, service)
			if password != "" {
				text += fmt.Sprintf(", username: root, password: %q", password)
			}
			return text + "}"
		},
		client: func(s *server, service string) (rig.Command, error) {
			return official(s, "etcd", s.url(""), "/services/"+service+"/")
		},
	}
}

func etcdCommand(program, data string, port, peer int) rig.Command {
	return rig.Command{Path: program, Args: []string{
		"--name=live", "--data-dir=" + filepath.Join(data, "etcd"), "--logger=zap", "--log-level=error",
		"--listen-client-urls=http://" + local(port), "--advertise-client-urls=http://" + local(port),
		"--listen-peer-urls=http://" + local(peer), "--initial-advertise-peer-urls=http://" + local(peer),
		"--initial-cluster=live=http://" + local(peer),
	}}
}

func etcdReady(s *server) error {
	b, err := request{method: "GET", url: s.url("/health")}.do()
	if err == nil && !strings.Contains(string(b), `"true"`) {
		err = errors.New(string(b))
	}
	return err
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// etcdCall posts a message to the gateway.
func etcdCall(s *server, token, path string, in any) ([]byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r := request{method: "POST", url: s.url("%s", path), body: string(body), json: true}
	if token != "" {
		r.fields = map[string]string{"Authorization": token}
	}
	return r.do()
}

// etcdSecure makes the user root, as every authentication of etcd begins.
func etcdSecure(s *server) error {
	for _, step := range []struct {
		path string
		in   map[string]any
	}{
		{"/v3/auth/user/add", map[string]any{"name": "root", "password": s.password}},
		{"/v3/auth/role/add", map[string]any{"name": "root"}},
		{"/v3/auth/user/grant", map[string]any{"user": "root", "role": "root"}},
		{"/v3/auth/enable", map[string]any{}},
	} {
		if _, err := etcdCall(s, "", step.path, step.in); err != nil {
			return err
		}
	}
	return nil
}

func etcdToken(s *server) (string, error) {
	if s.password == "" {
		return "", nil
	}
	b, err := etcdCall(s, "", "/v3/auth/authenticate", map[string]any{"name": "root", "password": s.password})
	if err != nil {
		return "", err
	}
	var a struct{ Token string }
	return a.Token, json.Unmarshal(b, &a)
}

func etcdKey(in discovery.Instance) string { return "/services/" + in.Service + "/" + in.Address }

func etcdPut(s *server, in discovery.Instance) error {
	token, err := etcdToken(s)
	if err != nil {
		return err
	}
	value := fmt.Sprintf(`{"url": "http://%s", "weight": %d}`, in.Address, max(in.Weight, 1))
	_, err = etcdCall(s, token, "/v3/kv/put", map[string]any{"key": b64(etcdKey(in)), "value": b64(value)})
	return err
}

func etcdDrop(s *server, in discovery.Instance) error {
	_, err := etcdCall(s, "", "/v3/kv/deleterange", map[string]any{"key": b64(etcdKey(in))})
	return err
}

func announceEtcd(c cast) announcer {
	r := etcd.NewRegistrar(etcd.RegistrarConfig{Config: etcd.Config{Servers: []string{"http://" + c.Server}}, TTL: c.Lease})
	return func(ctx context.Context, in discovery.Instance, report func(error)) error {
		return r.Run(ctx, in, report)
	}
}
