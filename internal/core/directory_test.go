package core

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/exchange"
)

// A registry is a fake one: its sets and its watchers, by the path of a file source.
type registry struct {
	mu      sync.Mutex
	sets    map[string][]endpoint.Spec
	watched map[string]func(discovery.Update)
	started map[string]int
	silent  bool // it does not answer
	refused bool // no source can be made
}

func newRegistry() *registry {
	return &registry{sets: map[string][]endpoint.Spec{}, watched: map[string]func(discovery.Update){}, started: map[string]int{}}
}

// watching is a source that only start knows what to do with.
type watching struct {
	discovery.Source
	name string
}

func (r *registry) feed(at string, s config.Service) (Feed, error) {
	if s.Source == nil {
		return compile.Static(at, s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused || s.Source.File.Path == "/refused" {
		return Feed{}, errors.New("not this one")
	}
	return Feed{Source: watching{name: s.Source.File.Path}}, nil
}

// start is a source's begin: what is known is published at once.
func (r *registry) start(src discovery.Source, publish func(discovery.Update)) (stop func()) {
	name := src.(watching).name
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched[name] = publish
	r.started[name]++
	if !r.silent {
		publish(discovery.Update{Endpoints: r.sets[name]})
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watched, name)
	}
}

// set changes what the registry knows.
func (r *registry) set(name string, addresses ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets[name] = nil
	for _, a := range addresses {
		r.sets[name] = append(r.sets[name], endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: a}})
	}
	if publish := r.watched[name]; publish != nil {
		publish(discovery.Update{Endpoints: r.sets[name]})
	}
}

func (r *registry) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.watched))
}

// A world is a proxy in a virtual one.
type world struct {
	t *testing.T
	*virtual.World
	rt       engine.Runtime
	registry *registry
	proxy    *Proxy
	log      bytes.Buffer
}

// discovering is a configuration that finds services under /{service}/ in the registry.
func discovering(change func(*config.Discover)) config.Config {
	d := config.Discover{Source: config.Source{File: &config.FileSource{Path: "/{service}"}}, Guard: config.Guard{MaxRemoval: -1}}
	if change != nil {
		change(&d)
	}
	return config.Config{
		Discover: map[string]config.Discover{"apps": d},
		Routes: []config.Route{
			{Match: config.Match{Path: "/{service}/**"}, Discover: "apps"},
			{Match: config.Match{Path: "/v1/of/{service}/x"}, Discover: "apps"},
		},
	}
}

// inWorld plays f in a virtual world with a proxy, and closes it.
func inWorld(t *testing.T, c config.Config, f func(w *world)) {
	t.Helper()
	for seed := range uint64(3) {
		w := &world{t: t, World: virtual.New(seed), registry: newRegistry()}
		w.rt = w.Runtime()
		w.Go("test", func() {
			var err error
			w.proxy, err = New(w.rt, c, Options{
				Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Feed: w.registry.feed, Start: w.registry.start,
			})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() {
				w.proxy.Close()
				if left := w.registry.names(); len(left) > 0 {
					t.Errorf("watched after Close: %q", left)
				}
			}()
			f(w)
		})
		if err := w.Run(); err != nil {
			t.Fatal(err)
		}
	}
}

// serve makes an endpoint that answers with its address and the path it saw.
func (w *world) serve(address string) {
	l := w.Listen(address)
	w.Daemon("endpoint "+address, func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			w.Daemon("connection of "+address, func() {
				defer s.Close()
				for {
					head, err := readHead(s)
					if err != nil {
						return
					}
					target := strings.Fields(head)[1]
					body := address + " " + target
					fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}
			})
		}
	})
}

func readHead(s io.Reader) (string, error) {
	var head []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := s.Read(one); err != nil {
			return "", err
		}
		head = append(head, one[0])
	}
	return string(head), nil
}

