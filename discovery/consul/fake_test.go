package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// A fake is as much of a Consul agent as is used here. Its answers have the shape of
// those recorded from Consul 1.16.3. It listens in memory, so that it lives in a bubble
// of synctest, where hours take no time.
type fake struct {
	listen *fakes.Listener
	server *http.Server

	mu       sync.Mutex
	change   chan struct{} // closed and replaced at every change
	index    uint64
	services map[string]*service
	token    string
	frozen   bool   // answers nothing
	broken   string // what every answer is instead
	status   int    // of broken
	indexes  string // what is said as the index, if it is not the right one
	hidden   bool   // the token may read nothing
	hasty    bool   // blocking queries do not block
	calls    map[string]int
	leader   string
	writes   chan struct{} // of one place, for the registration that is written to the disk; nil: that takes no time
	asked    *http.Request // for a service, last
	extra    http.Header   // of every answer
}

const writeTime = 40 * time.Millisecond

// A service is one registered instance with its check.
type service struct {
	registration
	created uint64
	passing bool
	// maintenance is the id of the check that Consul makes for an operator; "": none.
	maintenance string
	ends        time.Time // of the check; zero: never
	node        string    // address of the node
	meta        map[string]string
}

func newFake(t *testing.T) *fake {
	f := &fake{leader: "10.0.0.1:8300", listen: fakes.NewListener(), calls: make(map[string]int)}
	f.reset()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health/service/{name}", f.health)
	mux.HandleFunc("GET /v1/status/leader", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		json.NewEncoder(w).Encode(f.leader)
	})
	mux.HandleFunc("PUT /v1/agent/service/register", f.register)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", f.deregister)
	mux.HandleFunc("PUT /v1/agent/check/pass/{id}", f.pass)
	f.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(data)))
		if f.ready(w, r) {
			mux.ServeHTTP(w, r)
		}
	})}
	go f.server.Serve(f.listen)
	t.Cleanup(func() { f.server.Close() })
	return f
}

// reset is a restart without data.
func (f *fake) reset() {
	f.do(func() { f.index, f.services = 10, make(map[string]*service) })
}

// do changes the fake.
func (f *fake) do(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	f.changed()
}

func (f *fake) changed() {
	f.index++
	if f.change != nil {
		close(f.change)
	}
	f.change = make(chan struct{})
}

// set registers a passing instance; without an address it goes.
func (f *fake) set(id, address string, weight int, meta map[string]string) {
	f.do(func() {
		if address == "" {
			delete(f.services, id)
			return
		}
		host, port, _ := net.SplitHostPort(address)
		s := &service{created: f.index, passing: true, node: "10.1.1.1"}
		if old := f.services[id]; old != nil {
			s.created = old.created
		}
		s.ID, s.Name, s.Address, s.Meta = id, "web", host, meta
		s.Port, _ = strconv.Atoi(port)
		s.Weights.Passing = weight
		f.services[id] = s
	})
}

func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[path]
}

// thaw waits while the fake is frozen, and reports whether the caller is still there.
func (f *fake) thaw(ctx context.Context) bool {
	for {
		f.mu.Lock()
		frozen, change := f.frozen, f.change
		f.mu.Unlock()
		if !frozen {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-change:
		}
	}
}

// ready reports whether the fake answers as it should.
func (f *fake) ready(w http.ResponseWriter, r *http.Request) bool {
	if !f.thaw(r.Context()) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	path, _, _ := strings.Cut(r.URL.Path[1:], "/web")
	f.calls[path]++
	if strings.HasPrefix(path, "v1/health") {
		f.asked = r
	}
	maps.Copy(w.Header(), f.extra)
	switch {
	case f.broken != "":
		w.WriteHeader(cmp.Or(f.status, 200))
		io.WriteString(w, f.broken)
	case r.Header.Get("X-Consul-Token") != f.token:
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "ACL not found")
	default:
		return true
	}
	return false
}

func (f *fake) expire() {
	for _, s := range f.services {
		if s.passing && !s.ends.IsZero() && !time.Now().Before(s.ends) {
			s.passing = false
			f.changed()
		}
	}
}

func (f *fake) health(w http.ResponseWriter, r *http.Request) {
	asked, _ := strconv.ParseUint(r.FormValue("index"), 10, 64)
	wait, _ := time.ParseDuration(r.FormValue("wait"))
	end := time.Now().Add(wait + wait/16)
	f.mu.Lock()
	for asked >= f.index && time.Now().Before(end) && !f.hasty {
		change := f.change
		f.mu.Unlock()
		select {
		case <-r.Context().Done():
			return
		case <-change:
		case <-time.After(min(time.Until(end), time.Second)): // a check may have expired
		}
		if !f.thaw(r.Context()) {
			return
		}
		f.mu.Lock()
		f.expire()
	}
	defer f.mu.Unlock()
	f.expire()
	list := make([]any, 0)
	for _, id := range slices.Sorted(maps.Keys(f.services)) {
		s := f.services[id]
		only := r.URL.Query().Has("passing")
		if s.Name != r.PathValue("name") || only && (!s.passing || s.maintenance != "") || f.hidden {
			continue
		}
		checks := []any{map[string]any{"CheckID": "serfHealth", "Status": "passing"}}
		if !s.passing {
			checks = append(checks, map[string]any{"CheckID": s.Check.CheckID, "Status": "critical"})
		}
		if s.maintenance != "" {
			checks = append(checks, map[string]any{"CheckID": s.maintenance, "Status": "critical"})
		}
		list = append(list, map[string]any{
			"Node": map[string]any{"ID": "0", "Node": "t1", "Address": s.node, "Datacenter": "dc1", "Meta": s.meta},
			"Service": map[string]any{"ID": s.ID, "Service": s.Name, "Tags": s.Tags, "Address": s.Address, "Meta": s.Meta, "Port": s.Port,
				"Weights": map[string]any{"Passing": s.Weights.Passing, "Warning": 1}, "CreateIndex": s.created, "ModifyIndex": f.index},
			"Checks": checks,
		})
	}
	w.Header().Set("X-Consul-Index", cmp.Or(f.indexes, fmt.Sprint(f.index)))
	w.Header().Set("X-Consul-KnownLeader", "false")
	if f.hidden && asked == 0 { // the streaming backend does not say it
		w.Header().Set("X-Consul-Results-Filtered-By-Acls", "true")
	}
	json.NewEncoder(w).Encode(list)
}

func (f *fake) register(w http.ResponseWriter, r *http.Request) {
	var in registration
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if f.writes != nil { // also for a client that has given up
		f.writes <- struct{}{}
		time.Sleep(writeTime)
		<-f.writes
	}
	ttl, _ := time.ParseDuration(in.Check.TTL)
	f.do(func() {
		f.services[in.ID] = &service{registration: in, created: f.index, passing: in.Check.Status == "passing", ends: time.Now().Add(ttl), node: "10.1.1.1"}
	})
}

func (f *fake) deregister(w http.ResponseWriter, r *http.Request) {
	f.do(func() { delete(f.services, r.PathValue("id")) })
}

func (f *fake) pass(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	for _, s := range f.services {
		if s.Check.CheckID == r.PathValue("id") {
			ttl, _ := time.ParseDuration(s.Check.TTL)
			if s.ends = time.Now().Add(ttl); !s.passing {
				s.passing = true
				f.changed()
			}
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintf(w, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", r.PathValue("id"))
}

// passing is the instance of an ID, if it is registered and its check passes.
func (f *fake) passing(id string) *service {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	if s := f.services[id]; s != nil && s.passing {
		return s
	}
	return nil
}
