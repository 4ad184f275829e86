package etcd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
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
	Enabled  *bool           `json:"enabled,omitempty"`
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
		return client.ParseAddress(string(data), scheme)
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
	s, err := client.ParseAddress(text, scheme)
	if err != nil {
		return endpoint.Spec{}, err
	}
	s.Zone, s.Metadata = v.Zone, metadata(v.Metadata)
	weight := v.Weight
	if len(weight) == 0 || string(weight) == "null" {
		weight = json.RawMessage(s.Metadata["weight"]) // where naming has a place for it
	}
	if s.Zone == "" {
		s.Zone = s.Metadata["zone"]
	}
	s.Weight, s.Out, err = discovery.ParseWeight(string(weight))
	s.Out = s.Out || v.Enabled != nil && !*v.Enabled
	return s, err
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
func render(in discovery.Instance) ([]byte, error) {
	addr, err := client.Announced(in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		URL      string            `json:"url"`
		Weight   int               `json:"weight"`
		Zone     string            `json:"zone,omitempty"`
		Metadata map[string]string `json:"metadata,omitempty"`
	}{cmp.Or(in.Scheme, "http") + "://" + addr.String(), max(in.Weight, 1), in.Zone, in.Metadata})
}
