package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server is an API server in memory, as far as EndpointSlices of one namespace go, and
// the faults that a test asks for. It speaks HTTP/2 unless it is told otherwise.
type server struct {
	http      *http.Server
	protocols *http.Protocols
	calls     chan net.Conn
	stop      func()
	work      sync.WaitGroup // handlers
	pipes     []net.Conn     // guarded by mu

	mu       sync.Mutex
	revision int
	slices   map[string]map[string]any
	log      []record // since the first revision that watches may begin at
	oldest   int
	news     chan struct{} // closed at every change
	token    string        // "": none is asked for
	down     bool          // connections are refused
	pageSize int           // of lists from the storage; 0: they are whole
	mark     time.Duration // between bookmarks; 0: none but the last
	lists    int
	watches  int
	open     int      // watches
	kinds    []string // of lists
	dials    int
	last     http.Header
	fault    func(w http.ResponseWriter, r *http.Request, watch bool) bool // true: it has answered
	ends     chan struct{}                                                 // closed: watches end

	gates  sync.Mutex // apart from mu, which handlers hold while they write
	frozen chan bool  // closed when connections pass something again; nil: they do
}

type record struct {
	revision int
	kind     string
	object   map[string]any
}

// newServer starts a server, within a bubble: it is reached through pipes.
func newServer(t *testing.T) *server {
	s := &server{
		revision: 70, slices: make(map[string]map[string]any), news: make(chan struct{}), ends: make(chan struct{}), calls: make(chan net.Conn),
		protocols: new(http.Protocols), mark: time.Minute,
	}
	s.protocols.SetUnencryptedHTTP2(true)
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: log.New(io.Discard, "", 0), Protocols: both}
	done := make(chan bool)
	go func() { defer close(done); s.http.Serve(s) }()
	s.stop = func() {
		s.http.Close()
		<-done
		synctest.Wait() // for handlers that are about to begin
		s.work.Wait()
	}
	return s
}

// old makes clients of the server speak HTTP/1.1.
func (s *server) old() {
	s.protocols = new(http.Protocols)
	s.protocols.SetHTTP1(true)
}

// Accept, Close and Addr make the server its own listener.
func (s *server) Accept() (net.Conn, error) {
	if conn, ok := <-s.calls; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (s *server) Close() error   { close(s.calls); return nil }
func (s *server) Addr() net.Addr { return &net.TCPAddr{} }

func (s *server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	down := s.down
	s.dials++
	s.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case s.calls <- &gate{Conn: there, server: s, closed: make(chan struct{})}:
		s.mu.Lock()
		s.pipes = append(s.pipes, there)
		s.mu.Unlock()
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A gate is a connection that passes nothing while the server is frozen.
type gate struct {
	net.Conn
	server *server
	once   sync.Once
	closed chan struct{}
}

func (g *gate) wait() {
	g.server.gates.Lock()
	frozen := g.server.frozen
	g.server.gates.Unlock()
	if frozen == nil {
		return
	}
	select {
	case <-frozen:
	case <-g.closed:
	}
}

func (g *gate) Read(b []byte) (int, error)  { n, err := g.Conn.Read(b); g.wait(); return n, err }
func (g *gate) Write(b []byte) (int, error) { g.wait(); return g.Conn.Write(b) }
func (g *gate) Close() error                { g.once.Do(func() { close(g.closed) }); return g.Conn.Close() }

func (s *server) registry() *Registry {
	out := NewRegistry(Config{Server: "http://127.0.0.1:6443"})
	out.dial, out.protocols = s.dial, s.protocols
	return out
}

func (s *server) source() *Source { return s.registry().Source(ServiceConfig{Service: "web"}) }

// setDown has connections refused, and breaks those there are, or accepts them again.
func (s *server) setDown(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = is
	if is {
		for _, p := range s.pipes {
			p.Close()
		}
		s.pipes = nil
	}
}

// freeze has connections pass nothing any more, until thaw is called.
func (s *server) freeze() (thaw func()) {
	on := make(chan bool)
	s.gates.Lock()
	defer s.gates.Unlock()
	s.frozen = on
	return func() {
		s.gates.Lock()
		defer s.gates.Unlock()
		close(on)
		s.frozen = nil
	}
}

// cut ends all watches, those that are about to begin as well.
func (s *server) cut() {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ends)
	s.ends = make(chan struct{})
}

// set makes a slice of the service web.
func (s *server) set(name string, object map[string]any) { s.setOf("web", name, object) }

func (s *server) setOf(service, name string, object map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := "MODIFIED"
	if s.slices[name] == nil {
		kind = "ADDED"
	}
	s.change(kind, service, name, object)
	s.slices[name] = object
}

func (s *server) delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := make(map[string]any)
	for k, v := range s.slices[name] {
		object[k] = v
	}
	delete(s.slices, name)
	s.change("DELETED", serviceOf(object), name, object)
}

