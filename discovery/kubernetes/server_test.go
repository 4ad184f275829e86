package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server is an API server in memory, as far as EndpointSlices of one service go, and
// the faults that a test asks for.
type server struct {
	http  *http.Server
	calls chan net.Conn
	stop  func()
	work  sync.WaitGroup // handlers
	pipes []net.Conn     // guarded by mu

	mu       sync.Mutex
	revision int
	slices   map[string]map[string]any
	log      []change // since the first revision that watches may begin at
	oldest   int
	news     chan struct{} // closed at every change
	token    string        // "": none is asked for
	down     bool          // connections are refused
	lists    int
	watches  int
	last     http.Header
	fault    func(w http.ResponseWriter, r *http.Request, watch bool) bool // true: it has answered
	ends     chan struct{}                                                 // closed: watches end
	frozen   chan bool                                                     // closed when the server answers again; nil: it does
}

type change struct {
	revision int
	kind     string
	object   map[string]any
}

const selector = "kubernetes.io/service-name=web"

// newServer starts a server, within a bubble: it is reached through pipes.
func newServer(t *testing.T) *server {
	s := &server{revision: 70, slices: make(map[string]map[string]any), news: make(chan struct{}), ends: make(chan struct{}), calls: make(chan net.Conn)}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: log.New(io.Discard, "", 0)}
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
	s.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case s.calls <- there:
		s.mu.Lock()
		s.pipes = append(s.pipes, there)
		s.mu.Unlock()
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *server) source() *Source {
	out := New(Config{Server: "http://127.0.0.1:6443", Service: "web"})
	out.dial = s.dial
	return out
}

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

// freeze has nothing answered any more, nor watches say anything, until thaw is called.
func (s *server) freeze() (thaw func()) {
	on := make(chan bool)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = on
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(on)
		s.frozen = nil
	}
}

// hold waits while the server is frozen.
func (s *server) hold(r *http.Request) {
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if frozen == nil {
		return
	}
	select {
	case <-frozen:
	case <-r.Context().Done():
	}
}

// cut ends all watches.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ends)
	s.ends = make(chan struct{})
}

func (s *server) set(name string, object map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := "MODIFIED"
	if s.slices[name] == nil {
		kind = "ADDED"
	}
	s.change(kind, name, object)
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
	s.change("DELETED", name, object)
}

func (s *server) change(kind, name string, object map[string]any) {
	s.revision++
	object["metadata"] = map[string]any{"name": name, "resourceVersion": fmt.Sprint(s.revision)}
	s.log = append(s.log, change{s.revision, kind, object})
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
	s.hold(r)
	switch {
	case fault != nil && fault(w, r, watch):
		return
	case token != "" && r.Header.Get("Authorization") != "Bearer "+token:
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices" || q.Get("labelSelector") != selector:
		refuse(w, http.StatusNotFound, "not here")
		return
	}
	if watch {
		s.watch(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []any{}
	for _, object := range s.slices {
		items = append(items, object)
	}
	json.NewEncoder(w).Encode(map[string]any{
		"kind": "EndpointSliceList", "metadata": map[string]any{"resourceVersion": fmt.Sprint(s.revision)}, "items": items,
	})
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	var at, seconds int
	fmt.Sscan(r.URL.Query().Get("resourceVersion"), &at)
	fmt.Sscan(r.URL.Query().Get("timeoutSeconds"), &seconds)
	end := time.After(time.Duration(seconds) * time.Second)
	s.mu.Lock()
	ends := s.ends
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
			s.hold(r)
		case <-end:
			s.hold(r)
			fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"kind":"EndpointSlice","metadata":{"resourceVersion":"%d"},"endpoints":null,"ports":null}}`+"\n", now)
			return
		case <-ends:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// object makes a slice with one port and endpoints that are ready.
func object(port int, addresses ...string) map[string]any {
	var pods []any
	for _, a := range addresses {
		pods = append(pods, map[string]any{"addresses": []string{a}, "conditions": map[string]any{"ready": true, "serving": true, "terminating": false}, "zone": "a"})
	}
	return map[string]any{
		"addressType": "IPv4", "endpoints": pods,
		"ports": []any{map[string]any{"name": "", "port": port, "protocol": "TCP"}},
	}
}
