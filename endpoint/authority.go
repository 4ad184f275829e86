package endpoint

// The Host of a request to an endpoint, where the client's is not forwarded.

import (
	"net"
	"strings"
)

// Authority is what a request to the endpoint names as its Host when no other is
// meant: the host's name, or the address, with the port unless it is the scheme's own.
// For a unix socket it is "localhost".
func (s Spec) Authority() string {
	if strings.HasPrefix(s.Address, "unix:") {
		if s.Host != "" {
			return s.Host
		}
		return "localhost"
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return s.Address
	}
	if s.Host != "" {
		host = s.Host
	}
	if (s.Scheme == "http" || s.Scheme == "h2c") && port == "80" || s.Scheme == "https" && port == "443" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}
