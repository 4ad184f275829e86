package kubernetes

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// slice is what an EndpointSlice of discovery.k8s.io/v1 says, as far as it matters here.
type slice struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	AddressType string `json:"addressType"`
	Endpoints   []pod  `json:"endpoints"`
	Ports       []port `json:"ports"`
}

type port struct {
	Name        string  `json:"name"`
	Port        *int    `json:"port"` // null: all ports
	Protocol    string  `json:"protocol"`
	AppProtocol *string `json:"appProtocol"`
}

// A pod is one endpoint of a slice: nearly always a pod.
type pod struct {
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

func is(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

func (p *pod) terminating() bool { return is(p.Conditions.Terminating, false) }
func (p *pod) ready() bool       { return is(p.Conditions.Ready, true) }
func (p *pod) serving() bool     { return is(p.Conditions.Serving, p.ready()) }

// A candidate is an endpoint that may become one of ours.
type candidate struct {
	spec   endpoint.Spec
	uid    string // of the pod, if there is one
	family string
	last   bool // it is terminating and serves: only if there is no other
}

// set is the endpoints of all slices, in the order of their IDs, and what is wrong with
// the others. Pods that are not ready are no fault, and left out. Pods on their way out say
// so, and are out; but if there are no others, those that still serve are in use.
func set(all map[string]slice, c Config, namespace string) ([]endpoint.Spec, []discovery.Reject) {
	var found []candidate
	var rejected []discovery.Reject
	for name, s := range all {
		more, bad := s.candidates(name, c, namespace)
		found, rejected = append(found, more...), append(rejected, bad...)
	}
	leaving := !slices.ContainsFunc(found, func(f candidate) bool { return !f.spec.Out })
	for i := range found {
		if f := &found[i]; leaving && f.last {
			f.spec.Out = false
		}
	}
	// Of a pod with addresses of both families, one counts: otherwise it had two shares.
	four := make(map[string]bool)
	for _, f := range found {
		if f.uid != "" && f.family == "IPv4" {
			four[f.uid] = true
		}
	}
	best := make(map[endpoint.ID]endpoint.Spec, len(found))
	for _, f := range found {
		if f.family == "IPv6" && four[f.uid] {
			continue
		}
		// While a pod moves from one slice to another it may be in both, and the address of
		// one that is leaving may be a new one's already.
		old, ok := best[f.spec.ID]
		if !ok || old.Out && !f.spec.Out || old.Out == f.spec.Out && f.spec.Metadata["slice"] < old.Metadata["slice"] {
			best[f.spec.ID] = f.spec
		}
	}
	specs := make([]endpoint.Spec, 0, len(best))
	for _, s := range best {
		delete(s.Metadata, "slice")
		specs = append(specs, s)
	}
	slices.SortFunc(specs, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(rejected, func(a, b discovery.Reject) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Reason, b.Reason))
	})
	return specs, rejected
}

// candidates are the endpoints of one slice that are ready, and those that are terminating.
func (s *slice) candidates(name string, c Config, namespace string) (out []candidate, rejected []discovery.Reject) {
	if s.AddressType != "IPv4" && s.AddressType != "IPv6" {
		return nil, []discovery.Reject{{ID: name, Reason: fmt.Sprintf("its addresses are of type %q: they must be IP addresses", s.AddressType)}}
	}
	if len(s.Endpoints) == 0 {
		return nil, nil // then it has no ports either
	}
	number, scheme, reason := s.port(c)
	if reason != "" {
		return nil, []discovery.Reject{{ID: name, Reason: reason}}
	}
	for i := range s.Endpoints {
		p := &s.Endpoints[i]
		if !p.terminating() && !p.ready() {
			continue
		}
		id := name + "/" + strconv.Itoa(i)
		if p.TargetRef != nil && p.TargetRef.Name != "" {
			id = name + "/" + p.TargetRef.Name
		}
		if len(p.Addresses) == 0 {
			rejected = append(rejected, discovery.Reject{ID: id, Reason: "it has no address"})
			continue
		}
		// Further addresses are of the same pod, and nobody uses them.
		addr, err := netip.ParseAddr(p.Addresses[0])
		if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
			rejected = append(rejected, discovery.Reject{ID: id, Reason: "its address is none that can be reached"})
			continue
		}
		f := candidate{family: s.AddressType, last: p.terminating() && p.serving(), spec: endpoint.Spec{
			Out:      p.terminating(),
			ID:       endpoint.ID{Scheme: scheme, Address: net.JoinHostPort(addr.Unmap().String(), strconv.Itoa(number))},
			Zone:     p.Zone,
			Metadata: p.metadata(name),
		}}
		if scheme == "https" {
			// What certificates within a cluster are made out to.
			f.spec.Host = c.Service + "." + namespace + ".svc"
		}
		if p.TargetRef != nil {
			f.uid = p.TargetRef.UID
		}
		out = append(out, f)
	}
	return out, rejected
}

