package admin

// The stream: what the page shows, as it happens, by Server-Sent Events. A page reads it with
// fetch, since EventSource cannot send a token.
//
//	event: hello    once: the Overview
//	event: tick     each second: rates of services and routes, and of the endpoints of ?service
//	event: event    one poise.Event, with its number as id; ?after or Last-Event-ID resumes
//	: (a comment)   every 15 s, so that a connection that has died is noticed
//
// Figures are read once a second for all viewers, and only while there is one.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/poise-lb/poise"
)

const (
	viewersMax = 16
	tickEvery  = time.Second
	quietMost  = 15 * time.Second
	writeFor   = 5 * time.Second // a viewer that does not read for so long is cut off
)

// A Tick is what happened since the tick before.
type Tick struct {
	At       time.Time        `json:"at"`
	Total    Rates            `json:"total"`
	Services map[string]Rates `json:"services"`
	Routes   map[string]Rates `json:"routes"` // by name; "": requests that found none
	// Detail is the service that the viewer has asked for, with its endpoints.
	Detail   *poise.ServiceStatus     `json:"detail,omitempty"`
	Figures  map[string]EndpointRates `json:"endpoints,omitempty"` // of Detail, by label
	Problems []Complaint              `json:"problems"`
	States   map[string][]string      `json:"states"` // of each service: the words of its endpoints' states
	// Overrides is how many are in force, those of absent endpoints included.
	Overrides int `json:"overrides"`
}

// EndpointRates are those of an endpoint.
type EndpointRates struct {
	Rates
	Share    float64 `json:"share"`
	Expected float64 `json:"expected"`
}

// A hub reads figures for all viewers.
type hub struct {
	proxy *poise.Proxy

	mu      sync.Mutex
	viewers map[*viewer]bool
	stop    chan struct{} // closed when the last viewer has left; nil: none is there
}

type viewer struct {
	service string // "": no endpoints
	ticks   chan *reading
}

// A reading is what ticks are made of.
type reading struct {
	now, before *figures
	status      poise.Status
	overrides   int
}

func (h *hub) init(p *poise.Proxy) { h.proxy, h.viewers = p, make(map[*viewer]bool) }

// join adds a viewer; ok false: there are as many as there may be.
func (h *hub) join(v *viewer) (ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) >= viewersMax {
		return false
	}
	h.viewers[v] = true
	if h.stop == nil {
		h.stop = make(chan struct{})
		go h.run(h.stop)
	}
	return true
}

func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, v)
	if len(h.viewers) == 0 {
		close(h.stop)
		h.stop = nil
	}
}

// run reads figures until stop is closed. It ends with the last viewer.
func (h *hub) run(stop chan struct{}) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	before := h.read().now
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		r := h.read()
		r.before, r.overrides, before = before, len(h.proxy.Overrides()), r.now
		h.mu.Lock()
		for v := range h.viewers {
			select {
			case v.ticks <- r:
			default: // it has not taken the last one: this one is left out
			}
		}
		h.mu.Unlock()
	}
}

// read reads the figures and the state; what was before is missing in it.
func (h *hub) read() *reading {
	r := &reading{now: read(h.proxy, h.wanted()...), status: h.proxy.Status()}
	r.now.readAttempts(h.proxy, r.status.Services)
	return r
}

// wanted are the services whose endpoints some viewer has asked for.
func (h *hub) wanted() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.viewers {
		if v.service != "" {
			names = append(names, v.service)
		}
	}
	return names
}

