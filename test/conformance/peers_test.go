package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

// The peers are configured as people do who have read their manuals: keep-alive and upgrades
// to the endpoint, nothing buffered, the fields that say who the client is, and the retries
// that Poise makes by itself. One process serves all cases, each at an address of its own.

// nginxFrame is the http block; the servers of the cases follow.
const nginxFrame = `proxy_http_version 1.1;
proxy_buffering off;
proxy_request_buffering off;
client_max_body_size 0;
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
map $http_host $asked_host { default $http_host; '' $host; }
proxy_set_header Connection $connection_upgrade;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Host $asked_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Host $http_host;
proxy_next_upstream error timeout http_502 http_503 http_504;
`

const haproxyFrame = `global
    nbthread 1
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    option forwardfor
    option abortonclose
    option redispatch 1
    retries 1
    retry-on conn-failure empty-response 502 503 504
`

// place is where a case finds its peer.
type place struct {
	number int
	front  string
	stage  *stage
	setup  setup
}

// places prepares one for every case, with its endpoints listening.
func places(t *testing.T) map[*testCase]*place {
	out := make(map[*testCase]*place)
	for _, g := range groups {
		for i := range g.cases {
			c := &g.cases[i]
			p := &place{number: len(out), front: rig.Address(t), setup: c.setup}
			p.stage = &stage{address: p.front, endpoints: c.setup.endpoints(t), close: func() {}}
			out[c] = p
		}
	}
	return out
}

func at(places map[*testCase]*place) func(*testing.T, *testCase) *stage {
	return func(_ *testing.T, c *testCase) *stage { return places[c].stage }
}

func nginx(t *testing.T) subject {
	all := places(t)
	var text strings.Builder
	text.WriteString(nginxFrame)
	var fronts []string
	for _, p := range all {
		fmt.Fprintf(&text, "upstream e%d {\n", p.number)
		for _, e := range p.stage.endpoints {
			fmt.Fprintf(&text, "    server %s max_fails=0;\n", e.Addr())
		}
		fmt.Fprintf(&text, "    keepalive 16;\n}\nserver {\n    listen %s;\n", p.front)
		if p.setup.quick {
			text.WriteString("    client_header_timeout 1s;\n    keepalive_timeout 1s;\n")
		}
		fmt.Fprintf(&text, "    location / { proxy_pass http://e%d; }\n}\n", p.number)
		fronts = append(fronts, p.front)
	}
	rig.Nginx(t, 0, text.String(), fronts...)
	return subject{name: "nginx", stage: at(all)}
}

func haproxy(t *testing.T) subject {
	all := places(t)
	var text strings.Builder
	text.WriteString(haproxyFrame)
	for _, p := range all {
		fmt.Fprintf(&text, "frontend f%d\n    bind %s\n    default_backend b%d\n", p.number, p.front, p.number)
		text.WriteString("    http-request set-header X-Real-IP %[src]\n    http-request set-header X-Forwarded-Proto http\n")
		text.WriteString("    http-request set-header X-Forwarded-Host %[req.hdr(host)]\n")
		if p.setup.quick {
			text.WriteString("    timeout http-request 1s\n    timeout http-keep-alive 1s\n")
		}
		fmt.Fprintf(&text, "backend b%d\n    http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE }\n", p.number)
		for i, e := range p.stage.endpoints {
			fmt.Fprintf(&text, "    server s%d %s\n", i, e.Addr())
		}
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	process := rig.Start(t, rig.Command{Path: rig.Program(t, "haproxy"), Args: []string{"-db", "-f", file}})
	for _, p := range all {
		process.Listens(p.front)
	}
	return subject{name: "HAProxy", stage: at(all)}
}
