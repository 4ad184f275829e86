package config

// The operator's side: an admin API with its page, and a listener for monitoring.

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Admin is the admin API and its page. It has a listener of its own: it is never served where
// requests are. A Proxy that is mounted as a handler ignores it; see package admin.
type Admin struct {
	// Address is host:port, or unix: and the path of a socket, which is made with the mode 0660.
	// An address that is not loopback needs Tokens and TLS. Empty: there is no admin API.
	Address string `yaml:"address" doc:"host:port, or unix: and a path; empty: no admin API. Anything but loopback and a unix socket needs tokens and tls" short:"true" example:"127.0.0.1:9900"`
	// Hosts are the names, beside those of loopback, by which it may be asked for.
	Hosts []string `yaml:"hosts" doc:"names by which it may be asked for, beside localhost and the address" example:"poise.internal"`
	// Tokens are the secrets that it accepts. None: those who can connect may do everything.
	Tokens []AdminToken `yaml:"tokens" doc:"secrets that are accepted; none: whoever can connect may do everything"`
	TLS    *TLS         `yaml:"tls" doc:"terminate TLS here"`
	// Profiles serves pprof below /debug/pprof.
	Profiles bool `yaml:"profiles" doc:"serve profiles of the process at /debug/pprof"`
}

// AdminToken is a secret with a role.
type AdminToken struct {
	Name  string `yaml:"name" doc:"stands in the log for what its client changes" required:"true"`
	Token string `yaml:"token" secret:"true" doc:"the secret: at least 16 bytes, best from a file or the environment" required:"true" example:"${file:/run/secrets/poise-admin}"`
	Role  string `yaml:"role" doc:"view: read; operate: change, too" enum:"view,operate" default:"view"`
}

// StatusListener serves /healthz, /readyz and /metrics alone, for probes and scrapers: nothing can
// be changed there. A Proxy that is mounted as a handler ignores it.
type StatusListener struct {
	Address string `yaml:"address" doc:"host:port, or unix: and a path; empty: there is none" short:"true" example:":9901"`
}

// tokenMin is the fewest bytes of a token: 16 bytes of hex digits are 64 bits.
const tokenMin = 16

// Loopback reports whether only programs of this machine can connect to an address, which is
// host:port or unix: and a path.
func Loopback(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// operators checks the listeners of the operator's side. They may not be those of requests.
func (v *validator) operators(c *Config) {
	taken := make(map[string]string)
	for i, l := range c.Listen {
		if canonical, err := checkListen(l.Address); err == nil {
			taken[canonical] = Key(Index("listen", i), "address")
		}
	}
	v.operator("admin.address", c.Admin.Address, taken)
	v.operator("status.address", c.Status.Address, taken)
	a := &c.Admin
	v.listenerTLS("admin.tls", a.TLS)
	if a.Address == "" {
		if len(a.Tokens)+len(a.Hosts) > 0 || a.TLS != nil || a.Profiles {
			v.add("admin.address", "", "", "is missing: without it there is no admin API")
		}
		return
	}
	if !Loopback(a.Address) {
		if len(a.Tokens) == 0 {
			v.add("admin.tokens", "", "", a.Address+" can be reached by others: at least one token is needed (poise admin token makes one), or an address such as 127.0.0.1:9900")
		}
		if a.TLS == nil {
			v.add("admin.tls", "", "", a.Address+" can be reached by others, and tokens would be readable on the way: tls is needed, or an address such as 127.0.0.1:9900")
		}
	}
	for i, t := range a.Tokens {
		if t.Token != "" && len(t.Token) < tokenMin {
			v.add(Key(Index("admin.tokens", i), "token"), "", "", fmt.Sprintf("has %d bytes: at least %d are needed, and poise admin token makes one", len(t.Token), tokenMin))
		}
	}
}

// operator checks one address, and that no other listener has it.
func (v *validator) operator(path, address string, taken map[string]string) {
	if address == "" {
		return
	}
	canonical := address
	if socket, ok := strings.CutPrefix(address, "unix:"); ok {
		if !filepath.IsAbs(socket) {
			v.add(path, address, "", fmt.Sprintf("%q: the path of a socket begins with /", address))
			return
		}
	} else {
		var err error
		if canonical, err = checkListen(address); err != nil {
			v.add(path, address, "", fmt.Sprintf("%q: %s", address, err.Error()))
			return
		}
	}
	if first := taken[canonical]; first != "" && !strings.HasSuffix(canonical, ":0") {
		v.add(path, address, "", fmt.Sprintf("%q is the same address as %s: it has a listener of its own", address, first))
	}
	taken[canonical] = path
}
