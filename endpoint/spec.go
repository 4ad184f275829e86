package endpoint

// What a source says about an endpoint, and what makes two endpoints the same one.

import (
	"cmp"
	"maps"
)

// An ID is what makes two specs the same endpoint of a service: scheme, address and, if
// the source gives one, the instance.
type ID struct {
	Scheme   string // "http", "https" or "h2c": HTTP/2 without TLS
	Address  string // host:port with a literal IP address, or "unix:" and a path
	Instance string // "" if the source names none
}

// Compare orders IDs by scheme, address and instance, byte by byte: the order in which
// services list their endpoints. The result is as cmp.Compare's.
func (id ID) Compare(o ID) int {
	return cmp.Or(
		cmp.Compare(id.Scheme, o.Scheme),
		cmp.Compare(id.Address, o.Address),
		cmp.Compare(id.Instance, o.Instance),
	)
}

// Less reports whether id comes before o in the order of Compare.
func (id ID) Less(o ID) bool { return id.Compare(o) < 0 }

// String is scheme://address, and the instance after a '#' if there is one.
func (id ID) String() string {
	s := id.Scheme + "://" + id.Address
	if id.Instance != "" {
		s += "#" + id.Instance
	}
	return s
}

// hash is FNV-1a over the parts, each ended by its length in a form that no byte has, and a
// final mix (FNV alone leaves similar addresses close together in the upper bits). Several
// proxies must agree on it: it may never change.
func (id ID) hash() uint64 {
	const offset, prime = 0xcbf29ce484222325, 0x100000001b3
	h := uint64(offset)
	for _, part := range [...]string{id.Scheme, id.Address, id.Instance} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * prime
		}
		h = (h ^ (256 + uint64(len(part)))) * prime
	}
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// PriorityMax is the highest number of a fail-over group.
const PriorityMax = 15

// A Spec is what a source says about an endpoint. Sources publish Specs; they are
// values and never modified after being published.
type Spec struct {
	ID
	// Host is the name to verify in TLS and to send as SNI (and as Host, where the
	// route asks for it); empty: the address itself.
	Host string
	// Weight is the share relative to the other endpoints of the service, as the source
	// gives it: any positive number, also a fraction. 0 means 1, and so does a number that is
	// negative, infinite or none. Weights makes whole numbers of the weights of a set. A
	// source whose registry says weight 0 sets Out instead.
	Weight float64
	// Out means that the instance itself, or an operator, says that it takes no new requests:
	// it is disabled, in maintenance, shutting down, or has the weight 0. That counts at once.
	// An instance that the registry only concludes to be unhealthy (a check failed, it did not renew
	// its lease) is left out of the set instead, and a service may doubt that.
	Out  bool
	Zone string
	// Priority is its fail-over group, 0 to PriorityMax: the lower ones are used first.
	Priority int
	Metadata map[string]string
}

// Equal reports whether both specs say the same.
func (s Spec) Equal(o Spec) bool {
	return s.ID == o.ID && s.Host == o.Host && s.Weight == o.Weight && s.Out == o.Out &&
		s.Zone == o.Zone && s.Priority == o.Priority && maps.Equal(s.Metadata, o.Metadata)
}

// URL is the endpoint as an operator writes it: scheme://address.
func (s Spec) URL() string { return s.Scheme + "://" + s.Address }
