package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
)

var users = discovery.Instance{Service: "users", Address: "127.0.0.1:9001", Weight: 3, Zone: "z", Metadata: map[string]string{"version": "2"}}

func TestWhatNoRegistryWouldTake(t *testing.T) {
	consul := Config{Consul: &config.ConsulSource{}}
	for _, test := range []struct {
		c      Config
		change func(*discovery.Instance)
		want   string
	}{
		{consul, func(in *discovery.Instance) { in.Service = "" }, "names no service"},
		{consul, func(in *discovery.Instance) { in.Address = "10.0.0.1" }, "not host:port"},
		{consul, func(in *discovery.Instance) { in.Address = ":80" }, "not host:port"},
		{consul, func(in *discovery.Instance) { in.Address = "10.0.0.1:0" }, "no port"},
		{consul, func(in *discovery.Instance) { in.Address = "10.0.0.1:http" }, "no port"},
		{consul, func(in *discovery.Instance) { in.Address = "0.0.0.0:80" }, "every address"},
		{consul, func(in *discovery.Instance) { in.Address = "[::]:80" }, "every address"},
		{consul, func(in *discovery.Instance) { in.Scheme = "ftp" }, "neither http nor https"},
		{Config{}, nil, "there are 0"},
		{Config{Consul: &config.ConsulSource{}, Etcd: &config.EtcdSource{}}, nil, "there are 2"},
		{Config{Consul: &config.ConsulSource{}, Health: &config.Health{Check: "/x"}}, nil, "HEAD /x"},
		{Config{Consul: &config.ConsulSource{}, Health: &config.Health{Check: "GET /", Interval: -1}}, nil, "interval"},
		{Config{Etcd: &config.EtcdSource{Servers: []string{"127.0.0.1"}, TLS: &config.SourceTLS{CA: "/nonexistent"}}}, nil, "/nonexistent"},
		{Config{Nacos: &config.NacosSource{}}, nil, "nacos.servers: is missing"},
		{Config{Eureka: &config.EurekaSource{Servers: []string{"127.0.0.1:8761"}}}, nil, "eureka.servers[0]: a server is written as in http://"},
		{Config{Zookeeper: &config.ZookeeperSource{Servers: []string{"127.0.0.1"}, Path: "x"}}, nil, "slash"},
	} {
		in := users
		if test.change != nil {
			test.change(&in)
		}
		err := Run(t.Context(), test.c, in, func(err error) { t.Errorf("%s: reported %v", test.want, err) })
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

func TestName(t *testing.T) {
	for _, c := range []Config{{Etcd: &config.EtcdSource{}}, {Consul: &config.ConsulSource{}}, {Nacos: &config.NacosSource{}},
		{Eureka: &config.EurekaSource{}}, {Zookeeper: &config.ZookeeperSource{}}} {
		v := reflect.ValueOf(c)
		for i := range 5 {
			if !v.Field(i).IsNil() && !strings.EqualFold(v.Type().Field(i).Name, c.Name()) {
				t.Errorf("%s is called %s", v.Type().Field(i).Name, c.Name())
			}
		}
		if r, err := c.registrar(); err != nil || !strings.Contains(fmt.Sprintf("%T", r), c.Name()) {
			t.Errorf("%s: %T, %v", c.Name(), r, err)
		}
	}
	if (Config{}).Name() != "" {
		t.Error("no registry has a name")
	}
}

// An agent is as much of Consul's as registering needs.
type agent struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string // without heartbeats
	last  map[string]any
}

func newAgent(t *testing.T) *agent {
	a := &agent{}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	call := strings.TrimPrefix(r.URL.Path, "/v1/agent/")
	if strings.HasPrefix(call, "check/pass") {
		return
	}
	a.calls = append(a.calls, call)
	if call == "service/register" {
		a.last = nil
		if err := json.NewDecoder(r.Body).Decode(&a.last); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
	if r.Header.Get("X-Consul-Token") != "secret" {
		http.Error(w, "no", http.StatusForbidden)
	}
}

func (a *agent) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// An instance is announced with all there is to say about it, and removed at the end.
func TestAnnouncedAndRemoved(t *testing.T) {
	a := newAgent(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := Config{Consul: &config.ConsulSource{Server: a.URL, Token: "secret", Tag: "v1"}, TTL: time.Minute}
	reports := 0
	err := Run(ctx, c, users, func(err error) {
		if reports++; err != nil {
			t.Error(err)
		}
		cancel()
	})
	if err != nil || reports != 1 {
		t.Errorf("%v, %d reports", err, reports)
	}
	if got := a.take(); len(got) != 2 || got[0] != "service/register" || !strings.HasPrefix(got[1], "service/deregister/") {
		t.Errorf("%q", got)
	}
	for key, want := range map[string]any{"Name": "users", "Address": "127.0.0.1", "Port": 9001.0, "Tags": []any{"v1"},
		"Meta": map[string]any{"version": "2", "zone": "z"}, "Weights": map[string]any{"Passing": 3.0, "Warning": 1.0}} {
		if !reflect.DeepEqual(a.last[key], want) {
			t.Errorf("%s: %v, want %v", key, a.last[key], want)
		}
	}
	if check, _ := a.last["Check"].(map[string]any); check["TTL"] != "1m0s" {
		t.Errorf("check: %v", a.last["Check"])
	}
}

// A refusal is reported without what was refused.
func TestRefusalsDoNotRepeatSecrets(t *testing.T) {
	a := newAgent(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := Config{Consul: &config.ConsulSource{Server: a.URL, Token: "hunter2"}}
	err := Run(ctx, c, users, func(err error) {
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("reported %v", err)
		}
		cancel()
	})
	if err != nil {
		t.Error(err)
	}
}

// A place is a registrar that keeps a history of what was there, with its instants.
type place struct {
	t     *testing.T
	began time.Time
	mu    sync.Mutex
	there bool
	past  []string
	never error // what Run returns at once
	stuck error // what it returns in the end
}

func (p *place) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = append(p.past, fmt.Sprintf("%v ", time.Since(p.began).Round(time.Second))+fmt.Sprintf(format, args...))
}

func (p *place) Run(ctx context.Context, in discovery.Instance, report func(error)) error {
	if p.never != nil {
		return p.never
	}
	p.mu.Lock()
	if p.there {
		p.t.Error("announced twice at a time")
	}
	p.there = true
	p.mu.Unlock()
	report(nil)
	<-ctx.Done()
	time.Sleep(time.Second) // removing takes a while
	p.mu.Lock()
	p.there = false
	p.mu.Unlock()
	p.note("removed")
	return p.stuck
}

// answers are the statuses of an instance, one a probe; the last stays. 0: no connection.
type answers struct {
	mu   sync.Mutex
	list []int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	if status == 0 {
		return nil, errors.New("refused")
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// watched runs a probe over a list of answers for a time, and returns the history.
func watched(t *testing.T, p *place, statuses []int, lasts time.Duration) (past []string, err error) {
	synctest.Test(t, func(t *testing.T) {
		pr, e := newProbe(config.Health{Check: "HEAD /health", Interval: 10 * time.Second}, "http://"+users.Address)
		if e != nil {
			t.Fatal(e)
		}
		pr.client.Transport = &answers{list: statuses}
		p.t, p.began = t, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		err = pr.run(ctx, p, users, func(err error) {
			if err != nil {
				p.note("%v", err)
				return
			}
			p.note("announced")
		})
		if p.there {
			t.Error("still there")
		}
		past = p.past
	})
	// Probes are jittered: the history without its instants.
	for i := range past {
		_, past[i], _ = strings.Cut(past[i], " ")
	}
	return past, err
}

func TestAnnouncedWhileWell(t *testing.T) {
	down := `the instance is not well: HEAD http://127.0.0.1:9001/health: status 503`
	gone := `the instance is not well: Head "http://127.0.0.1:9001/health": refused`
	for name, test := range map[string]struct {
		statuses []int
		want     []string
	}{
		"well":                         {[]int{200}, []string{"announced", "removed"}},
		"a redirect is well":           {[]int{302}, []string{"announced", "removed"}},
		"two failures are none":        {[]int{200, 503, 503, 200, 503, 503, 200}, []string{"announced", "removed"}},
		"three are":                    {[]int{200, 503, 503, 503}, []string{"announced", "removed", down}},
		"it comes back":                {[]int{200, 0, 0, 0, 200}, []string{"announced", "removed", gone, "announced", "removed"}},
		"one success is not back":      {[]int{200, 0, 0, 0, 200, 0}, []string{"announced", "removed", gone}},
		"not well from the first":      {[]int{503}, []string{down}},
		"well after a start":           {[]int{0, 0, 200}, []string{gone, "announced", "removed"}},
		"unwell for long is told once": {[]int{0, 0, 0, 0, 0, 0, 0, 0}, []string{gone}},
	} {
		past, err := watched(t, &place{}, test.statuses, 3*time.Minute)
		if err != nil || !slices.Equal(past, test.want) {
			t.Errorf("%s: %q, %v, want %q", name, past, err, test.want)
		}
	}
}

// What can never be announced ends Run at once, and what could not be removed is reported.
func TestRegistrarsThatFail(t *testing.T) {
	never, stuck := errors.New("never"), errors.New("stuck")
	if past, err := watched(t, &place{never: never}, []int{200}, time.Hour); err != never || len(past) != 0 {
		t.Errorf("never: %q, %v", past, err)
	}
	past, err := watched(t, &place{stuck: stuck}, []int{200}, time.Minute)
	if err != stuck || !slices.Equal(past, []string{"announced", "removed"}) {
		t.Errorf("stuck at the end: %q, %v", past, err)
	}
	past, err = watched(t, &place{stuck: stuck}, []int{200, 0, 0, 0}, 2*time.Minute)
	if err != nil || len(past) != 3 || !strings.Contains(past[2], "refused") || !strings.Contains(past[2], "stuck") {
		t.Errorf("stuck in between: %q, %v", past, err)
	}
}

// A real instance, over TLS with a certificate that no authority has signed.
func TestProbesARealInstance(t *testing.T) {
	status := http.StatusOK
	var asked *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.WriteHeader(status)
	}))
	defer server.Close()
	p, err := newProbe(config.Health{Check: "GET /ready?deep=1", Host: "users.internal", Expect: []string{"204"}}, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "status 200") {
		t.Errorf("%v", err)
	}
	status = http.StatusNoContent
	if err := p.ask(t.Context()); err != nil {
		t.Error(err)
	}
	if asked.Method != "GET" || asked.RequestURI != "/ready?deep=1" || asked.Host != "users.internal" {
		t.Errorf("asked %s %s of %s", asked.Method, asked.RequestURI, asked.Host)
	}
}

// An instance behind a proxy that wants certificates of clients is well if the program there
// is.
func TestAsksTheProgramBehindAProxy(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") }))
	defer agent.Close()
	program := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer program.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	in := discovery.Instance{Service: "users", Scheme: "https", Address: closed.Listener.Addr().String()}
	for ask, want := range map[string]string{program.URL: "", program.URL + "/": "", "": "not well", closed.URL: "not well", "tcp://x": "", "http://x/y": ""} {
		ctx, cancel := context.WithCancel(t.Context())
		var first error
		err := Run(ctx, Config{Consul: &config.ConsulSource{Server: agent.URL}, Health: &config.Health{Check: "GET /"}, Ask: ask}, in,
			func(err error) { first = err; cancel() })
		cancel()
		wrong := ask == "tcp://x" || ask == "http://x/y"
		switch {
		case wrong != (err != nil):
			t.Errorf("%q: %v", ask, err)
		case !wrong && (want == "") != (first == nil), want != "" && !strings.Contains(first.Error(), want):
			t.Errorf("%q: reported %v, want %q", ask, first, want)
		}
	}
}
