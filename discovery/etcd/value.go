package etcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/endpoint"
)

// value is what the JSON of a key may say: ours in small letters, and what the naming
// package of etcd's Go client writes. Names are compared without regard to case, as that
// package's readers do.
type value struct {
	URL      string          `json:"url,omitempty"`
	Address  string          `json:"address,omitempty"`
	Addr     string          `json:"Addr,omitempty"`
	Weight   json.RawMessage `json:"weight,omitempty"`
	Zone     string          `json:"zone,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// parse reads the value of a key. Errors say what is wrong without repeating the value.
func parse(data []byte, scheme string) (endpoint.Spec, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return endpoint.Spec{}, errors.New("the value is empty")
	}
	if data[0] != '{' {
		id, err := parseAddress(string(data), scheme)
		return endpoint.Spec{ID: id}, err
	}
	var v value
	if err := json.Unmarshal(data, &v); err != nil {
		return endpoint.Spec{}, errors.New("the value is not the JSON of an endpoint")
	}
	text := v.URL
	for _, other := range []string{v.Address, v.Addr} {
		if other == "" {
			continue
		}
		if text != "" {
			return endpoint.Spec{}, errors.New("the value has more than one of url, address and Addr")
		}
		text = other
	}
	if text == "" {
		return endpoint.Spec{}, errors.New("the value has neither url nor address nor Addr")
	}
	id, err := parseAddress(text, scheme)
	if err != nil {
		return endpoint.Spec{}, err
	}
	s := endpoint.Spec{ID: id, Zone: v.Zone, Metadata: metadata(v.Metadata)}
	weight := v.Weight
	if len(weight) == 0 || string(weight) == "null" {
		weight = json.RawMessage(s.Metadata["weight"]) // where naming has a place for it
	}
	if s.Zone == "" {
		s.Zone = s.Metadata["zone"]
	}
	s.Weight, err = parseWeight(strings.Trim(string(weight), `"`))
	return s, err
}

// parseAddress reads an URL, or an address alone.
func parseAddress(text, scheme string) (endpoint.ID, error) {
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return endpoint.ID{}, errors.New("the URL cannot be read")
		case u.Scheme != "http" && u.Scheme != "https":
			return endpoint.ID{}, errors.New("the URL is neither http:// nor https://")
		case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
			return endpoint.ID{}, errors.New("the URL has more than scheme, address and port")
		}
		scheme, text = u.Scheme, u.Host
		if u.Port() == "" {
			text = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[scheme])
		}
	}
	return literal(text, scheme)
}

// literal reads an address alone.
func literal(text, scheme string) (endpoint.ID, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		if ap.Port() == 0 || ap.Addr().IsUnspecified() {
			return endpoint.ID{}, errors.New("the address is none that can be reached")
		}
		return endpoint.ID{Scheme: scheme, Address: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()}, nil
	}
	if _, _, err := net.SplitHostPort(text); err != nil {
		return endpoint.ID{}, errors.New("the address has no port")
	}
	return endpoint.ID{}, errors.New("the address is not a literal IP address and a port")
}

// parseWeight reads a weight, which may have a fraction. "" is none.
func parseWeight(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	w, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(w) || w < 0:
		return 0, errors.New("the weight is not a number from 0")
	case w == 0:
		return 0, errors.New("the weight is 0: it takes no requests")
	}
	return w, nil
}

// metadata makes strings of the members of an object; anything else is no metadata.
func metadata(data json.RawMessage) map[string]string {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || len(members) == 0 {
		return nil
	}
	out := make(map[string]string, len(members))
	for name, raw := range members {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		out[name] = text
	}
	return out
}

// render is the value that a registrar writes.
func render(scheme, address string, weight int, zone string, meta map[string]string) ([]byte, error) {
	id, err := literal(address, scheme)
	if scheme != "http" && scheme != "https" {
		err = errors.New("the scheme is neither http nor https")
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be announced: %w", err)
	}
	return json.Marshal(struct {
		URL      string            `json:"url"`
		Weight   int               `json:"weight"`
		Zone     string            `json:"zone,omitempty"`
		Metadata map[string]string `json:"metadata,omitempty"`
	}{id.Scheme + "://" + id.Address, max(weight, 1), zone, meta})
}