// ask sends a request and returns the status, and the reason or the content.
func (w *world) ask(target string) string {
	near, far := w.Pipe()
	w.Go("client of "+target, func() { w.proxy.ServeStream(w.proxy.rt, far, Peer{Remote: netip.MustParseAddrPort("192.0.2.1:1")}) })
	defer near.Close()
	fmt.Fprintf(near, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", target)
	answer, err := io.ReadAll(near)
	if err != nil {
		return err.Error()
	}
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	status := strings.Fields(head)[1]
	if _, reason, ok := strings.Cut(head, "Poise-Reason: "); ok {
		reason, _, _ = strings.Cut(reason, "\r\n")
		return status + " " + reason
	}
	return status + " " + body
}

func (w *world) answers(target, want string) {
	w.t.Helper()
	if got := w.ask(target); got != want {
		w.t.Errorf("%v: %s: %s, want %s", w.Now(), target, got, want)
	}
}

func (w *world) wait(d time.Duration) { w.rt.Sleep(w.rt.Now() + d) }

func (w *world) watched(want ...string) {
	w.t.Helper()
	if got := w.registry.names(); !slices.Equal(got, want) {
		w.t.Errorf("%v: watched are %q, want %q", w.Now(), got, want)
	}
}

func TestAPathLeadsToAnyServiceOfTheRegistry(t *testing.T) {
	inWorld(t, discovering(nil), func(w *world) {
		w.serve("10.0.0.1:80")
		w.serve("10.0.0.2:80")
		w.registry.set("/orders", "10.0.0.1:80")
		w.registry.set("/Users-2.x", "10.0.0.2:80")
		w.watched()
		w.answers("/orders/a/b?c", "200 10.0.0.1:80 /orders/a/b?c")
		w.watched("/orders")
		w.answers("/orders", "200 10.0.0.1:80 /orders")
		w.answers("/%55sers-2%2Ex/", "200 10.0.0.2:80 /%55sers-2%2Ex/")
		w.answers("/v1/of/orders/x", "200 10.0.0.1:80 /v1/of/orders/x")
		w.answers("/x/../orders/", "200 10.0.0.1:80 /x/../orders/")
		w.watched("/Users-2.x", "/orders")
		for _, bad := range []string{"/a%2Fb/", "/..a/", "/a%20b/", "/" + strings.Repeat("a", 200) + "/", "/%C3%BC/", "/-a/", "/a*b/"} {
			w.answers(bad, "404 unknown-service")
		}
		w.watched("/Users-2.x", "/orders")
		var names []string
		for _, s := range w.proxy.Services() {
			names = append(names, s.Name())
		}
		if want := []string{"apps/Users-2.x", "apps/orders"}; !slices.Equal(names, want) {
			t.Errorf("services %q, want %q", names, want)
		}
	})
}

func TestAServiceThatTheRegistryDoesNotKnow(t *testing.T) {
	inWorld(t, discovering(nil), func(w *world) {
		w.serve("10.0.0.1:80")
		w.answers("/none/", "404 unknown-service")
		for range 20 {
			w.wait(time.Second)
			w.answers("/none/", "404 unknown-service")
		}
		if n := w.registry.started["/none"]; n != 1 {
			t.Errorf("asked the registry %d times for one it does not know", n)
		}
		w.wait(29 * time.Second)
		w.watched("/none")
		w.wait(4 * time.Second)
		w.watched()
		w.answers("/none/", "404 unknown-service")
		w.registry.set("/none", "10.0.0.1:80") // while it is watched: known from now on
		w.wait(200 * time.Millisecond)
		w.answers("/none/", "200 10.0.0.1:80 /none/")
		w.registry.set("/none")
		w.wait(2 * time.Second)
		w.answers("/none/", "503 no-endpoint") // it was one
		w.wait(time.Minute)
		w.watched("/none")
	})
}

func TestTheFirstRequestWaitsForTheFirstSet(t *testing.T) {
	inWorld(t, discovering(nil), func(w *world) {
		w.serve("10.0.0.1:80")
		w.registry.silent = true
		began := w.Now()
		w.answers("/slow/", "503 no-endpoint")
		if took := w.Now() - began; took < 2*time.Second || took > 5*time.Second {
			t.Errorf("answered after %v", took)
		}
		w.Go("registry", func() {
			w.wait(time.Second)
			w.registry.set("/slow", "10.0.0.1:80")
		})
		began = w.Now()
		w.answers("/slow/", "200 10.0.0.1:80 /slow/")
		if took := w.Now() - began; took < time.Second || took > 1200*time.Millisecond {
			t.Errorf("answered after %v, want as soon as the set is there", took)
		}
	})
}

func TestUnusedServicesAreForgotten(t *testing.T) {
	c := discovering(func(d *config.Discover) { d.ForgetAfter = time.Minute })
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.1:80")
		w.registry.set("/a", "10.0.0.1:80")
		w.registry.set("/b", "10.0.0.1:80")
		w.answers("/b/", "200 10.0.0.1:80 /b/")
		for range 4 {
			w.answers("/a/", "200 10.0.0.1:80 /a/")
			w.wait(30 * time.Second)
		}
		w.watched("/a")
		w.wait(31500 * time.Millisecond)
		if n := len(w.proxy.Services()); n != 0 {
			t.Errorf("%d services after a minute", n)
		}
		w.answers("/a/", "200 10.0.0.1:80 /a/")
		if n := w.registry.started["/a"]; n != 1 {
			t.Errorf("started %d times, although it was forgotten a moment ago only", n)
		}
		w.wait(80 * time.Second)
		w.watched()
		w.answers("/a/", "200 10.0.0.1:80 /a/")
	})
}

