//go:build linux

package peers

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

var haproxy = peer{
	name: "HAProxy",
	install: func(k *kit) (string, error) {
		path, err := k.debian("haproxy", "haproxy")
		if err != nil {
			return "", err
		}
		return k.version(`version (\S+)`, path, "-v")
	},
	start: func(t *testing.T, _ *kit, s setup) *rig.Process {
		return startHAProxy(t, rig.Command{Path: rig.Program(t, "haproxy")}, s, false)
	},
	remarks: "one thread; `http-reuse always`; many routes by a map with `map_beg`",
}

// haproxySplice is measured with bodies only: for the rest it is the same.
var haproxySplice = peer{
	name:    "HAProxy, splice",
	install: haproxy.install,
	start: func(t *testing.T, _ *kit, s setup) *rig.Process {
		return startHAProxy(t, rig.Command{Path: rig.Program(t, "haproxy")}, s, true)
	},
	remarks: "the same with `option splice-request` and `splice-response`",
	only:    true,
}

var haproxyUnstable = peer{
	name:    "HAProxy, " + unstableSuite,
	install: func(k *kit) (string, error) { return k.newerVersion("haproxy", `version (\S+)`, "-v") },
	start: func(t *testing.T, k *kit, s setup) *rig.Process {
		return startHAProxy(t, k.mustUnpacked(t, "haproxy"), s, false)
	},
	remarks: "the same configuration; the version of Debian's unstable suite",
}

var haproxyUnstableSplice = peer{
	name:    "HAProxy, " + unstableSuite + ", splice",
	install: haproxyUnstable.install,
	start: func(t *testing.T, k *kit, s setup) *rig.Process {
		return startHAProxy(t, k.mustUnpacked(t, "haproxy"), s, true)
	},
	remarks: "the same with `option splice-request` and `splice-response`",
	only:    true,
}

// startHAProxy starts the program that c runs.
func startHAProxy(t *testing.T, c rig.Command, s setup, splice bool) *rig.Process {
	var b strings.Builder
	fmt.Fprintf(&b, `global
    nbthread 1
    maxconn %d
    ulimit-n %d
    tune.pool-low-fd-ratio 90
    tune.pool-high-fd-ratio 95
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-curves X25519
`, filesMax/2-500, filesMax)
	if splice {
		b.WriteString("    maxpipes 256\n")
	}
	if s.Log != "" {
		b.WriteString("    log stdout format raw local0\n")
	}
	b.WriteString(`defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    option forwardfor
    http-reuse always
`)
	if s.Log != "" {
		b.WriteString("    log global\n    option httplog\n")
	}
	if splice {
		b.WriteString("    option splice-request\n    option splice-response\n")
	}
	fmt.Fprintf(&b, "frontend all\n    bind %s backlog 4096", s.Listen)
	if s.Cert != "" {
		fmt.Fprintf(&b, " ssl crt %s", s.Cert) // the key is beside it
	}
	switch {
	case s.Multi && s.Cert != "":
		b.WriteString(" alpn h2")
	case s.Multi:
		b.WriteString(" proto h2")
	}
	b.WriteString("\n    http-request set-header X-Real-IP %[src]\n" +
		"    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n" +
		"    http-request set-header X-Forwarded-Host %[req.hdr(host)]\n")
	if s.Routes == 0 {
		b.WriteString("    default_backend endpoints\n")
	} else {
		table := file(t, "routes.map", each(s.Routes, func(i int) string { return fmt.Sprintf("/r%d/ endpoints\n", i) }))
		fmt.Fprintf(&b, "    use_backend %%[path,map_beg(%s)]\n", table)
	}
	b.WriteString("backend endpoints\n    balance roundrobin\n")
	for i, e := range s.Endpoints {
		fmt.Fprintf(&b, "    server s%d %s pool-max-conn -1", i, e)
		if s.Inner {
			b.WriteString(" proto h2")
		}
		b.WriteString("\n")
	}
	c.Core = proxyCore
	c.Args = append(c.Args, "-db", "-f", file(t, "haproxy.cfg", b.String()))
	if s.Log != "" {
		out, err := os.Create(s.Log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { out.Close() })
		c.Stdout = out
	}
	return rig.Start(t, c)
}
