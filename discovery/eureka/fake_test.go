package eureka

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// A fake is a server that answers as a real one does: shapes and rules are those of
// Spring Cloud Netflix 4.3.1.
type fake struct {
	mu      sync.Mutex
	apps    map[string]map[string]map[string]any // app, id, instance
	changes []map[string]any                     // newest state of each instance that changed
	changed map[string]time.Time                 // when; forgotten after three minutes
	history map[string]bool                      // every set that app WEB ever had
	now     int64

	noDelta  bool
	hash     string // instead of the right one in change lists
	status   int    // instead of an answer
	body     *string
	silent   chan struct{} // non-nil: no answer until it is closed
	drip     time.Duration // between two bytes
	cut      bool          // the connection breaks within the content
	requests []string
	auth     string // what Authorization must be
	serving  gate
}

func newFake() *fake {
	f := &fake{apps: make(map[string]map[string]map[string]any), history: make(map[string]bool), changed: make(map[string]time.Time)}
	f.note()
	return f
}

// serve runs f at addr until the test ends or the result is called.
func (f *fake) serve(t *testing.T, n *fakes.Network, addr string) (stop func()) {
	t.Helper()
	s := &http.Server{Handler: f}
	l := n.Listen(addr)
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	stop = sync.OnceFunc(func() {
		s.Close()
		<-done
		f.serving.wait()
	})
	t.Cleanup(stop)
	return stop
}

// set changes f's behaviour.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// count tells how many requests began with prefix, and forgets them all.
func (f *fake) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	f.requests = nil
	return n
}

