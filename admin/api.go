package admin

import (
	_ "embed"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/poise-lb/poise"
)

// An Overview is the answer of /api/v1/status.
type Overview struct {
	Version    string      `json:"version"`
	Go         string      `json:"go"`
	Engine     string      `json:"engine"`
	Started    time.Time   `json:"started"`
	Generation uint64      `json:"generation"` // of the configuration in force; also the ETag of every answer
	Applied    time.Time   `json:"applied"`
	Origin     string      `json:"origin,omitempty"`  // where the configuration is from
	Refusal    string      `json:"refusal,omitempty"` // why the latest configuration was refused
	Draining   bool        `json:"draining"`
	Load       poise.Load  `json:"load"`
	Role       Role        `json:"role"` // of the client that asks
	Services   int         `json:"services"`
	Routes     int         `json:"routes"`
	Problems   []Complaint `json:"problems"` // what is wrong now, the worst first
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	s := a.proxy.Status()
	answer(w, http.StatusOK, a.overview(&s, clientOf(r)))
}

func (a *api) overview(s *poise.Status, c Client) Overview {
	conf := a.proxy.Config()
	return Overview{
		Version: s.Version, Go: runtime.Version(), Engine: s.Engine, Started: s.Started,
		Generation: s.Generation, Applied: s.Applied, Origin: a.origin(s.Generation), Refusal: s.Refusal,
		Draining: s.Draining, Load: s.Load, Role: c.Role,
		Services: len(s.Services), Routes: len(conf.Routes), Problems: complaints(s),
	}
}

// A ServiceView is a service with what was counted of it.
type ServiceView struct {
	poise.ServiceStatus
	Counts
}

// Counts are those since the proxy began.
type Counts struct {
	Requests uint64  `json:"requests"` // that ended
	Errors   uint64  `json:"errors"`   // of status 5xx, or without a response head
	InFlight int64   `json:"in_flight"`
	P50      float64 `json:"p50"` // seconds
	P99      float64 `json:"p99"` // seconds
}

func countsOf(s *Sums, bounds []float64) Counts {
	if s == nil {
		return Counts{}
	}
	return Counts{s.Requests, s.Errors, s.InFlight, quantile(bounds, s.Buckets, 0.5), quantile(bounds, s.Buckets, 0.99)}
}

func (a *api) services(w http.ResponseWriter, _ *http.Request) {
	s, f := a.proxy.Status(), read(a.proxy)
	f.readAttempts(a.proxy, s.Services)
	all := make([]ServiceView, len(s.Services))
	for i, one := range s.Services {
		all[i] = ServiceView{one, countsOf(f.of(one.Name), f.bounds)}
	}
	answer(w, http.StatusOK, map[string]any{"generation": s.Generation, "services": all})
}

// An EndpointView is an endpoint with what was counted of it.
type EndpointView struct {
	poise.EndpointStatus
	Share    float64 `json:"share"`    // of the attempts of its service, 0 to 1
	Expected float64 `json:"expected"` // by its weight among those that are usable, and the share of its place
	P50      float64 `json:"p50"`      // seconds to the response head
	P99      float64 `json:"p99"`
}

// A ServiceDetail is a service with what was counted of its endpoints.
type ServiceDetail struct {
	ServiceView
	Endpoints []EndpointView `json:"endpoints"`
}

func (a *api) service(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("service")
	s := a.proxy.Status()
	one := find(s.Services, name)
	if one == nil {
		unknownService(w, s.Services, name)
		return
	}
	f := read(a.proxy, name)
	f.readAttempts(a.proxy, []poise.ServiceStatus{*one})
	answer(w, http.StatusOK, ServiceDetail{ServiceView{*one, countsOf(f.of(name), f.bounds)}, endpointViews(one, f)})
}

// endpointViews are the endpoints of a service with their shares.
func endpointViews(s *poise.ServiceStatus, f *figures) []EndpointView {
	var attempts uint64
	expected := expectedOf(s, func(label string) float64 {
		if sums := f.endpoints[endpointKey{s.Name, label}]; sums != nil {
			return float64(sums.Requests)
		}
		return 0
	})
	for key, sums := range f.endpoints {
		if key.service == s.Name {
			attempts += sums.Requests
		}
	}
	all := make([]EndpointView, len(s.Endpoints))
	for i := range s.Endpoints {
		e := EndpointView{EndpointStatus: s.Endpoints[i]}
		if sums := f.endpoints[endpointKey{s.Name, e.Label}]; sums != nil {
			if attempts > 0 {
				e.Share = float64(sums.Requests) / float64(attempts)
			}
			e.P50, e.P99 = quantile(f.bounds, sums.Buckets, 0.5), quantile(f.bounds, sums.Buckets, 0.99)
		}
		e.Expected = expected(&e.EndpointStatus)
		all[i] = e
	}
	return all
}

