package kubernetes

// What is kept of an EndpointSlice. The API server's form is some 400 bytes of JSON for
// each endpoint, and a namespace may have far more slices than services here use, so the
// index has a compact form: addresses as numbers, the names of zones and nodes once each,
// and no endpoint that cannot become one of ours. README.md has the figures.

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"unique"

	"github.com/poise-lb/poise/discovery"
)

// object is what an EndpointSlice of discovery.k8s.io/v1 says, as far as it matters here.
type object struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
		Labels          struct {
			Service string `json:"kubernetes.io/service-name"`
		} `json:"labels"`
	} `json:"metadata"`
	AddressType string           `json:"addressType"`
	Endpoints   []objectEndpoint `json:"endpoints"`
	Ports       []objectPort     `json:"ports"`
}

type objectPort struct {
	Name        string  `json:"name"`
	Port        *int    `json:"port"` // null: all ports
	Protocol    string  `json:"protocol"`
	AppProtocol *string `json:"appProtocol"`
}

type objectEndpoint struct {
	Addresses  []string `json:"addresses"`
	Conditions struct {
		Ready       *bool `json:"ready"`   // null: yes
		Serving     *bool `json:"serving"` // null: as ready
		Terminating *bool `json:"terminating"`
	} `json:"conditions"`
	Zone      string `json:"zone"`
	Node      string `json:"nodeName"`
	Hostname  string `json:"hostname"`
	TargetRef *struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
		UID  string `json:"uid"`
	} `json:"targetRef"`
}

// A slice is the compact form. It is immutable.
type slice struct {
	name, service string
	family        string // "IPv4", "IPv6", or another one of no use
	empty         bool   // it lists no endpoints, ready or not: then it has no ports either
	pods          []pod
	ports         []port // those of TCP
	rejected      []discovery.Reject
}

// A port of a slice.
type port struct {
	name   string
	number int32 // 0: the slice does not say it; anyPort: all ports
	https  bool
	h2c    bool
}

const anyPort = -1

// A pod is one endpoint of a slice, nearly always a pod, that is ready or terminating.
type pod struct {
	addr        netip.Addr
	uid         uint64                // a hash of the pod's; 0: it has none
	zone, node  unique.Handle[string] // there are few of each
	name        string                // of the pod; empty: it is none
	hostname    string
	terminating bool
	serving     bool
}

var uidSeed = maphash.MakeSeed()

// compact returns what is kept of o.
func compact(o *object) *slice {
	out := &slice{
		name: o.Metadata.Name, service: interned(o.Metadata.Labels.Service),
		family: interned(o.AddressType), empty: len(o.Endpoints) == 0,
	}
	if out.family != "IPv4" && out.family != "IPv6" {
		return out
	}
	for _, p := range o.Ports {
		if p.Protocol == "TCP" || p.Protocol == "" {
			out.ports = append(out.ports, p.compact())
		}
	}
	used := 0
	for i := range o.Endpoints {
		if o.Endpoints[i].matters() {
			used++
		}
	}
	if used > 0 {
		out.pods = make([]pod, 0, used) // not a byte more
	}
	for i := range o.Endpoints {
		e := &o.Endpoints[i]
		if !e.matters() {
			continue
		}
		p, reason := e.compact()
		if reason == "" {
			out.pods = append(out.pods, p)
			continue
		}
		id := out.name + "/" + strconv.Itoa(i)
		if e.TargetRef != nil && e.TargetRef.Name != "" {
			id = out.name + "/" + e.TargetRef.Name
		}
		out.rejected = append(out.rejected, discovery.Reject{ID: id, Reason: reason})
	}
	return out
}

func (p *objectPort) compact() port {
	out := port{name: interned(p.Name), https: p.Name == "https"}
	if a := p.AppProtocol; a != nil && (*a == "https" || *a == "kubernetes.io/wss") {
		out.https = true
	}
	out.h2c = p.AppProtocol != nil && *p.AppProtocol == "kubernetes.io/h2c"
	switch {
	case p.Port == nil:
		out.number = anyPort
	case *p.Port >= 1 && *p.Port <= 65535:
		out.number = int32(*p.Port)
	}
	return out
}

// compact returns what is kept of e, or why it cannot be used.
func (e *objectEndpoint) compact() (p pod, reason string) {
	if len(e.Addresses) == 0 {
		return p, "it has no address"
	}
	// Further addresses are of the same pod, and are not used by kube-proxy either.
	addr, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
		return p, "its address is none that can be reached"
	}
	p = pod{
		addr: addr.Unmap(), zone: unique.Make(e.Zone), node: unique.Make(e.Node), hostname: e.Hostname,
		terminating: e.terminating(), serving: e.serving(),
	}
	if t := e.TargetRef; t != nil {
		if t.Kind == "Pod" {
			p.name = t.Name
		}
		if t.UID != "" {
			p.uid = maphash.String(uidSeed, t.UID)
		}
	}
	return p, ""
}

// matters reports whether the endpoint can become one of ours: one that is neither ready
// nor terminating is left out whatever else there is.
func (e *objectEndpoint) matters() bool     { return e.terminating() || e.ready() }
func (e *objectEndpoint) terminating() bool { return is(e.Conditions.Terminating, false) }
func (e *objectEndpoint) ready() bool       { return is(e.Conditions.Ready, true) }
func (e *objectEndpoint) serving() bool     { return is(e.Conditions.Serving, e.ready()) }

func is(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// interned is s, in memory that all equal strings share.
func interned(s string) string { return unique.Make(s).Value() }
