package zookeeper

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// An entry is one node: an endpoint, nothing (it offers another protocol), or the reason why
// it is none.
type entry = client.Entry

func rejected(err error) entry { return entry{Reason: err.Error()} }

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
	s, err := client.ParseAddress(text, cmp.Or(c.Scheme, "http"))
	if err != nil {
		return rejected(err)
	}
	return entry{Spec: s}
}

func (c *Config) instance(in instance) entry {
	meta := metadata(in.Payload)
	if meta == nil {
		meta = metadata(in.Metadata)
	}
	var s endpoint.Spec
	var err error
	if in.URL != "" {
		s, err = client.ParseAddress(in.URL, cmp.Or(c.Scheme, "http"))
	} else {
		var none bool
		if s, none, err = c.address(in, meta["dubbo.endpoints"]); none {
			return entry{None: true}
		}
	}
	if err != nil {
		return rejected(err)
	}
	s.Zone, s.Metadata = cmp.Or(in.Zone, meta["zone"]), meta
	weight := string(in.Weight)
	if weight == "" || weight == "null" {
		weight = meta["weight"]
	}
	if s.Weight, s.Out, err = discovery.ParseWeight(weight); err != nil {
		return rejected(err)
	}
	status := meta["instance_status"] // Spring Cloud's
	s.Out = s.Out || status != "" && !strings.EqualFold(status, "UP") || in.Enabled != nil && !*in.Enabled
	return entry{Spec: s}
}

// address takes the port of the protocol that is asked for, or else the secure one, as
// Spring Cloud does. none means that the instance does not offer the protocol.
func (c *Config) address(in instance, dubbo string) (s endpoint.Spec, none bool, err error) {
	scheme, port := cmp.Or(c.Scheme, "http"), 0
	switch {
	case dubbo != "" && c.Protocol != "":
		var offers []struct {
			Port     int    `json:"port"`
			Protocol string `json:"protocol"`
		}
		if json.Unmarshal([]byte(dubbo), &offers) != nil {
			return s, false, errors.New("its dubbo.endpoints cannot be read")
		}
		for _, o := range offers {
			if o.Protocol == c.Protocol {
				port = o.Port
			}
		}
		if port == 0 {
			return s, true, nil
		}
	case in.SSLPort != nil && *in.SSLPort > 0 && (c.Scheme != "http" || in.Port == nil):
		scheme, port = "https", *in.SSLPort
	case in.Port != nil:
		port = *in.Port
	case in.Address == "":
		return s, false, errors.New("it has no address")
	default:
		s, err = client.ParseAddress(in.Address, scheme)
		return s, false, err
	}
	s.Scheme = scheme
	s.Address, s.Host, err = discovery.Address(in.Address, port)
	return s, false, err
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
	if c.Protocol != "" && c.Protocol != u.Scheme ||
		q.Get("category") != "" && q.Get("category") != "providers" {
		return entry{None: true}, true
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
	spec, err := client.ParseAddress(u.Host, scheme)
	if err != nil {
		return rejected(err), true
	}
	meta := make(map[string]string, len(q))
	for k, v := range q {
		meta[k] = v[0]
	}
	spec.Weight = dubboWeight
	if text := q.Get("weight"); text != "" {
		if spec.Weight, spec.Out, err = discovery.ParseWeight(text); err != nil {
			return rejected(err), true
		}
	}
	spec.Out = spec.Out || q.Get("disabled") == "true" || q.Get("enabled") == "false"
	spec.Zone, spec.Metadata = q.Get("zone"), meta
	e.Spec = spec
	e.Created, _ = strconv.ParseInt(q.Get("timestamp"), 10, 64)
	return e, true
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
