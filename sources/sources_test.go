package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/internal/sources"
	"github.com/poise-lb/poise/internal/tags"
)

// An eurekaServer answers as Eureka does, and counts.
type eurekaServer struct {
	*httptest.Server
	asked   atomic.Int64
	mu      sync.Mutex
	logins  map[string]int
	content string
}

func newEureka(t *testing.T, apps int) *eurekaServer {
	var list []string
	for i := range apps {
		list = append(list, fmt.Sprintf(`{"name": "APP%d", "instance": [{"instanceId": "i", "app": "APP%d", "ipAddr": "10.0.0.1", "status": "UP",
			"port": {"$": %d, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"}, "metadata": {}}]}`, i, i, 1000+i))
	}
	s := &eurekaServer{logins: make(map[string]int), content: fmt.Sprintf(`{"applications": {"versions__delta": "1", "apps__hashcode": "UP_%d_", "application": [%s]}}`,
		apps, strings.Join(list, ","))}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *eurekaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, _, _ := r.BasicAuth()
	s.mu.Lock()
	s.logins[user]++
	s.mu.Unlock()
	s.asked.Add(1)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, s.content)
}

// open makes the source of c of a service a.
func open(t *testing.T, c config.Source, kinds ...config.SourceKind) discovery.Source {
	t.Helper()
	set := sources.Set{Kinds: kinds}
	_, src, err := set.Of("services.a", config.Service{Source: &c})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// All has a kind for each key of a source that the root package does not know by itself.
func TestAllKinds(t *testing.T) {
	have := make(map[string]bool)
	for _, k := range All() {
		if have[k.Kind()] {
			t.Errorf("%s is there twice", k.Kind())
		}
		have[k.Kind()] = true
	}
	for _, f := range make(tags.Model).Of(reflect.TypeFor[config.Source]()) {
		if f.Name != "" && f.Name != "dns" && f.Name != "merge" && !have[f.Name] {
			t.Errorf("there is no kind for %s", f.Name)
		}
		delete(have, f.Name)
	}
	for name := range have {
		t.Errorf("%s is no key of a source", name)
	}
}

func TestListsInYAML(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.yaml")
	if err := os.WriteFile(path, []byte("- http://10.0.0.2:80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := discoverytest.URLs(discoverytest.First(t, open(t, config.Source{File: &config.FileSource{Path: path}}, File()))); got != "http://10.0.0.2:80" {
		t.Errorf("a file: %v", got)
	}
	if _, _, err := parseList("x", []byte("- http://name:1\n")); err == nil || !strings.Contains(err.Error(), "takes addresses") {
		t.Errorf("a name in a file: %v", err)
	}
	specs, rejected, err := parseList("x", []byte("- http://10.0.0.1:1\n- http://name:1\n- what\n"))
	if err != nil || discoverytest.URLs(specs) != "http://10.0.0.1:1" || len(rejected) != 2 || rejected[0].ID != "what" || rejected[1].ID != "http://name:1" {
		t.Errorf("bad entries: %v, %+v, %v", specs, rejected, err)
	}
	specs, rejected, err = parseList("x", []byte("- http://10.0.0.1:1\n- {url: \"http://10.0.0.2:1\", weight: 0}\n- {url: \"http://10.0.0.3:1\", weight: -1}\n"))
	if err != nil || len(specs) != 2 || specs[0].Out || !specs[1].Out || len(rejected) != 1 {
		t.Errorf("weight 0: %+v, %+v, %v", specs, rejected, err)
	}
}

// What cannot be read is a problem with the path of the value that says it.
func TestProblemsHaveTheirPlace(t *testing.T) {
	missing := &config.SourceTLS{CA: "/nonexistent/ca.pem"}
	for path, c := range map[string]config.Source{
		"services.a.source.etcd.tls.ca":           {Etcd: &config.EtcdSource{TLS: missing}},
		"services.a.source.consul.tls.ca":         {Consul: &config.ConsulSource{TLS: missing}},
		"services.a.source.nacos.tls.ca":          {Nacos: &config.NacosSource{TLS: missing}},
		"services.a.source.eureka.tls.ca":         {Eureka: &config.EurekaSource{TLS: missing}},
		"services.a.source.kubernetes.tls.ca":     {Kubernetes: &config.KubernetesSource{TLS: missing}},
		"services.a.source.kubernetes.kubeconfig": {Kubernetes: &config.KubernetesSource{Kubeconfig: "/nonexistent/config"}},
		"services.a.source.merge[1].etcd.tls.ca":  {Merge: []config.SourcePart{{Source: config.Source{Custom: discovery.Static{}}}, {Source: config.Source{Etcd: &config.EtcdSource{TLS: missing}}}}},
	} {
		s := sources.Set{Kinds: All()}
		_, src, err := s.Of("services.a", config.Service{Source: &c})
		var problems *config.Errors
		if !errors.As(err, &problems) || problems.List[0].Path != path {
			t.Errorf("%s: %v, %v", path, src, err)
		}
	}
}

// Two hundred services of one registry ask it as often as one does; those of another user
// have a registry of their own; and with the last source that runs it is given back.
func TestServicesShareTheirRegistry(t *testing.T) {
	server := newEureka(t, 200)
	registries := new(shared[*eureka.Registry])
	s := sources.Set{Kinds: []config.SourceKind{eurekaKind(registries)}}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := func(i int, user string) {
		app := fmt.Sprintf("app%d", i)
		c := config.EurekaSource{Servers: []string{server.URL + "/eureka"}, App: app, Username: user, Password: "x", Interval: time.Hour}
		_, src, err := s.Of("services."+app, config.Service{Source: &config.Source{Eureka: &c}})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 1)
		running.Go(func() {
			err := src.Run(ctx, func(u discovery.Update) {
				if u.Err != nil {
					got <- u.Err.Error()
					return
				}
				got <- discoverytest.URLs(u.Endpoints)
			})
			if err != nil {
				t.Error(err)
			}
		})
		want := fmt.Sprintf("http://10.0.0.1:%d", 1000+i)
		if set := <-got; set != want {
			t.Fatalf("%s: %s, want %s", app, set, want)
		}
	}
	for i := range 200 {
		run(i, "a")
	}
	if n := server.asked.Load(); n != 1 {
		t.Errorf("200 services have asked %d times", n)
	}
	if n := len(registries.live); n != 1 {
		t.Errorf("they have %d registries", n)
	}
	run(7, "b")
	if n := len(registries.live); n != 2 || server.logins["a"] != 1 || server.logins["b"] != 1 {
		t.Errorf("with another user: %d registries, %v", n, server.logins)
	}
	cancel()
	running.Wait()
	if n := len(registries.live); n != 0 {
		t.Errorf("%d registries are left", n)
	}
}

// Which settings make two sources share, and which do not.
func TestWhatMustAgree(t *testing.T) {
	base := config.NacosSource{Servers: []string{"a:1"}, Namespace: "n", Group: "g", Service: "s", Clusters: []string{"c"}, Username: "u",
		Password: "p", TLS: &config.SourceTLS{ServerName: "x"}, PortOffset: 1, Scheme: "http", ZoneKey: "z"}
	keyOf := func(change func(*config.NacosSource)) string {
		c := base
		secure := *base.TLS
		c.TLS = &secure
		change(&c)
		src, err := ofNacos(nil, c, nil, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		return src.key
	}
	same := keyOf(func(*config.NacosSource) {})
	for what, change := range map[string]func(*config.NacosSource){
		"service": func(c *config.NacosSource) { c.Service = "t" }, "group": func(c *config.NacosSource) { c.Group = "t" },
		"clusters": func(c *config.NacosSource) { c.Clusters = nil }, "scheme": func(c *config.NacosSource) { c.Scheme = "https" },
	} {
		if keyOf(change) != same {
			t.Errorf("another %s is another registry", what)
		}
	}
	for what, change := range map[string]func(*config.NacosSource){
		"servers": func(c *config.NacosSource) { c.Servers = []string{"a:1", "b:1"} }, "namespace": func(c *config.NacosSource) { c.Namespace = "t" },
		"username": func(c *config.NacosSource) { c.Username = "t" }, "password": func(c *config.NacosSource) { c.Password = "t" },
		"tls": func(c *config.NacosSource) { c.TLS.ServerName = "t" }, "no tls": func(c *config.NacosSource) { c.TLS = nil },
		"port_offset": func(c *config.NacosSource) { c.PortOffset = 2 }, "zone_key": func(c *config.NacosSource) { c.ZoneKey = "t" },
	} {
		if keyOf(change) == same {
			t.Errorf("another %s is the same registry", what)
		}
	}
}
