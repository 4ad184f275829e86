package config

// What routes say for browsers: origins of CORS, and gRPC-Web.

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

func (v *validator) cors(path string, c *CORS) {
	if c == nil {
		return
	}
	for i, origin := range c.Origins {
		if near, why := checkOrigin(origin); why != "" {
			v.add(Index(Key(path, "origins"), i), origin, near, fmt.Sprintf("%q is no origin: %s", origin, why))
		}
	}
	if slices.Contains(c.Origins, "*") {
		switch {
		case c.Credentials:
			v.add(Key(path, "credentials"), "true", "", "browsers refuse credentials where any origin is allowed: list the origins")
		case len(c.Origins) > 1:
			v.add(Key(path, "origins"), "*", "", "* is any origin: it stands alone")
		}
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"headers", c.Headers}, {"expose", c.Expose}} {
		for i, name := range list.names {
			at := Index(Key(path, list.key), i)
			switch {
			case !isToken(name):
				v.add(at, name, "", fmt.Sprintf("%q is not the name of a field", name))
			case name == "*":
				v.add(at, name, "", "* is not supported: name the fields; without headers, requests may have any")
			}
		}
	}
}

// checkOrigin says what is wrong with an origin, and what may be meant; empty: nothing.
func checkOrigin(origin string) (near, why string) {
	if origin == "*" {
		return "", ""
	}
	u, err := url.Parse(origin)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return "", "scheme://host is expected, https://shop.example.com for instance"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" || strings.HasSuffix(origin, "?") || strings.HasSuffix(origin, "#"):
		return u.Scheme + "://" + u.Host, "nothing follows the host and port"
	case origin != strings.ToLower(origin):
		return strings.ToLower(origin), "browsers send it in small letters"
	case u.Port() == "443" && u.Scheme == "https", u.Port() == "80" && u.Scheme == "http":
		return u.Scheme + "://" + strings.TrimSuffix(u.Host, ":"+u.Port()), "browsers leave out the port of the scheme"
	}
	host, wild := strings.CutPrefix(u.Host, "*.")
	if strings.Contains(host, "*") || wild && host == "" || strings.ContainsAny(u.Host, " ,'\"") {
		return "", "a * stands for the first labels only, as in https://*.example.com"
	}
	for i := range len(origin) {
		if c := origin[i]; c <= ' ' || c >= 0x7f {
			return "", "browsers send the host in ASCII (punycode)"
		}
	}
	return "", ""
}

// grpcWeb checks that the service of a route with grpc_web can be spoken to with HTTP/2, as far as
// its list says that. Who says auto is left alone: some programs answer gRPC by HTTP/1.1, too.
func (v *validator) grpcWeb(r *Route, c *Config) {
	for _, name := range r.Names() {
		if s, ok := c.Services[name]; ok && r.GRPCWeb && s.Protocol != "auto" {
			v.needsHTTP2(Key("services", name), "a route of gRPC-Web", &s)
		}
	}
}
