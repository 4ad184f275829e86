package kubernetes

// The endpoints of a Service, of all its slices: which count, and which port they have.

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// A candidate is an endpoint that may become one of ours.
type candidate struct {
	name   string // of the slice, and where in it; while a pod moves, it may be in two
	spec   endpoint.Spec
	uid    uint64 // of the pod; 0: there is none
	family string
	last   bool // it is terminating and serves: only if there is no other
}

// set is the endpoints of all slices, in the order of their IDs, and what is wrong with
// the others. Of endpoints with one address one counts, which is in use if any is: that of a
// pod that is leaving may be a new one's already. Pods that are not ready are no fault, and left out. Pods on their way out say
// so, and are out; but if there are no others, those that still serve are in use.
func set(all []*slice, c ServiceConfig, namespace string) discovery.Update {
	var found []candidate
	var rejected []discovery.Reject
	for _, s := range all {
		more, bad := s.candidates(c, namespace)
		found, rejected = append(found, more...), append(rejected, bad...)
	}
	leaving := !slices.ContainsFunc(found, func(f candidate) bool { return !f.spec.Out })
	for i := range found {
		if f := &found[i]; leaving && f.last {
			f.spec.Out = false
		}
	}
	// Of a pod with addresses of both families, one counts: otherwise it had two shares.
	four := make(map[uint64]bool)
	for _, f := range found {
		if f.uid != 0 && f.family == "IPv4" {
			four[f.uid] = true
		}
	}
	return client.Set(func(yield func(string, client.Entry) bool) {
		for _, f := range found {
			if f.family == "IPv6" && four[f.uid] {
				continue
			}
			if !yield(f.name, client.Entry{Spec: f.spec}) {
				return
			}
		}
		for _, r := range rejected {
			if !yield(r.ID, client.Entry{Reason: r.Reason}) {
				return
			}
		}
	})
}

// candidates are the endpoints of one slice that are ready, and those that are terminating.
func (s *slice) candidates(c ServiceConfig, namespace string) (out []candidate, rejected []discovery.Reject) {
	if s.family != "IPv4" && s.family != "IPv6" {
		return nil, []discovery.Reject{{ID: s.name, Reason: fmt.Sprintf("its addresses are of type %q: they must be IP addresses", s.family)}}
	}
	if s.empty {
		return nil, nil
	}
	number, scheme, reason := s.port(c)
	if reason != "" {
		return nil, []discovery.Reject{{ID: s.name, Reason: reason}}
	}
	host := ""
	if scheme == "https" {
		host = c.Service + "." + namespace + ".svc" // what certificates within a cluster are made out to
	}
	for i := range s.pods {
		p := &s.pods[i]
		out = append(out, candidate{name: s.name + "/" + strconv.Itoa(i), uid: p.uid, family: s.family, last: p.terminating && p.serving, spec: endpoint.Spec{
			Out:      p.terminating,
			ID:       endpoint.ID{Scheme: scheme, Address: netip.AddrPortFrom(p.addr, number).String()},
			Host:     host,
			Zone:     p.zone.Value(),
			Metadata: p.metadata(),
		}})
	}
	return out, s.rejected
}

// metadata is what is known of the pod.
func (p *pod) metadata() map[string]string {
	out := make(map[string]string)
	if node := p.node.Value(); node != "" {
		out["node"] = node
	}
	if p.hostname != "" {
		out["hostname"] = p.hostname
	}
	if p.name != "" {
		out["pod"] = p.name
	}
	return out
}

// port chooses the port and the scheme, or says why it cannot.
func (s *slice) port(c ServiceConfig) (number uint16, scheme, reason string) {
	wanted, _ := strconv.Atoi(c.Port)
	i := -1
	switch {
	case wanted > 0:
		i = slices.IndexFunc(s.ports, func(p port) bool { return p.number == anyPort || int(p.number) == wanted })
	case c.Port != "":
		i = slices.IndexFunc(s.ports, func(p port) bool { return p.name == c.Port })
	case len(s.ports) == 1:
		i = 0
	default:
		i = slices.IndexFunc(s.ports, func(p port) bool { return p.name == "http" })
	}
	switch {
	case i < 0 && c.Port == "":
		return 0, "", fmt.Sprintf("it has %d TCP ports and none is named http: the port must be given", len(s.ports))
	case i < 0:
		return 0, "", fmt.Sprintf("it has no TCP port %s", strconv.Quote(c.Port))
	}
	p := s.ports[i]
	if p.number != anyPort {
		wanted = int(p.number)
	}
	if wanted < 1 || wanted > 65535 {
		return 0, "", "it does not say the number of the port"
	}
	scheme = "http"
	switch {
	case p.h2c:
		scheme = "h2c"
	case p.https:
		scheme = "https"
	}
	return uint16(wanted), cmp.Or(c.Scheme, scheme), ""
}
