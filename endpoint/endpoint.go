// Package endpoint holds one address that can serve a service's requests: the facts a
// source told about it (Spec) and its live state (Endpoint), which belongs to its
// identity and so outlives every configuration.
package endpoint

import (
	"maps"
	"sync/atomic"
	"time"
)

// An ID is what makes two specs the same endpoint of a service: scheme, address and, if
// the source gives one, the instance.
type ID struct {
	Scheme   string // "http" or "https"
	Address  string // host:port with a literal IP address, or "unix:" and a path
	Instance string // "" if the source names none
}

// A Spec is what a source says about an endpoint. Sources publish Specs; they are
// values and never modified after being published.
type Spec struct {
	ID
	// Host is the name to verify in TLS and to send as SNI (and as Host, where the
	// route asks for it); empty: the address itself.
	Host string
	// Weight is the share relative to the others; 0 means 1. Bounds: 1 to 1000 after that.
	Weight   int
	Zone     string
	Metadata map[string]string
}

// Equal reports whether both specs say the same.
func (s Spec) Equal(o Spec) bool {
	return s.ID == o.ID && s.Host == o.Host && s.Weight == o.Weight && s.Zone == o.Zone && maps.Equal(s.Metadata, o.Metadata)
}

// URL is the endpoint as an operator writes it: scheme://address.
func (s Spec) URL() string { return s.Scheme + "://" + s.Address }

// An Endpoint is the live state of one endpoint. It is safe for concurrent use. Begin
// and End are the only writers of its load; health decides Usable.
type Endpoint struct {
	id   ID
	hash uint64 // of the ID: where hashing policies place it
	spec atomic.Pointer[Spec]

	// Local is for the owner of the endpoint (the service that holds it): set before
	// the endpoint is shared, never changed afterwards.
	Local any

	weight   atomic.Int64
	usable   atomic.Bool
	inFlight atomic.Int64
	latency  latency
	counts   counts
}

// An Outcome tells End how an attempt went.
type Outcome struct {
	Now     time.Duration // instant of the end, on the clock given to Begin
	Latency time.Duration // from sending the request to the response head; 0: no response came
	Failed  bool          // the endpoint was at fault (client aborts are not)
}