// TestExchangesKeepTheirService: one that takes longer than a service is remembered.
func TestExchangesKeepTheirService(t *testing.T) {
	c := discovering(func(d *config.Discover) { d.ForgetAfter = 5 * time.Second; d.Max = 1 })
	c.Timeouts.Stall = time.Hour
	inWorld(t, c, func(w *world) {
		w.registry.set("/slow", "10.0.0.9:80")
		w.registry.set("/other", "10.0.0.1:80")
		w.serve("10.0.0.1:80")
		l := w.Listen("10.0.0.9:80")
		w.Daemon("slow endpoint", func() {
			s, _ := l.Accept()
			readHead(s)
			w.wait(40 * time.Second)
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		})
		done := w.rt.Fork(func() { w.answers("/slow/", "200 ok") })
		w.wait(20 * time.Second)
		w.watched("/slow")
		w.answers("/other/", "503 too-many-services") // the only place is taken, and in use
		done.Wait()
		w.answers("/other/", "200 10.0.0.1:80 /other/")
		w.wait(8 * time.Second)
		w.watched("/other")
	})
}

func TestTheNumberOfServicesIsBounded(t *testing.T) {
	c := discovering(func(d *config.Discover) { d.Max = 10 })
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.1:80")
		for i := range 8 {
			w.registry.set(fmt.Sprint("/known-", i), "10.0.0.1:80")
			w.answers(fmt.Sprintf("/known-%d/", i), fmt.Sprintf("200 10.0.0.1:80 /known-%d/", i))
			w.wait(10 * time.Millisecond)
		}
		refused := 0
		for i := range 500 { // made-up names, as fast as they come
			switch got := w.ask(fmt.Sprintf("/made-up-%d/", i)); got {
			case "503 too-many-services":
				refused++
			case "404 unknown-service":
			default:
				t.Fatal(got)
			}
			if n := len(w.registry.names()); n > 10+18 {
				t.Fatalf("%d services are watched", n)
			}
		}
		if refused == 0 || refused == 500 {
			t.Errorf("%d of 500 refused", refused)
		}
		w.wait(5 * time.Second)
		for i := range 8 { // all of them are still there
			if n := w.registry.started[fmt.Sprint("/known-", i)]; n != 1 {
				t.Errorf("known-%d was started %d times", i, n)
			}
		}
		// And the one that was not used for longest gives way to another known one.
		for i := range 3 {
			w.registry.set(fmt.Sprint("/late-", i), "10.0.0.1:80")
			w.answers(fmt.Sprintf("/late-%d/", i), fmt.Sprintf("200 10.0.0.1:80 /late-%d/", i))
		}
		var left []string
		for _, s := range w.proxy.Services() {
			left = append(left, s.Name())
		}
		if slices.Contains(left, "apps/known-0") || !slices.Contains(left, "apps/known-1") || len(left) != 10 {
			t.Errorf("left are %q", left)
		}
	})
}

