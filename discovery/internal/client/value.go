package client

// What several registries have in the values of their entries, and registrars write there.

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// ParseAddress reads a URL, or an address alone: the ID, and the Host if it is a name.
func ParseAddress(text, scheme string) (endpoint.Spec, error) {
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return endpoint.Spec{}, errors.New("the URL cannot be read")
		case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
			return endpoint.Spec{}, errors.New("the URL is none of http://, https:// and h2c://")
		case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
			return endpoint.Spec{}, errors.New("the URL has more than scheme, address and port")
		}
		scheme, text = u.Scheme, u.Host
		if u.Port() == "" {
			text = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "h2c": "80", "https": "443"}[scheme])
		}
	}
	address, name, err := discovery.ParseAddress(text)
	return endpoint.Spec{ID: endpoint.ID{Scheme: scheme, Address: address}, Host: name}, err
}
