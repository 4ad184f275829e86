package poise

import "time"

// Status is what a Proxy knows of its services at one moment.
type Status struct {
	Services []ServiceStatus `json:"services"` // by name
}

// ServiceStatus is one service.
type ServiceStatus struct {
	Name string `json:"name"`
	// Panic: so few endpoints are usable that health is not believed, and all are used.
	Panic     bool             `json:"panic"`
	Endpoints []EndpointStatus `json:"endpoints"` // by address
}

// EndpointStatus is one endpoint.
type EndpointStatus struct {
	URL      string        `json:"url"`
	Weight   int           `json:"weight"`
	State    string        `json:"state"`     // probing, healthy, ejected, half-open, draining
	Cause    string        `json:"cause"`     // who ejected it: probes or breaker; else empty
	InFlight int64         `json:"in_flight"` // attempts under way
	Latency  time.Duration `json:"latency"`   // smoothed, until the response head, in ns
	Attempts uint64        `json:"attempts"`  // since it was first named
	Failures uint64        `json:"failures"`
}

// Status reports the state of all services. It takes a lock of each for a moment.
func (p *Proxy) Status() Status {
	var s Status
	for _, svc := range p.core.Services() {
		one := ServiceStatus{Name: svc.Name(), Panic: svc.Panic()}
		for _, e := range svc.Snapshot() {
			one.Endpoints = append(one.Endpoints, EndpointStatus{
				URL:      e.Spec.URL(),
				Weight:   max(e.Spec.Weight, 1),
				State:    e.State.String(),
				Cause:    e.Cause.String(),
				InFlight: e.InFlight,
				Latency:  e.Latency,
				Attempts: e.Attempts,
				Failures: e.Failures,
			})
		}
		s.Services = append(s.Services, one)
	}
	return s
}