// expectedOf returns what the share of an endpoint would be by weight alone: its part of the weights of
// the usable ones, or of those of its place, of which the place has its share. Which requests ask for
// which lane no weight says: there it is the part of what the endpoints of the lane have had, by requests.
func expectedOf(s *poise.ServiceStatus, requests func(label string) float64) func(e *poise.EndpointStatus) float64 {
	type group struct{ lane, place string }
	weights, places := make(map[group]float64), map[string]float64{"": 1}
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.Usable {
			weights[group{e.Lane, e.Place}] += weightOf(e)
		}
	}
	if s.Places != nil {
		places[""] = 0
	}
	for i := range s.Places {
		places[s.Places[i].Name] = s.Places[i].Share
	}
	within := func(e *poise.EndpointStatus) float64 {
		if !e.Usable {
			return 0
		}
		return places[e.Place] * weightOf(e) / weights[group{e.Lane, e.Place}]
	}
	if len(s.Lanes) == 0 {
		return within
	}
	had, parts, all := make(map[string]float64), make(map[string]float64), 0.0 // by lane
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		n := requests(e.Label)
		had[e.Lane] += n
		parts[e.Lane] += within(e)
		all += n
	}
	return func(e *poise.EndpointStatus) float64 {
		if all == 0 || parts[e.Lane] == 0 {
			return 0
		}
		return had[e.Lane] / all * within(e) / parts[e.Lane]
	}
}

// weightOf is the weight in force: an operator's goes before the source's.
func weightOf(e *poise.EndpointStatus) float64 {
	for _, o := range e.Overrides {
		if o.Kind == "weight" {
			return o.Weight
		}
	}
	return e.Weight
}

// A RouteView is a route of the configuration with what was counted of it.
type RouteView struct {
	Index   int      `json:"index"`
	Name    string   `json:"name"` // its identity: its name, or what it matches
	Host    string   `json:"host,omitempty"`
	Path    string   `json:"path,omitempty"`
	Methods []string `json:"methods,omitempty"`
	GRPC    string   `json:"grpc,omitempty"` // gRPC calls, in place of path and methods
	Service string   `json:"service"`        // or those of a split, with commas; or the entry of discover
	Counts
}

func (a *api) routes(w http.ResponseWriter, _ *http.Request) {
	c, f := a.proxy.Config(), read(a.proxy)
	all := make([]RouteView, len(c.Routes))
	for i, r := range c.Routes {
		all[i] = RouteView{i, r.Identity(), r.Match.Host, r.Match.Path, r.Match.Methods, r.Match.GRPC, r.Leads(), countsOf(f.routes[r.Identity()], f.bounds)}
	}
	answer(w, http.StatusOK, map[string]any{"routes": all, "unmatched": countsOf(f.routes[""], f.bounds)})
}

// events answers with the events after ?after, of ?service if it is given.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
	if text := r.FormValue("after"); err != nil && text != "" {
		refuse(w, http.StatusBadRequest, "after="+clip(text)+" is no number of an event")
		return
	}
	all, _ := a.proxy.Events(after)
	out := make([]poise.Event, 0, len(all))
	for _, e := range all {
		if s := r.FormValue("service"); s == "" || s == e.Service {
			out = append(out, e)
		}
	}
	answer(w, http.StatusOK, map[string]any{"events": out})
}

// A ConfigValue is one value of the effective configuration.
type ConfigValue struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin string `json:"origin,omitempty"` // file:line:column, or default; "": not known
}

func (a *api) config(w http.ResponseWriter, _ *http.Request) {
	values := a.proxy.Config().Values()
	out, place := make([]ConfigValue, len(values)), a.placer()
	for i, v := range values {
		out[i] = ConfigValue{Path: v.Path, Value: v.Value}
		if place == nil {
			continue
		}
		if out[i].Origin = place(v.Path); out[i].Origin == "" {
			out[i].Origin = "default"
		}
	}
	now := a.proxy.Generation()
	answer(w, http.StatusOK, map[string]any{"generation": now, "origin": a.origin(now), "values": out})
}

//go:embed openapi.yaml
var description string

func (a *api) description(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	io.WriteString(w, description)
}

func find(all []poise.ServiceStatus, name string) *poise.ServiceStatus {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}