func TestDiscoveredServicesSurviveApply(t *testing.T) {
	inWorld(t, discovering(nil), func(w *world) {
		w.serve("10.0.0.1:80")
		w.serve("10.0.0.2:80")
		w.registry.set("/a", "10.0.0.1:80")
		w.registry.set("/new/a", "10.0.0.2:80")
		w.answers("/a/", "200 10.0.0.1:80 /a/")
		service := w.proxy.Services()[0]
		apply := func(change func(*config.Discover)) {
			if err := w.proxy.Apply(discovering(change)); err != nil {
				t.Error(err)
			}
		}
		apply(func(d *config.Discover) { d.Retry.Attempts = 1; d.Policy.Type = "round_robin" })
		if w.proxy.Services()[0] != service || w.registry.started["/a"] != 1 {
			t.Error("another service, or another source")
		}
		e := *w.proxy.state.Load().directories["apps"].known.Load()
		if head := e["a"].head.Load(); head.Retry.Attempts != 1 {
			t.Error("exchanges see the old configuration")
		}
		apply(func(d *config.Discover) { d.Source.File.Path = "/new/{service}"; d.Guard = config.Guard{} })
		w.watched("/new/a")
		w.wait(time.Second)
		w.answers("/a/", "200 10.0.0.2:80 /a/")
		if w.proxy.Services()[0] != service {
			t.Error("another service")
		}
		err := w.proxy.Apply(discovering(func(d *config.Discover) { d.Source.File.Path = "/refused"; d.Health = &config.Health{Check: "/x"} }))
		if err == nil {
			t.Error("an entry that cannot work was applied")
		}
		w.answers("/a/", "200 10.0.0.2:80 /a/")

		c := discovering(nil)
		c.Discover["other"] = c.Discover["apps"]
		delete(c.Discover, "apps")
		for i := range c.Routes {
			c.Routes[i].Discover = "other"
		}
		if err := w.proxy.Apply(c); err != nil {
			t.Error(err)
		}
		w.answers("/a/", "200 10.0.0.1:80 /a/")
		w.wait(8 * time.Second)
		w.watched("/a") // that of the entry that is gone has ended
	})
}

// TestDirectoryUnderFire: names, changes and configurations from many goroutines.
func TestDirectoryUnderFire(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	reg := newRegistry()
	for i := range 30 {
		reg.set(fmt.Sprint("/s", i), "127.0.0.1:9")
	}
	change := func(i int) config.Config {
		return discovering(func(d *config.Discover) {
			d.Max, d.ForgetAfter = 20, time.Second
			d.Retry.Attempts = 1 + i%3
		})
	}
	p, err := New(rt, change(0), Options{Logger: slog.New(slog.DiscardHandler), Feed: reg.feed, Start: reg.start})
	if err != nil {
		t.Fatal(err)
	}
	d := p.state.Load().directories["apps"]
	var tasks sync.WaitGroup
	for task := range 4 {
		tasks.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(task)))
			for range 3000 {
				name := fmt.Sprint("s", r.IntN(40))
				s, refused := d.Enter([]byte(name), rt.Now())
				switch {
				case refused != nil && refused != exchange.ErrTooManyServices:
					t.Errorf("%s: %v", name, refused)
				case refused == nil && s.Name != "apps/"+name:
					t.Errorf("%s is %s", name, s.Name)
				case refused == nil:
					if s.Uses.Forget() {
						t.Errorf("%s could be forgotten while it is used", name)
					}
					s.Uses.Leave()
				}
				if r.IntN(50) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	tasks.Go(func() {
		for i := range 30 {
			if err := p.Apply(change(i)); err != nil {
				t.Error(err)
			}
			d.forget(rt.Now() + time.Duration(i%2)*time.Minute)
			p.Services()
			time.Sleep(2 * time.Millisecond)
		}
	})
	tasks.Wait()
	for _, e := range d.sorted() {
		if !e.uses.Forget() {
			t.Errorf("%s is still used", e.name)
		}
	}
	p.Hurry()
	p.Close()
	if left := reg.names(); len(left) > 0 {
		t.Errorf("watched after Close: %q", left)
	}
}

// TestNamesThatClientsMakeUp start no more sources than the pace allows, and then those of
// real names start again.
func TestNamesThatClientsMakeUp(t *testing.T) {
	c := discovering(func(d *config.Discover) { d.StartRate = 2 })
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.1:80")
		w.registry.set("/real", "10.0.0.1:80")
		refused := 0
		for i := range 100 {
			if got := w.ask(fmt.Sprintf("/made-up-%d/", i)); got == "503 too-many-services" {
				refused++
			} else if got != "404 unknown-service" {
				t.Fatal(got)
			}
		}
		began := len(w.registry.started)
		if most := 2*burst + int(2*w.Now()/time.Second) + 1; began < 2*burst || began > most || refused != 100-began {
			t.Errorf("%d began and %d were refused, want %d to %d", began, refused, 2*burst, most)
		}
		w.wait(time.Second)
		w.answers("/real/", "200 10.0.0.1:80 /real/")
		for i := range 50 {
			w.ask(fmt.Sprintf("/more-%d/", i))
		}
		w.answers("/real/", "200 10.0.0.1:80 /real/") // what is known needs no pace
	})
}

