package faults

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

// A proxy is one that is judged.
type proxy struct {
	name    string
	peer    bool // what it loses is written down only
	remarks string
	start   func(t *testing.T, listen string, endpoints []string) *rig.Process
}

// binary is poise, built once.
var binary string

var proxies = []proxy{
	{name: "Poise", remarks: "defaults",
		start: func(t *testing.T, listen string, endpoints []string) *rig.Process {
			return startPoise(t, listen, endpoints, "")
		}},
	{name: "Poise, health", remarks: "defaults and `health: {check: HEAD /health}`",
		start: func(t *testing.T, listen string, endpoints []string) *rig.Process {
			return startPoise(t, listen, endpoints, "    health: {check: HEAD /health}\n")
		}},
	{name: "nginx", peer: true, remarks: "`proxy_next_upstream error timeout http_503`, `proxy_connect_timeout 1s`, keep-alive to endpoints", start: startNginx},
	{name: "HAProxy", peer: true, remarks: "`retry-on all-retryable-errors` but for POST, `option redispatch 1`, `timeout connect 1s`, `timeout server 60s`, checks every 5 s", start: startHAProxy},
}

func startPoise(t *testing.T, listen string, endpoints []string, more string) *rig.Process {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nlisten:\n  - address: %s\nservices:\n  all:\n    endpoints:\n", listen)
	for _, e := range endpoints {
		fmt.Fprintf(&b, "      - http://%s\n", e)
	}
	b.WriteString(more + "routes:\n  - match: {path: /**}\n    service: all\n")
	path := filepath.Join(t.TempDir(), "poise.yaml")
	rig.Write(t, path, b.String())
	p := rig.Start(t, rig.Command{Path: binary, Args: []string{"run", "-c", path}})
	p.Listens(listen)
	return p
}

func startNginx(t *testing.T, listen string, endpoints []string) *rig.Process {
	var b strings.Builder
	b.WriteString("upstream all {\n")
	for _, e := range endpoints {
		fmt.Fprintf(&b, "    server %s;\n", e)
	}
	fmt.Fprintf(&b, `    keepalive 32;
}
server {
    listen %s backlog=4096;
    location / {
        proxy_pass http://all;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 1s;
        proxy_next_upstream error timeout http_503;
    }
}`, listen)
	return rig.Nginx(t, 0, b.String(), listen)
}

func startHAProxy(t *testing.T, listen string, endpoints []string) *rig.Process {
	var b strings.Builder
	fmt.Fprintf(&b, `global
    nbthread 1
defaults
    mode http
    timeout connect 1s
    timeout client 90s
    timeout server 60s
    timeout check 1s
    retries 7
    option redispatch 1
    retry-on all-retryable-errors
    http-reuse safe
frontend in
    bind %s
    default_backend all
backend all
    balance roundrobin
    http-request disable-l7-retry if METH_POST
    option httpchk HEAD /health
`, listen)
	for i, e := range endpoints {
		fmt.Fprintf(&b, "    server s%d %s check inter 5s\n", i, e)
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	rig.Write(t, path, b.String())
	p := rig.Start(t, rig.Command{Path: rig.Program(t, "haproxy"), Args: []string{"-db", "-f", path}})
	p.Listens(listen)
	return p
}
