package nacos

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// A serviceJSON is a service as pushes, answers and the HTTP interface show it.
type serviceJSON struct {
	Name  string            `json:"name"` // may begin with the group and @@
	Group string            `json:"groupName"`
	Hosts []json.RawMessage `json:"hosts"` // nil if there were none in the message
}

type hostJSON struct {
	IP        string            `json:"ip"`
	Port      int               `json:"port"`
	Weight    *float64          `json:"weight"`
	Healthy   *bool             `json:"healthy"`
	Enabled   *bool             `json:"enabled"`
	Cluster   string            `json:"clusterName"`
	Metadata  map[string]string `json:"metadata"`
	malformed string
}

// A subject is what can be subscribed.
type subject struct{ group, service string }

func (s serviceJSON) subject() subject {
	group, name, ok := strings.Cut(s.Name, "@@")
	if !ok {
		return subject{s.Group, s.Name}
	}
	return subject{group, name}
}

// instances reads the hosts. A message without a list is an error: it is not the same as a
// list that is empty.
func (s serviceJSON) instances() ([]hostJSON, error) {
	if s.Hosts == nil {
		return nil, errors.New("the answer has no list of instances")
	}
	out := make([]hostJSON, len(s.Hosts))
	for i, raw := range s.Hosts {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			out[i].malformed = "unreadable: " + err.Error()
		}
	}
	return out, nil
}

func (h hostJSON) name() string { return fmt.Sprintf("%s#%d#%s", h.IP, h.Port, h.Cluster) }

// lost reports whether an instance of old is missing in now.
func lost(old, now []hostJSON) bool { return len(without(old, now)) > 0 }

// set returns what hosts say. An instance that is disabled or has the weight 0 is in it and
// out; one that the server takes for unhealthy is not in it. The same address in two clusters
// is one endpoint.
func (c ServiceConfig) set(hosts []hostJSON) discovery.Update {
	return client.Set(func(yield func(string, client.Entry) bool) {
		for _, h := range hosts {
			e := client.Parsed(h.spec(c))
			e.None = e.Reason == "" && !h.wanted(c)
			if !yield(h.name(), e) {
				return
			}
		}
	})
}

func isTrue(b *bool) bool { return b == nil || *b }

// wanted reports whether h is healthy and in one of the clusters that are wanted. What is
// not said is true: the HTTP interface of some versions leaves out what is. One that is
// disabled is wanted in any case, so that it is known to be.
func (h hostJSON) wanted(c ServiceConfig) bool {
	return (isTrue(h.Healthy) || !isTrue(h.Enabled)) && (len(c.Clusters) == 0 || slices.Contains(c.Clusters, h.Cluster))
}

func (h hostJSON) spec(c ServiceConfig) (endpoint.Spec, error) {
	if h.malformed != "" {
		return endpoint.Spec{}, errors.New(h.malformed)
	}
	address, name, err := discovery.Address(h.IP, h.Port)
	if err != nil {
		return endpoint.Spec{}, err
	}
	s := endpoint.Spec{Host: name, Weight: 1, Zone: h.Metadata[c.zoneKey]}
	if h.Weight != nil {
		if s.Weight, s.Out, err = discovery.Weight(*h.Weight); err != nil {
			return endpoint.Spec{}, err
		}
	}
	s.Out = s.Out || !isTrue(h.Enabled)
	if s.Zone == "" && h.Cluster != defaultCluster {
		s.Zone = h.Cluster
	}
	if len(h.Metadata) > 0 {
		s.Metadata = h.Metadata
	}
	s.ID = endpoint.ID{Scheme: c.Scheme, Address: address}
	switch secure := h.Metadata[secureKey]; secure { // as Spring Cloud writes it
	case "true":
		s.Scheme = "https"
	case "false":
		s.Scheme = "http"
	}
	return s, nil
}

const (
	secureKey      = "secure"
	defaultCluster = "DEFAULT"
)