// metadata is what is known of the pod, and for set the slice that it is in.
func (p *pod) metadata(slice string) map[string]string {
	out := map[string]string{"slice": slice}
	if p.Node != "" {
		out["node"] = p.Node
	}
	if p.Hostname != "" {
		out["hostname"] = p.Hostname
	}
	if p.TargetRef != nil && p.TargetRef.Kind == "Pod" {
		out["pod"] = p.TargetRef.Name
	}
	return out
}

// port chooses the port and the scheme, or says why it cannot.
func (s *slice) port(c Config) (number int, scheme, reason string) {
	wanted, _ := strconv.Atoi(c.Port)
	var tcp []port
	for _, p := range s.Ports {
		if p.Protocol == "TCP" || p.Protocol == "" {
			tcp = append(tcp, p)
		}
	}
	i := -1
	switch {
	case wanted > 0:
		i = slices.IndexFunc(tcp, func(p port) bool { return p.Port == nil || *p.Port == wanted })
	case c.Port != "":
		i = slices.IndexFunc(tcp, func(p port) bool { return p.Name == c.Port })
	case len(tcp) == 1:
		i = 0
	default:
		i = slices.IndexFunc(tcp, func(p port) bool { return p.Name == "http" })
	}
	switch {
	case i < 0 && c.Port == "":
		return 0, "", fmt.Sprintf("it has %d TCP ports and none is named http: the port must be given", len(tcp))
	case i < 0:
		return 0, "", fmt.Sprintf("it has no TCP port %s", strconv.Quote(c.Port))
	}
	p := tcp[i]
	if p.Port != nil {
		wanted = *p.Port
	}
	if wanted < 1 || wanted > 65535 {
		return 0, "", "it does not say the number of the port"
	}
	scheme = "http"
	if p.Name == "https" || p.AppProtocol != nil && (*p.AppProtocol == "https" || *p.AppProtocol == "kubernetes.io/wss") {
		scheme = "https"
	}
	return wanted, cmp.Or(c.Scheme, scheme), ""
}

// tellEvery is how often an error is published that differs from the last one.
const tellEvery = 30 * time.Second

// A reporter publishes what is news. It belongs to the goroutine of Run.
type reporter struct {
	publish  func(discovery.Update)
	specs    []endpoint.Spec
	rejected []discovery.Reject
	fresh    bool // specs is what was published last, rather than an error
	failure  string
	told     time.Time
}

// set publishes a set that is not what was published last. After an error it is news in
// any case: it is no longer stale.
func (r *reporter) set(specs []endpoint.Spec, rejected []discovery.Reject) {
	if r.fresh && slices.EqualFunc(specs, r.specs, endpoint.Spec.Equal) && slices.Equal(rejected, r.rejected) {
		return
	}
	r.specs, r.rejected, r.fresh, r.failure = specs, rejected, true, ""
	r.publish(discovery.Update{Endpoints: specs, Rejected: rejected})
}

// fail publishes an error, unless it is what everybody knows.
func (r *reporter) fail(err error) {
	text := err.Error()
	if text == r.failure || r.failure != "" && time.Since(r.told) < tellEvery {
		return
	}
	r.fresh, r.failure, r.told = false, text, time.Now()
	r.publish(discovery.Update{Err: err})
}
