package poise

// keysSampled is how many keys Keys looks up: a share is exact to about half a percent.
const keysSampled = 10_000

// A Keyspace is how the keys of a service with consistent hashing are spread at this moment. Shares
// are from 0 to 1, of keys that were looked up, which are the same each time.
type Keyspace struct {
	Sampled int     `json:"sampled"` // 0: the policy gives keys no home
	Away    float64 `json:"away"`    // served by another endpoint than the one they belong to
	// Endpoints are all of the service, by ID.
	Endpoints []KeyShare `json:"endpoints"`
}

// A KeyShare is the part of one endpoint.
type KeyShare struct {
	Endpoint string  `json:"endpoint"` // its ID
	Owned    float64 `json:"owned"`    // they belong to it, whether it is usable or not
	Served   float64 `json:"served"`   // they are sent to it now
	Expected float64 `json:"expected"` // owned, if keys were spread exactly by weight
}

// Keys says how the keys of a service are spread over its endpoints. Nothing is sent. The error is
// ErrUnknownService.
func (p *Proxy) Keys(service string) (Keyspace, error) {
	svc, err := p.service(service)
	if err != nil {
		return Keyspace{}, err
	}
	out := Keyspace{Endpoints: []KeyShare{}}
	all, away := svc.Keys(keysSampled)
	if all == nil {
		return out, nil
	}
	out.Sampled, out.Away = keysSampled, away
	for _, e := range all {
		out.Endpoints = append(out.Endpoints, KeyShare{e.ID.String(), e.Owned, e.Served, e.Expected})
	}
	return out, nil
}