func (a *api) stream(w http.ResponseWriter, r *http.Request) {
	v := &viewer{service: r.FormValue("service"), ticks: make(chan *reading, 1)}
	if !a.hub.join(v) {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d viewers are there already", viewersMax))
		return
	}
	defer a.hub.leave(v)
	last, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		last, _ = strconv.ParseUint(r.FormValue("after"), 10, 64)
	}
	out := feed{w: w, ctl: http.NewResponseController(w)}
	out.ctl.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // for an nginx in front
	s := a.proxy.Status()
	out.send("hello", 0, a.overview(&s, clientOf(r)))
	quiet := time.NewTicker(quietMost)
	defer quiet.Stop()
	for out.err == nil {
		events, more := a.proxy.Events(last)
		for i := range events {
			last = events[i].ID
			out.send("event", last, &events[i])
		}
		if out.err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-more:
		case reading := <-v.ticks:
			out.send("tick", 0, reading.tick(v.service))
		case <-quiet.C:
			out.write([]byte(": \n\n"))
		}
	}
}

// tick is what one viewer gets.
func (r *reading) tick(service string) Tick {
	took := r.now.at.Sub(r.before.at)
	t := Tick{
		At: r.now.at, Services: make(map[string]Rates), Routes: make(map[string]Rates),
		Problems: complaints(&r.status), States: make(map[string][]string), Overrides: r.overrides,
	}
	var all, old Sums
	for name, s := range r.now.services {
		was := r.before.services[name]
		t.Services[name] = s.since(was, took, r.now.bounds)
		all.add(s)
		if was != nil {
			old.add(was)
		}
	}
	t.Total = all.since(&old, took, r.now.bounds)
	for name, s := range r.now.attempts { // of services within those above: no part of the total
		t.Services[name] = s.since(r.before.attempts[name], took, r.now.bounds)
	}
	for name, s := range r.now.routes {
		t.Routes[name] = s.since(r.before.routes[name], took, r.now.bounds)
	}
	for i := range r.status.Services {
		s := &r.status.Services[i]
		words := make([]string, len(s.Endpoints))
		for k := range s.Endpoints {
			words[k] = shown(&s.Endpoints[k])
		}
		t.States[s.Name] = words
	}
	if t.Detail = find(r.status.Services, service); t.Detail != nil {
		t.Figures = r.endpoints(t.Detail, took)
	}
	return t
}

// endpoints are the rates of the endpoints of a service.
func (r *reading) endpoints(s *poise.ServiceStatus, took time.Duration) map[string]EndpointRates {
	out := make(map[string]EndpointRates, len(s.Endpoints))
	all := 0.0
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		key := endpointKey{s.Name, e.Label}
		var one EndpointRates
		if sums := r.now.endpoints[key]; sums != nil {
			before := r.before.endpoints[key]
			if before == nil {
				before = sums // it was not read before
			}
			one.Rates = sums.since(before, took, r.now.bounds)
		}
		all += one.Requests
		out[e.Label] = one
	}
	expected := expectedOf(s, func(label string) float64 { return out[label].Requests })
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		one := out[e.Label]
		if all > 0 {
			one.Share = one.Requests / all
		}
		one.Expected = expected(e)
		out[e.Label] = one
	}
	return out
}

// add adds o to s.
func (s *Sums) add(o *Sums) {
	s.Requests += o.Requests
	s.Errors += o.Errors
	s.InFlight += o.InFlight
	if s.Buckets == nil {
		s.Buckets = make([]uint64, len(o.Buckets))
	}
	for i := range min(len(s.Buckets), len(o.Buckets)) {
		s.Buckets[i] += o.Buckets[i]
	}
}

// A feed writes Server-Sent Events.
type feed struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	err error
}

// send writes one event; id 0: it has none.
func (f *feed) send(kind string, id uint64, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		f.err = err
		return
	}
	text := "event: " + kind + "\n"
	if id > 0 {
		text += fmt.Sprintf("id: %d\n", id)
	}
	f.write([]byte(text + "data: " + string(data) + "\n\n"))
}

func (f *feed) write(data []byte) {
	if f.err != nil {
		return
	}
	f.ctl.SetWriteDeadline(time.Now().Add(writeFor))
	if _, f.err = f.w.Write(data); f.err == nil {
		f.err = f.ctl.Flush()
	}
}
