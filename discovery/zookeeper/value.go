package zookeeper

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/endpoint"
)

// An entry is one node: an endpoint, nothing (it is out of service, or offers another
// protocol), or the reason why it is none.
type entry struct {
	spec     endpoint.Spec
	none     bool
	reason   string
	blind    bool  // it could not be read, so nothing will tell when it can
	created  int64 // the later one of two with the same address counts
	modified int64
}

func rejected(err error) entry { return entry{reason: err.Error()} }

// instance is what Curator writes, and what its users put in as the payload. Spring Cloud
// and Dubbo have the metadata in a member of that name.
type instance struct {
	URL     string          `json:"url"`
	Address string          `json:"address"`
	Port    *int            `json:"port"`
	SSLPort *int            `json:"sslPort"`
	Payload json.RawMessage `json:"payload"`
	Enabled *bool           `json:"enabled"`

	// Of values that are not Curator's.
	Weight   json.RawMessage `json:"weight"`
	Zone     string          `json:"zone"`
	Metadata json.RawMessage `json:"metadata"`
}

// parse reads the data of a node. Reasons say what is wrong without repeating the data.
func (c *Config) parse(name string, data []byte) entry {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '{' {
		var in instance
		if err := json.Unmarshal(data, &in); err != nil {
			return rejected(errors.New("the data is not the JSON of an instance"))
		}
		return c.instance(in)
	}
	text := string(data)
	if text == "" {
		text = name // the address as the name, as Dubbo's applications have it
	}
	id, err := parseAddress(text, cmp.Or(c.Scheme, "http"))
	if err != nil {
		return rejected(err)
	}
	return entry{spec: endpoint.Spec{ID: id}}
}

func (c *Config) instance(in instance) entry {
	meta := metadata(in.Payload)
	if meta == nil {
		meta = metadata(in.Metadata)
	}
	status, told := meta["instance_status"] // Spring Cloud's
	if told && status != "" && !strings.EqualFold(status, "UP") || in.Enabled != nil && !*in.Enabled {
		return entry{none: true}
	}
	s := endpoint.Spec{Zone: cmp.Or(in.Zone, meta["zone"]), Metadata: meta}
	var err error
	if in.URL != "" {
		s.ID, err = parseAddress(in.URL, cmp.Or(c.Scheme, "http"))
	} else {
		var none bool
		if s.ID, none, err = c.address(in, meta["dubbo.endpoints"]); none {
			return entry{none: true}
		}
	}
	if err != nil {
		return rejected(err)
	}
	weight := string(in.Weight)
	if weight == "" || weight == "null" {
		weight = meta["weight"]
	}
	if s.Weight, err = parseWeight(strings.Trim(weight, `"`)); err != nil {
		return rejected(err)
	}
	return entry{spec: s}
}

// address takes the port of the protocol that is asked for, or else the secure one, as
// Spring Cloud does. none means that the instance does not offer the protocol.
func (c *Config) address(in instance, dubbo string) (id endpoint.ID, none bool, err error) {
	scheme, port := cmp.Or(c.Scheme, "http"), 0
	switch {
	case dubbo != "" && c.Protocol != "":
		var offers []struct {
			Port     int    `json:"port"`
			Protocol string `json:"protocol"`
		}
		if json.Unmarshal([]byte(dubbo), &offers) != nil {
			return id, false, errors.New("its dubbo.endpoints cannot be read")
		}
		for _, o := range offers {
			if o.Protocol == c.Protocol {
				port = o.Port
			}
		}
		if port == 0 {
			return id, true, nil
		}
	case in.SSLPort != nil && *in.SSLPort > 0 && (c.Scheme != "http" || in.Port == nil):
		scheme, port = "https", *in.SSLPort
	case in.Port != nil:
		port = *in.Port
	case in.Address == "":
		return id, false, errors.New("it has no address")
	default:
		id, err = parseAddress(in.Address, scheme)
		return id, false, err
	}
	id, err = parseAddress(net.JoinHostPort(strings.Trim(in.Address, "[]"), strconv.Itoa(port)), scheme)
	return id, false, err
}

// dubboWeight is the weight of Dubbo's providers that do not say.
const dubboWeight = 100.0

// named reads a node that has everything in its name: a provider of a Dubbo interface.
func (c *Config) named(name string) (e entry, ok bool) {
	if !strings.Contains(name, "%3A%2F%2F") && !strings.Contains(name, "%3a%2f%2f") {
		return entry{}, false
	}
	text, err := url.QueryUnescape(name)
	if err != nil {
		return rejected(errors.New("the name is not an encoded URL")), true
	}
	u, err := url.Parse(text)
	if err != nil {
		return rejected(errors.New("the name is not an encoded URL")), true
	}
	q := u.Query()
	if q.Get("disabled") == "true" || q.Get("enabled") == "false" || c.Protocol != "" && c.Protocol != u.Scheme ||
		q.Get("category") != "" && q.Get("category") != "providers" {
		return entry{none: true}, true
	}
	scheme := cmp.Or(c.Scheme, "http")
	switch u.Scheme {
	case "https":
		scheme = "https"
	case "http", "rest", "tri":
		if q.Get("ssl-enabled") == "true" {
			scheme = "https"
		}
	default:
		if c.Protocol == "" {
			return rejected(errors.New("its protocol is not one over HTTP: " + strconv.Quote(u.Scheme[:min(len(u.Scheme), 20)]))), true
		}
	}
	id, err := parseAddress(u.Host, scheme)
	if err != nil {
		return rejected(err), true
	}
	meta := make(map[string]string, len(q))
	for k, v := range q {
		meta[k] = v[0]
	}
	weight := dubboWeight
	if text := q.Get("weight"); text != "" {
		if weight, err = parseWeight(text); err != nil {
			return rejected(err), true
		}
	}
	e.spec = endpoint.Spec{ID: id, Weight: weight, Zone: q.Get("zone"), Metadata: meta}
	e.created, _ = strconv.ParseInt(q.Get("timestamp"), 10, 64)
	return e, true
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
	ap, err := netip.ParseAddrPort(text)
	switch {
	case err == nil && (ap.Port() == 0 || ap.Addr().IsUnspecified() || ap.Addr().IsMulticast()):
		return endpoint.ID{}, errors.New("the address is none that can be reached")
	case err == nil:
		return endpoint.ID{Scheme: scheme, Address: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()}, nil
	}
	if host, _, err := net.SplitHostPort(text); err != nil || host == "" {
		return endpoint.ID{}, errors.New("it has no address and port")
	}
	return endpoint.ID{}, errors.New("the address is a name, or no address: it must be an IP address and a port")
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

// metadata makes strings of the members of an object, or of its member "metadata". What
// is neither string nor number nor truth is left out.
func metadata(data json.RawMessage) map[string]string {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(members["metadata"], &inner) == nil && inner != nil {
		members = inner
	}
	out := make(map[string]string, len(members))
	for name, raw := range members {
		var text string
		switch {
		case name == "@class": // how Java reads it
		case json.Unmarshal(raw, &text) == nil && string(raw) != "null":
			out[name] = text
		case raw[0] != '{' && raw[0] != '[' && string(raw) != "null":
			out[name] = string(raw)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
