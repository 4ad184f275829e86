package sources

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/discovery/kubernetes"
	"github.com/poise-lb/poise/internal/testcert"
)

// TestServicesShareTheirWatch: the services of one API server ask for one list and one
// watch of each namespace, whatever port they have; a source that takes the place of
// another, as after a reload, finds the watch that is open; and the last one ends it.
func TestServicesShareTheirWatch(t *testing.T) {
	var lists atomic.Int32
	watches := make(chan string, 100)
	closed := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			w.(http.Flusher).Flush()
			watches <- r.URL.Path
			<-r.Context().Done()
			closed <- r.URL.Path
			return
		}
		lists.Add(1)
		var items []any
		for i := range 20 {
			items = append(items, map[string]any{
				"metadata":    map[string]any{"name": fmt.Sprintf("s%d-x", i), "resourceVersion": "7", "labels": map[string]string{"kubernetes.io/service-name": fmt.Sprintf("s%d", i)}},
				"addressType": "IPv4", "endpoints": []any{map[string]any{"addresses": []string{fmt.Sprintf("10.0.0.%d", 1+i)}}},
				"ports": []any{map[string]any{"name": "http", "port": 80}, map[string]any{"name": "admin", "port": 81}},
			})
		}
		json.NewEncoder(w).Encode(map[string]any{"kind": "EndpointSliceList", "metadata": map[string]string{"resourceVersion": "7"}, "items": items})
	}))
	defer server.Close()
	live := new(shared[*kubernetes.Registry])
	kind := kubernetesKind(live)
	run := func(name, namespace, port, want string) (stop func()) {
		t.Helper()
		c := config.KubernetesSource{Server: server.URL, Namespace: namespace, Service: name, Port: port}
		src, err := kind.Open("services."+name+".source", config.Source{Kubernetes: &c}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string, 10)
		var running sync.WaitGroup
		running.Go(func() {
			if err := src.Run(ctx, func(u discovery.Update) { got <- discoverytest.URLs(u.Endpoints) }); err != nil {
				t.Error(err)
			}
		})
		if set := <-got; set != want {
			t.Errorf("%s has %q, want %q", name, set, want)
		}
		return func() { cancel(); running.Wait() }
	}
	var stops []func()
	for i := range 20 {
		stops = append(stops, run(fmt.Sprintf("s%d", i), "shop", "", fmt.Sprintf("http://10.0.0.%d:80", 1+i)))
	}
	stops[0]()
	stops[0] = run("s0", "shop", "admin", "http://10.0.0.1:81")
	stops = append(stops, run("made-up", "shop", "", ""))
	if path := <-watches; path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" || lists.Load() != 1 || len(watches) > 0 {
		t.Errorf("a watch of %s, %d more, and %d lists", path, len(watches), lists.Load())
	}
	other := run("s1", "blog", "", "http://10.0.0.2:80")
	<-watches
	if n := len(live.live); n != 1 || lists.Load() != 2 {
		t.Errorf("two namespaces have %d registries and %d lists", n, lists.Load())
	}
	other()
	<-closed
	for _, stop := range stops {
		stop()
	}
	<-closed
	if n := len(live.live); n != 0 {
		t.Errorf("%d registries are left", n)
	}
}

// TestFilesOfKubeconfigAreFollowed: the authorities that a kubeconfig names in a file of
// their own are followed, also when the kubeconfig names others, which are not there yet.
func TestFilesOfKubeconfigAreFollowed(t *testing.T) {
	serve := func(address string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("watch") != "" {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			fmt.Fprintf(w, `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"web-x","resourceVersion":"7",`+
				`"labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","ports":[{"port":80}],"endpoints":[{"addresses":[%q]}]}]}`, address)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	first, second := serve("10.0.0.1"), serve("10.0.0.2")
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: first.Certificate().Raw})
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	put := func(s *httptest.Server, ca string) {
		testcert.Replace(t, path, fmt.Appendf(nil, `{current-context: c, clusters: [{name: k, cluster: {server: %q, certificate-authority: %s}}], contexts: [{name: c, context: {cluster: k}}]}`, s.URL, ca))
	}
	testcert.Replace(t, filepath.Join(dir, "a.pem"), testcert.New(t, testcert.Template{}).Cert)
	put(first, "a.pem")
	src, err := Kubernetes().Open("services.web.source", config.Source{Kubernetes: &config.KubernetesSource{Kubeconfig: path, Service: "web"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	got := make(chan discovery.Update, 1000)
	running.Go(func() { src.Run(ctx, func(u discovery.Update) { got <- u }) })
	want := func(set string) {
		t.Helper()
		for limit := time.After(20 * time.Second); ; {
			select {
			case u := <-got:
				if u.Err == nil && discoverytest.URLs(u.Endpoints) == set {
					return
				}
			case <-limit:
				t.Fatalf("there is no set %s", set)
			}
		}
	}
	if u := <-got; u.Err == nil {
		t.Fatal("a server of an unknown authority was believed")
	}
	testcert.Replace(t, filepath.Join(dir, "a.pem"), good)
	want("http://10.0.0.1:80")
	put(second, "b.pem")
	testcert.Replace(t, filepath.Join(dir, "b.pem"), good)
	want("http://10.0.0.2:80")
}