func instance(app, id, ip string, port int, metadata map[string]string) map[string]any {
	return map[string]any{
		"instanceId": id, "hostName": ip, "app": app, "ipAddr": ip, "status": "UP", "overriddenStatus": "UNKNOWN",
		"port": map[string]any{"$": port, "@enabled": "true"}, "securePort": map[string]any{"$": 443, "@enabled": "false"},
		"countryId": 1, "metadata": metadata, "vipAddress": strings.ToLower(app), "isCoordinatingDiscoveryServer": "false",
		"dataCenterInfo": map[string]any{"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
	}
}

func (f *fake) put(in map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putLocked(in)
}

func (f *fake) putLocked(in map[string]any) {
	f.now++
	app, id := in["app"].(string), in["instanceId"].(string)
	in["lastUpdatedTimestamp"] = fmt.Sprint(f.now)
	in["actionType"] = "ADDED"
	if f.apps[app] == nil {
		f.apps[app] = make(map[string]map[string]any)
	}
	f.apps[app][id] = in
	f.change(in)
}

func (f *fake) remove(app, id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := maps.Clone(f.apps[app][id])
	if in == nil {
		return false
	}
	delete(f.apps[app], id)
	if len(f.apps[app]) == 0 {
		delete(f.apps, app)
	}
	in["actionType"] = "DELETED" // its status stays UP
	f.change(in)
	return true
}

func key(in map[string]any) string { return fmt.Sprint(in["app"], in["instanceId"]) }

func (f *fake) change(in map[string]any) {
	f.changed[key(in)] = time.Now()
	f.changes = slices.DeleteFunc(f.changes, func(o map[string]any) bool {
		return key(o) == key(in)
	})
	f.changes = append(f.changes, in)
	f.note()
}

// note keeps what a source of WEB may publish now.
func (f *fake) note() { f.history[f.oracle()] = true }

// oracle is the set of WEB, computed without the code under test.
func (f *fake) oracle() string {
	var out []string
	for _, in := range f.apps["WEB"] {
		if in["status"] != "UP" {
			out = append(out, fmt.Sprintf("http://%s:%v out", in["ipAddr"], in["port"].(map[string]any)["$"]))
		} else {
			out = append(out, fmt.Sprintf("http://%s:%v %s", in["ipAddr"], in["port"].(map[string]any)["$"], in["metadata"].(map[string]string)["zone"]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// shown is a set as oracle writes it.
func shown(u discovery.Update) string {
	var out []string
	for _, s := range u.Endpoints {
		if s.Out {
			out = append(out, s.URL()+" out")
			continue
		}
		out = append(out, s.URL()+" "+s.Zone)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (f *fake) hashNow() string {
	counts := make(map[string]int)
	for _, app := range f.apps {
		for _, in := range app {
			counts[in["status"].(string)]++
		}
	}
	out := ""
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		out += fmt.Sprintf("%s_%d_", status, counts[status])
	}
	return out
}

// list is the content of an answer.
func (f *fake) list(instances []map[string]any, hash string) []byte {
	byApp := make(map[string][]map[string]any)
	for _, in := range instances {
		byApp[in["app"].(string)] = append(byApp[in["app"].(string)], in)
	}
	apps := []any{}
	for name, all := range byApp {
		apps = append(apps, map[string]any{"name": name, "instance": all})
	}
	data, _ := json.Marshal(map[string]any{"applications": map[string]any{"versions__delta": "1", "apps__hashcode": hash, "application": apps}})
	return data
}

func (f *fake) answer(r *http.Request) (int, []byte) {
	content, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/eureka/apps")
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+path)
	if f.auth != "" && r.Header.Get("Authorization") != f.auth {
		f.mu.Unlock()
		return http.StatusUnauthorized, nil
	}
	if f.status != 0 || f.body != nil {
		defer f.mu.Unlock()
		if f.body != nil {
			return http.StatusOK, []byte(*f.body)
		}
		return f.status, nil
	}
	if r.Method == http.MethodGet {
		defer f.mu.Unlock()
		return f.get(path)
	}
	f.mu.Unlock()
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case r.Method == http.MethodPost:
		var in struct{ Instance map[string]any }
		json.Unmarshal(content, &in)
		metadata := make(map[string]string)
		for k, v := range in.Instance["metadata"].(map[string]any) {
			metadata[k] = v.(string)
		}
		in.Instance["metadata"] = metadata
		f.put(in.Instance)
		return http.StatusNoContent, nil
	case r.Method == http.MethodDelete && f.remove(parts[0], parts[1]):
		return http.StatusOK, nil
	case r.Method == http.MethodPut:
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.apps[parts[0]][parts[1]] != nil {
			return http.StatusOK, nil
		}
	}
	return http.StatusNotFound, nil
}

func (f *fake) get(path string) (int, []byte) {
	switch path {
	case "":
		var all []map[string]any
		for _, app := range f.apps {
			all = slices.AppendSeq(all, maps.Values(app))
		}
		return http.StatusOK, f.list(all, f.hashNow())
	case "/delta":
		if f.noDelta {
			return http.StatusForbidden, nil
		}
		hash := f.hashNow()
		if f.hash != "" {
			hash = f.hash
		}
		f.changes = slices.DeleteFunc(f.changes, func(in map[string]any) bool {
			return time.Since(f.changed[key(in)]) > 3*time.Minute
		})
		return http.StatusOK, f.list(f.changes, hash)
	}
	return http.StatusNotFound, nil
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.serving.enter()
	defer f.serving.leave()
	f.mu.Lock()
	silent, drip, cut := f.silent, f.drip, f.cut
	f.mu.Unlock()
	if silent != nil {
		select {
		case <-silent:
		case <-r.Context().Done():
			return
		}
	}
	status, data := f.answer(r)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.WriteHeader(status)
	if cut {
		w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}
	for len(data) > 0 && drip > 0 {
		if _, err := w.Write(data[:1]); err != nil || r.Context().Err() != nil {
			return
		}
		w.(http.Flusher).Flush()
		data = data[1:]
		time.Sleep(drip)
	}
	w.Write(data)
}

// A gate counts what runs, as a WaitGroup does, but may be entered while somebody waits.
type gate struct {
	mu   sync.Mutex
	none sync.Cond
	n    int
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.none.L = &g.mu
	g.n++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		g.none.Broadcast()
	}
}

func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n > 0 {
		g.none.Wait()
	}
}
