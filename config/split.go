package config

// Variants of what runs: services that share the requests of a route (Split), and endpoints of one
// service that differ by a label of their metadata (Lanes), or of which a client stays with one (Sticky).

import (
	"strings"
	"time"
)

// Split shares the requests of a route among services by weight. The short form is the list of
// services.
//
//	split: [{service: cart-v1, weight: 95}, {service: cart-v2, weight: 5}]
//
// By the same weights and names every proxy gives a key to the same service. When weights change,
// only the keys move that have to: from 95 and 5 to 90 and 10, a twentieth of all keys goes from the
// first to the second.
type Split struct {
	Services []Share `yaml:"services" doc:"the services, with their weights" required:"true" short:"true"`
	// By is the key by which a client stays with its service, as Policy.Key. Empty: each request is
	// drawn anew, and so is one that has no key.
	By string `yaml:"by" doc:"key by which a client stays with its service; absent, or where the request has none: drawn for each request" example:"cookie(sid) | header(X-User-Id) | client_ip"`
	// Otherwise says what becomes of the requests of a service that has no usable endpoint: "others"
	// (the default), the other services get them, by weight; "none": they are answered with 503.
	Otherwise string `yaml:"otherwise" doc:"where requests go whose service has no usable endpoint: others, the other services; none: they get 503" enum:"others,none" default:"others"`
}

// Share is one service of a Split.
type Share struct {
	Service string `yaml:"service" doc:"name of the service" required:"true"`
	// Weight is the share relative to the others. 0 means 1 in Go; in a file it is the same as Off.
	Weight int  `yaml:"weight" doc:"share relative to the others; 0: as off" default:"1" min:"1" max:"1000000" zero:"Off"`
	Off    bool `yaml:"off" doc:"it gets no requests"`
}

// Part is the weight that counts: 0 if it is Off.
func (s *Share) Part() int {
	switch {
	case s.Off:
		return 0
	case s.Weight == 0:
		return 1
	}
	return s.Weight
}

// Names are those of the services that the route names, in the order of the configuration; nil:
// it leads to what discover finds.
func (r *Route) Names() []string {
	switch {
	case r.Split != nil:
		names := make([]string, len(r.Split.Services))
		for i := range r.Split.Services {
			names[i] = r.Split.Services[i].Service
		}
		return names
	case r.Service != "":
		return []string{r.Service}
	}
	return nil
}

// Leads says where the route leads, for people: a service, several of them with commas between, or
// an entry of discover.
func (r *Route) Leads() string {
	if names := r.Names(); names != nil {
		return strings.Join(names, ", ")
	}
	return r.Discover
}

// Lanes bind requests to endpoints by a label of their metadata. With
//
//	lanes: {by: header(X-Version), label: version}
//
// a request with X-Version: v2 goes to endpoints with version=v2, and any endpoint serves it if there
// is none. Retries stay in the lane as long as it has another endpoint.
type Lanes struct {
	By    string `yaml:"by" doc:"what of a request names its lane, with fallbacks, as policy.key" required:"true" example:"header(X-Version) | cookie(version)"`
	Label string `yaml:"label" doc:"key in the metadata of endpoints whose value is their lane" required:"true" example:"version"`
	// Otherwise says where requests go whose lane has no usable endpoint, and those that name none:
	// "any" (the default), to any endpoint; "unlabelled", to endpoints without the label alone, so
	// that those of a lane get no request but its own; "none": the former get 503, the latter go to
	// endpoints without the label.
	Otherwise string `yaml:"otherwise" doc:"where requests go whose lane has no usable endpoint, and those without a lane: any endpoint; unlabelled, endpoints without the label; none: 503, and those without a lane to endpoints without the label" enum:"any,unlabelled,none" default:"any"`
}

// Sticky keeps a client at the endpoint that has answered its first request, by a cookie. The short
// form is the name of the cookie. When the endpoint cannot be used the policy picks another one,
// which the client stays with from then on.
type Sticky struct {
	Cookie string `yaml:"cookie" doc:"name of the cookie, one that no other service of the host has" required:"true" short:"true" example:"lb"`
	// TTL is how long a client stays, from the response that binds it. 0: as long as its browser
	// keeps cookies of a session.
	TTL time.Duration `yaml:"ttl" doc:"how long a client stays, from the response that binds it; absent: until its browser ends the session" min:"1s" example:"1h"`
	// SameSite is "lax" (the default), "strict" or "none", which browsers believe over https only: over
	// http the attribute is left out then.
	SameSite string `yaml:"same_site" doc:"which requests from pages of other sites have the cookie; none counts over https only" enum:"lax,strict,none" default:"lax"`
	// Secret keys the hash of the endpoint's identity that is the cookie's value. Empty: a client that
	// tries all addresses that there may be finds out which one its cookie stands for.
	Secret string `yaml:"secret" secret:"true" doc:"keys the hash in the cookie, so that nothing can be learned of addresses by trying; absent: a plain hash" example:"${file:/run/secrets/sticky}"`
}