func serviceOf(object map[string]any) string {
	return object["metadata"].(map[string]any)["labels"].(map[string]any)["kubernetes.io/service-name"].(string)
}

func (s *server) change(kind, service, name string, object map[string]any) {
	s.revision++
	object["metadata"] = map[string]any{
		"name": name, "resourceVersion": fmt.Sprint(s.revision),
		"labels": map[string]any{"kubernetes.io/service-name": service},
	}
	s.log = append(s.log, record{s.revision, kind, object})
	close(s.news)
	s.news = make(chan struct{})
}

// compact forgets all changes so far.
func (s *server) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.oldest = nil, s.revision
}

func (s *server) setFault(f func(http.ResponseWriter, *http.Request, bool) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *server) count() (lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.watches
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","status":"Failure","message":%q,"code":%d}`, message, code)
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.work.Add(1)
	defer s.work.Done()
	q := r.URL.Query()
	watch := q.Get("watch") == "1"
	s.mu.Lock()
	if watch {
		s.watches++
	} else {
		s.lists++
	}
	s.last = r.Header
	fault, token := s.fault, s.token
	s.mu.Unlock()
	switch {
	case fault != nil && fault(w, r, watch):
		return
	case token != "" && r.Header.Get("Authorization") != "Bearer "+token:
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices" || q.Get("labelSelector") != "kubernetes.io/service-name":
		refuse(w, http.StatusNotFound, "not here")
		return
	}
	if watch {
		s.watch(w, r)
		return
	}
	s.list(w, r)
}

// list answers as the API server does: from its cache, which has no pages, or from its
// storage if no revision is asked for. Its cache is up to date.
func (s *server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var at int
	fmt.Sscan(q.Get("resourceVersion"), &at)
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := "exact"
	switch {
	case q.Get("continue") != "":
		kind = "continue"
	case q.Get("resourceVersion") == "0":
		kind = "any"
	case at > 0:
		kind = "notOlder"
	}
	s.kinds = append(s.kinds, kind)
	if at > s.revision {
		refuse(w, http.StatusGatewayTimeout, "Too large resource version")
		return
	}
	names := slices.Sorted(maps.Keys(s.slices))
	more := ""
	if size := s.pageSize; size > 0 && q.Get("limit") != "" && q.Get("resourceVersion") == "" {
		var from, revision int
		fmt.Sscanf(q.Get("continue"), "%d-%d", &revision, &from)
		if revision != 0 && revision < s.oldest {
			refuse(w, http.StatusGone, "The provided continue parameter is too old")
			return
		}
		if names = names[from:]; len(names) > size {
			names, more = names[:size], fmt.Sprintf("%d-%d", s.revision, from+size)
		}
	}
	items := []any{}
	for _, name := range names {
		items = append(items, s.slices[name])
	}
	json.NewEncoder(w).Encode(map[string]any{
		"kind": "EndpointSliceList", "metadata": map[string]any{"resourceVersion": fmt.Sprint(s.revision), "continue": more}, "items": items,
	})
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	var at, seconds int
	fmt.Sscan(r.URL.Query().Get("resourceVersion"), &at)
	fmt.Sscan(r.URL.Query().Get("timeoutSeconds"), &seconds)
	end := time.After(time.Duration(seconds) * time.Second)
	s.mu.Lock()
	ends, mark := s.ends, s.mark
	s.open++
	defer func() { s.mu.Lock(); s.open--; s.mu.Unlock() }()
	if at > s.revision { // from the future: no answer at all
		s.mu.Unlock()
		<-r.Context().Done()
		return
	}
	old := at < s.oldest
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	if old {
		fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version: 2 (85)","reason":"Expired","code":410}}`)
		return
	}
	w.(http.Flusher).Flush()
	out := json.NewEncoder(w)
	bookmark := func(now int) {
		fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"kind":"EndpointSlice","metadata":{"resourceVersion":"%d"},"endpoints":null,"ports":null}}`+"\n", now)
	}
	var marks <-chan time.Time
	if mark > 0 {
		ticker := time.NewTicker(mark)
		defer ticker.Stop()
		marks = ticker.C
	}
	for {
		s.mu.Lock()
		news := s.news
		for _, c := range s.log {
			if c.revision > at {
				at = c.revision
				out.Encode(map[string]any{"type": c.kind, "object": c.object})
			}
		}
		now := s.revision
		s.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-news:
		case <-marks:
			bookmark(now)
		case <-end:
			bookmark(now)
			return
		case <-ends:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// sliceOf makes a slice with one port and endpoints that are ready.
func sliceOf(port int, addresses ...string) map[string]any {
	var pods []any
	for _, a := range addresses {
		pods = append(pods, map[string]any{"addresses": []string{a}, "conditions": map[string]any{"ready": true, "serving": true, "terminating": false}, "zone": "a"})
	}
	return map[string]any{
		"addressType": "IPv4", "endpoints": pods,
		"ports": []any{map[string]any{"name": "", "port": port, "protocol": "TCP"}},
	}
}
