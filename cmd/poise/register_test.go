package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestMistakesInRegister(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "secret"), "hunter2\n")
	users := []string{"--service", "users", "--address", "127.0.0.1:9001"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{users, "say where to announce with one of --etcd, --consul, --nacos, --eureka, --zookeeper"},
		{append([]string{"--etcd", "a", "--consul", "b"}, users...), "say where to announce"},
		{append([]string{"--kubernetes"}, users...), "pods are announced by Kubernetes itself"},
		{[]string{"--consul", "127.0.0.1:8500", "--address", "127.0.0.1:1"}, "--service NAME"},
		{[]string{"--consul", "127.0.0.1:8500", "--service", "users"}, "--address HOST:PORT"},
		{[]string{"--consul", "127.0.0.1:8500", "--service", "users", "--address", ":9001"}, "not host:port"},
		{[]string{"--nacos", "127.0.0.1:8848", "--service", "users", "--address", "localhost:9001"}, "must be an IP address"},
		{append([]string{"--eureka", "127.0.0.1:8761"}, users...), "eureka.servers[0]: a server is written as in http://127.0.0.1:8761/eureka"},
		{append([]string{"--consul", "http://u:hunter2@127.0.0.1"}, users...), "no user and no password"},
		{append([]string{"--consul", "127.0.0.1:8500", "--group", "g"}, users...), "--group is not for consul, but for nacos"},
		{append([]string{"--nacos", "127.0.0.1:8848", "--ttl", "5s"}, users...), "--ttl is not for nacos"},
		{append([]string{"--etcd", "127.0.0.1", "--ttl", "-5s"}, users...), "--ttl -5s: 0 or more"},
		{append([]string{"--consul", "127.0.0.1:8500", "--weight", "0"}, users...), "--weight 0: 1 to 1000"},
		{append([]string{"--consul", "127.0.0.1:8500", "--check", "/health"}, users...), "did you mean HEAD /health?"},
		{append([]string{"--consul", "127.0.0.1:8500", "--check-at", "http://127.0.0.1:1"}, users...), "say what, as in --check"},
		{append([]string{"--consul", "127.0.0.1:8500", "--check", "GET /", "--check-at", "127.0.0.1:1"}, users...), "that is http://host:port"},
		{append([]string{"--etcd", "127.0.0.1", "--password-file", "/nonexistent"}, users...), "--password-file: open /nonexistent"},
		{append([]string{"--etcd", "127.0.0.1", "--password-file", file}, users...), "there is no username"},
		{append([]string{"--etcd", "127.0.0.1", "--tls-ca", "/nonexistent"}, users...), "tls.ca: stat /nonexistent"},
		{append([]string{"--etcd", "127.0.0.1", "--meta", "version"}, users...), "version must be formatted as key=value"},
	} {
		code, stdout, stderr := call(append([]string{"register"}, c.args...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || stdout != "" || strings.Contains(stderr, "hunter2") {
			t.Errorf("%q: exit %d, %q %q, want %q", c.args, code, stdout, stderr, c.want)
		}
	}
}

// An agent is as much of Consul's as registering and finding one service needs.
type agent struct {
	*httptest.Server
	mu       sync.Mutex
	index    int
	changed  chan struct{}
	services map[string]json.RawMessage // by id
}

func newAgent(t *testing.T) *agent {
	a := &agent{index: 1, changed: make(chan struct{}), services: make(map[string]json.RawMessage)}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *agent) change(do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do()
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Consul-Token") != "hunter2" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case path == "agent/service/register":
		var in struct {
			ID, Name, Address string
			Port              int
			Tags              []string
			Meta              map[string]string
			Weights           map[string]int
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		service, _ := json.Marshal(in)
		entry := fmt.Sprintf(`{"Node": {"Node": "n", "Address": "127.0.0.1"}, "Service": %s, "Checks": []}`, service)
		a.change(func() { a.services[in.ID] = json.RawMessage(entry) })
	case strings.HasPrefix(path, "agent/service/deregister/"):
		a.change(func() { delete(a.services, strings.TrimPrefix(path, "agent/service/deregister/")) })
	case strings.HasPrefix(path, "health/service/"):
		a.mu.Lock()
		changed, index := a.changed, a.index
		a.mu.Unlock()
		if r.URL.Query().Get("index") == fmt.Sprint(index) {
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		list := []json.RawMessage{}
		for _, s := range a.services {
			list = append(list, s)
		}
		w.Header().Set("X-Consul-Index", fmt.Sprint(a.index))
		json.NewEncoder(w).Encode(list)
	}
}

func (a *agent) has() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.services)
}

// A service that is announced gets requests, is taken out while it is not well, and is
// removed at SIGTERM.
func TestRegisterAndRun(t *testing.T) {
	a := newAgent(t)
	var well atomic.Bool
	well.Store(true)
	users := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && !well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, "users")
	}))
	t.Cleanup(users.Close)
	token := write(t, filepath.Join(t.TempDir(), "token"), "hunter2\n")
	config := write(t, filepath.Join(t.TempDir(), "poise.yaml"), fmt.Sprintf(`version: 1
listen: ["127.0.0.1:0"]
services:
  users:
    source: {consul: {server: %q, service: users, token: "${file:%s}"}}
    guard: {max_removal: -1}
routes:
  - service: users
`, a.URL, token))

	r := launch(t, "register", "--consul", a.URL, "--token-file", token, "--service", "users", "--address", strings.TrimPrefix(users.URL, "http://"),
		"--weight", "3", "--zone", "z", "--meta", "version=2,team=a", "--tag", "v1", "--check", "HEAD /health", "--check-interval", "50ms")
	r.say(`(?m)^poise: announced 127\.0\.0\.1:\d+ of users in consul$`)
	p := ready(t, "run", "-c", config)
	await(t, "requests to be served", func() bool { got, err := fetch(p.urls[0]); return err == nil && got == "users" })

	well.Store(false)
	r.say(`not announced.*status 503`)
	await(t, "its end", func() bool { return a.has() == 0 })
	await(t, "requests to be refused", func() bool { _, err := fetch(p.urls[0]); return err != nil })
	well.Store(true)
	r.say(`announced again`)
	await(t, "requests to be served again", func() bool { got, err := fetch(p.urls[0]); return err == nil && got == "users" })

	r.signal(syscall.SIGHUP)
	r.signal(syscall.SIGTERM)
	r.exit(exitOK)
	if n := a.has(); n != 0 {
		t.Errorf("%d instances are left", n)
	}
	if strings.Count(r.out.String(), "poise: announced") != 1 || strings.Contains(r.out.String()+p.out.String(), "hunter2") {
		t.Errorf("said %s", r.out)
	}
	p.signal(syscall.SIGTERM)
	p.exit(exitOK)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no sign of %s", what)
		}
	}
}
