package poise

// What a Proxy knows of itself at one moment. What it knows of services, endpoints and sources, which is
// part of that, is in status_service.go, status_endpoint.go and status_source.go.

import (
	"time"

	"github.com/poise-lb/poise/internal/front"
)

// Status is what a Proxy knows of its services at one moment.
type Status struct {
	Version string    `json:"version"` // of this module; (devel) for a build of a source tree
	Engine  string    `json:"engine"`  // what serves the connections that Serve accepts
	Started time.Time `json:"started"`
	// Generation is the number of the configuration in force, from 1, and Applied when it was
	// applied. Refusal is why the latest configuration was refused; empty: it was not.
	Generation uint64    `json:"generation"`
	Applied    time.Time `json:"applied"`
	Refusal    string    `json:"refusal,omitempty"`

	// Draining: Drain or Close was called.
	Draining bool `json:"draining"`
	// Totals are about all requests since New.
	Totals Totals `json:"totals"`
	// AccessLogLost are lines of the access log that were lost since New, because they could
	// not be written or came faster than that.
	AccessLogLost uint64 `json:"access_log_lost"`
	// Load is how much of what Config.Limits bounds is in use.
	Load     Load            `json:"load"`
	Services []ServiceStatus `json:"services"` // by name
}

// Totals count requests that have ended and the content they moved.
type Totals struct {
	// Requests by the class of the status that the client got: at 2 those of 200 to 299, and
	// so on. At 0 are those that got none, because the client left before.
	Requests [6]uint64 `json:"requests"`
	BytesIn  uint64    `json:"bytes_in"`  // content received from clients
	BytesOut uint64    `json:"bytes_out"` // content sent to clients
}

// Load counts connections and requests; the latter four numbers are since New.
type Load struct {
	Clients      int64 `json:"clients"`       // connections of clients that Serve has accepted
	ClientsLimit int64 `json:"clients_limit"` // how many there may be; 0: any number
	Endpoints    int64 `json:"endpoints"`     // connections to endpoints, idle ones included
	InFlight     int64 `json:"in_flight"`     // requests; counted while Limits.InFlight is set

	Waits     uint64 `json:"waits"`     // accepts put off: ClientsLimit was reached
	Refused   uint64 `json:"refused"`   // connections closed: their client had ConnectionsPerClient
	Overloads uint64 `json:"overloads"` // requests refused: InFlight was reached
	Shortages uint64 `json:"shortages"` // connections to endpoints not made: no descriptor was left
}

// Status reports the state of all services, discovered ones included. It takes a lock of
// each for a moment.
func (p *Proxy) Status() Status {
	core := p.server.Core()
	totals, reloads := core.Totals(), core.Reloads()
	s := Status{
		Version: front.Version(), Engine: p.server.Engine(), Started: p.server.Epoch(),
		Generation: reloads.Generation, Applied: p.server.Time(reloads.At),
		Draining: core.Draining(), AccessLogLost: p.server.AccessLogLost(),
		Load:   p.load(),
		Totals: Totals{Requests: totals.Classes, BytesIn: totals.BytesIn, BytesOut: totals.BytesOut},
	}
	if reloads.Refusal != nil {
		s.Refusal = reloads.Refusal.Error()
	}
	for _, svc := range core.Services() {
		s.Services = append(s.Services, p.serviceStatus(core.Config(), svc))
	}
	return s
}

func (p *Proxy) load() Load {
	c := p.server.Core().Admission().Counts()
	return Load{
		Clients: c.Clients, ClientsLimit: c.Most, Endpoints: c.Endpoints, InFlight: c.Requests,
		Waits: c.Waits, Refused: c.Refused, Overloads: c.Overloads, Shortages: c.Shortages,
	}
}
