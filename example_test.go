package poise_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
	"github.com/poise-lb/poise/sources"
)

// startService starts an HTTP server that answers with its name and the path it was asked for.
func startService(name string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: %s", name, r.URL.Path)
	}))
}

// answer returns the status and content of the answer to a GET.
func answer(url string) string {
	res, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(string(content)))
}

// A Proxy is an http.Handler: mount it wherever one fits.
func ExampleNew() {
	users := startService("users")
	defer users.Close()

	proxy, err := poise.New(poise.Config{
		Services: map[string]poise.Service{
			"users": {Endpoints: []poise.Endpoint{{URL: users.URL}}},
		},
		Routes: []poise.Route{{
			Match:   poise.Match{Path: "/api/users/**"},
			Rewrite: poise.Rewrite{StripPrefix: "/api"},
			Service: "users",
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close(context.Background())

	front := httptest.NewServer(proxy)
	defer front.Close()
	fmt.Println(answer(front.URL + "/api/users/7"))
	fmt.Println(answer(front.URL + "/elsewhere"))
	// Output:
	// 200 users: /users/7
	// 404 404 no-route: no route matches this request
}

// A configuration with mistakes is refused as a whole, and the error names all of them.
func ExampleNew_mistakes() {
	_, err := poise.New(poise.Config{
		Services: map[string]poise.Service{
			"users": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:9001"}}, Policy: poise.Policy{Type: "p2"}},
		},
		Routes: []poise.Route{{Service: "user"}},
	})
	var mistakes interface{ Problems() []config.Problem }
	if errors.As(err, &mistakes) {
		for _, p := range mistakes.Problems() {
			fmt.Println(p.Path, "→", p.Near)
		}
	}
	// Output:
	// services.users.policy.type → p2c
	// routes[0].service → users
}

// Serve reads and writes HTTP/1.1 by the proxy's own codec, which costs less than
// mounting it in a server of net/http. Close lets requests under way end.
func ExampleProxy_Serve() {
	users := startService("users")
	defer users.Close()
	proxy, err := poise.New(poise.Config{
		Services: map[string]poise.Service{"users": {Endpoints: []poise.Endpoint{{URL: users.URL}}}},
		Routes:   []poise.Route{{Service: "users"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- proxy.Serve(listener) }()

	fmt.Println(answer("http://" + listener.Addr().String() + "/7"))
	fmt.Println(proxy.Close(context.Background()))
	fmt.Println(<-served)
	// Output:
	// 200 users: /7
	// <nil>
	// poise: proxy is closed
}

// Apply replaces the configuration while requests are under way. What has mistakes changes
// nothing; endpoints that are named again keep their state.
func ExampleProxy_Apply() {
	users, carts := startService("users"), startService("carts")
	defer users.Close()
	defer carts.Close()
	services := map[string]poise.Service{
		"users": {Endpoints: []poise.Endpoint{{URL: users.URL}}},
		"carts": {Endpoints: []poise.Endpoint{{URL: carts.URL}}},
	}
	proxy, err := poise.New(poise.Config{Services: services, Routes: []poise.Route{{Service: "users"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close(context.Background())
	front := httptest.NewServer(proxy)
	defer front.Close()
	fmt.Println(answer(front.URL + "/1"))

	err = proxy.Apply(poise.Config{Services: services, Routes: []poise.Route{{Service: "cards"}}})
	fmt.Println("refused:", err != nil)
	fmt.Println(answer(front.URL + "/2"))

	err = proxy.Apply(poise.Config{Services: services, Routes: []poise.Route{{Service: "carts"}}})
	fmt.Println("refused:", err != nil)
	fmt.Println(answer(front.URL + "/3"))
	for _, s := range proxy.Status().Services {
		fmt.Println(s.Name, s.Endpoints[0].State, s.Endpoints[0].Attempts)
	}
	// Output:
	// 200 users: /1
	// refused: true
	// 200 users: /2
	// refused: false
	// 200 carts: /3
	// carts healthy 1
	// users healthy 2
}

// standby is a policy: the endpoint with the largest weight gets every attempt, the next
// one is there in case it cannot be used. Run package policytest on a policy of your own.
type standby struct{}

func (standby) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	return inOrder(usable)
}

type inOrder []*endpoint.Endpoint

func (eps inOrder) Pick(a *policy.Attempt) (best *endpoint.Endpoint) {
	for _, e := range eps {
		if !a.Tried.Has(e) && (best == nil || e.Weight() > best.Weight()) {
			best = e
		}
	}
	return best
}

// A policy is an interface with one method, which builds a picker for the endpoints that
// are usable.
func Example_policy() {
	first, second := startService("first"), startService("second")
	defer second.Close()
	proxy, err := poise.New(poise.Config{
		Services: map[string]poise.Service{"orders": {
			Endpoints: []poise.Endpoint{{URL: first.URL, Weight: 10}, {URL: second.URL}},
			Policy:    poise.Policy{Custom: standby{}},
		}},
		Routes: []poise.Route{{Service: "orders"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close(context.Background())
	front := httptest.NewServer(proxy)
	defer front.Close()

	fmt.Println(answer(front.URL + "/1"))
	fmt.Println(answer(front.URL + "/2"))
	first.Close() // the next attempt fails and is repeated at the other endpoint
	fmt.Println(answer(front.URL + "/3"))
	// Output:
	// 200 first: /1
	// 200 first: /2
	// 200 second: /3
}

// inventory is a source: it publishes the complete set of endpoints at once and after
// every change, until its context ends.
type inventory struct{ sets <-chan []endpoint.Spec }

func (s inventory) Run(ctx context.Context, publish func(discovery.Update)) error {
	for {
		select {
		case set := <-s.sets:
			publish(discovery.Update{Endpoints: set})
		case <-ctx.Done():
			return nil
		}
	}
}

// A source is an interface with one method. Requests that come before its first set wait a
// little for it.
func Example_source() {
	users := startService("users")
	defer users.Close()
	sets := make(chan []endpoint.Spec, 1)
	proxy, err := poise.New(poise.Config{
		Services: map[string]poise.Service{"users": {Source: &poise.Source{Custom: inventory{sets}}}},
		Routes:   []poise.Route{{Service: "users"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close(context.Background())
	front := httptest.NewServer(proxy)
	defer front.Close()

	sets <- []endpoint.Spec{{ID: endpoint.ID{Scheme: "http", Address: users.Listener.Addr().String()}}}
	fmt.Println(answer(front.URL + "/7"))
	// Output:
	// 200 users: /7
}

// A program links the registries that it names in Config.Sources; sources.All() are all of
// them, and lists in YAML files. Without its kind a source is a mistake.
func Example_sources() {
	c := poise.Config{
		Services: map[string]poise.Service{"users": {Source: &poise.Source{Consul: &poise.ConsulSource{Service: "users"}}}},
		Routes:   []poise.Route{{Service: "users"}},
	}
	_, err := poise.New(c)
	var mistakes interface{ Problems() []config.Problem }
	if errors.As(err, &mistakes) {
		fmt.Println(mistakes.Problems()[0].Path)
	}

	c.Sources = []poise.SourceKind{sources.Consul()}
	proxy, err := poise.New(c) // asks the agent at 127.0.0.1:8500 from now on
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close(context.Background())
	fmt.Println(proxy.Status().Services[0].Name)
	// Output:
	// services.users.source.consul
	// users
}