func TestNamesThatAreNotAllowed(t *testing.T) {
	allow := func(patterns ...string) config.Config {
		return discovering(func(d *config.Discover) { d.Allow = patterns })
	}
	inWorld(t, allow("shop-*", "cart"), func(w *world) {
		w.serve("10.0.0.1:80")
		for _, name := range []string{"/shop-a", "/cart", "/carts", "/admin"} {
			w.registry.set(name, "10.0.0.1:80")
		}
		w.answers("/shop-a/", "200 10.0.0.1:80 /shop-a/")
		w.answers("/cart/", "200 10.0.0.1:80 /cart/")
		w.answers("/carts/", "404 unknown-service")
		w.answers("/admin/", "404 unknown-service")
		w.watched("/cart", "/shop-a")
		if err := w.proxy.Apply(allow("c*")); err != nil {
			t.Error(err)
		}
		w.answers("/shop-a/", "404 unknown-service")
		w.answers("/cart/", "200 10.0.0.1:80 /cart/")
		w.answers("/carts/", "200 10.0.0.1:80 /carts/")
		w.wait(8 * time.Second)
		w.watched("/cart", "/carts")
	})
}

// TestASourceThatHangsDelaysNobody: making a source reads files, and starting it may wait.
// An exchange that asks for the name, or for any other, is not held up by that.
func TestASourceThatHangsDelaysNobody(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	reg := newRegistry()
	hang := make(chan struct{})
	wait := func(name string) {
		if strings.HasPrefix(name, "/hang") {
			<-hang
		}
	}
	p, err := New(rt, discovering(nil), Options{Logger: slog.New(slog.DiscardHandler),
		Feed: func(at string, s config.Service) (Feed, error) {
			if s.Source != nil && strings.HasSuffix(s.Source.File.Path, "feed") {
				wait(s.Source.File.Path)
			}
			return reg.feed(at, s)
		},
		Start: func(src discovery.Source, publish func(discovery.Update)) func() {
			wait(src.(watching).name)
			return reg.start(src, publish)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := p.state.Load().directories["apps"]
	done := make(chan bool)
	go func() {
		defer close(done)
		for _, name := range []string{"hang-in-feed", "hang-in-start", "other", "hang-in-feed"} {
			s, err := dir.Enter([]byte(name), rt.Now())
			if err != nil {
				t.Error(err)
				return
			}
			s.Uses.Leave()
		}
		dir.forget(rt.Now())
		p.Services()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("a source that hangs holds up exchanges")
	}
	close(hang)
	<-done
	p.Hurry()
	p.Close()
	for end := time.Now().Add(30 * time.Second); len(reg.names()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("watched after Close: %q", reg.names())
		}
	}
}

// TestASourceThatCannotBeMade is tried again by a later request.
func TestASourceThatCannotBeMade(t *testing.T) {
	inWorld(t, discovering(nil), func(w *world) {
		w.serve("10.0.0.1:80")
		w.registry.set("/late", "10.0.0.1:80")
		w.registry.mu.Lock()
		w.registry.refused = true
		w.registry.mu.Unlock()
		w.answers("/late/", "503 no-endpoint")
		w.registry.mu.Lock()
		w.registry.refused = false
		w.registry.mu.Unlock()
		w.answers("/late/", "200 10.0.0.1:80 /late/")
	})
}

// TestEnteringAKnownServiceIsFree of allocations.
func TestEnteringAKnownServiceIsFree(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	reg := newRegistry()
	p, err := New(rt, discovering(nil), Options{Logger: slog.New(slog.DiscardHandler), Feed: reg.feed, Start: reg.start})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	d := p.state.Load().directories["apps"]
	var dir exchange.Directory = d
	name := []byte("a-service-of-some-length")
	if s, err := dir.Enter(name, rt.Now()); err == nil {
		s.Uses.Leave()
	}
	d.publish() // or a task would, soon
	if n := testing.AllocsPerRun(1000, func() {
		s, err := dir.Enter(name, rt.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.Uses.Leave()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEnter(b *testing.B) {
	rt := goroutine.New()
	defer rt.Close()
	reg := newRegistry()
	many := discovering(func(d *config.Discover) { d.StartRate = 1000 })
	p, err := New(rt, many, Options{Logger: slog.New(slog.DiscardHandler), Feed: reg.feed, Start: reg.start})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	var dir exchange.Directory = p.state.Load().directories["apps"]
	for i := range 500 {
		if s, err := dir.Enter(fmt.Appendf(nil, "service-%d", i), rt.Now()); err == nil {
			s.Uses.Leave()
		}
	}
	p.state.Load().directories["apps"].publish()
	name := []byte("service-250")
	for b.Loop() {
		s, _ := dir.Enter(name, rt.Now())
		s.Uses.Leave()
	}
}
