package eureka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// A journal is what a registrar reported.
type journal struct {
	mu    sync.Mutex
	words []string
}

func (j *journal) report(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	word := "announced"
	if err != nil {
		word = "not"
	}
	j.words = append(j.words, word)
}

func (j *journal) expect(t *testing.T, want string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if got := strings.Join(j.words, " "); got != want {
		t.Fatalf("reported %q, want %q", got, want)
	}
	j.words = nil
}

// announce runs a registrar; the result ends it and returns what Run returned.
func announce(t *testing.T, c Config, in discovery.Instance) (*journal, func() error) {
	t.Helper()
	j := new(journal)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewRegistrar(RegistrarConfig{Config: c}).Run(ctx, in, j.report) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return j, stop
}

var web = discovery.Instance{
	Service: "web", Address: "10.0.0.1:80", Weight: 7, Zone: "a", Metadata: map[string]string{"k": "v"},
}

func TestAnnounced(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		l, _ := start(t, New(c, "web"))
		j, stop := announce(t, c, web)
		pass(6 * time.Second)
		j.expect(t, "announced")
		updates := l.take()
		s := updates[len(updates)-1].Endpoints
		if len(s) != 1 || s[0].Weight != 7 || s[0].Zone != "a" || s[0].Metadata["k"] != "v" || s[0].URL() != "http://10.0.0.1:80" {
			t.Fatalf("%+v", s)
		}
		e.count("")
		pass(time.Minute)
		if got := e.count("PUT /WEB/10.0.0.1:80"); got < 5 || got > 7 {
			t.Errorf("%d signs of life in a minute, want 6", got)
		}
		j.expect(t, "")
		e.remove("WEB", "10.0.0.1:80") // its lease has expired
		pass(12 * time.Second)
		j.expect(t, "announced")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(e.apps) != 0 {
			t.Errorf("not removed: %v", e.apps)
		}
		if len(web.Metadata) != 1 {
			t.Errorf("the caller's metadata were changed: %v", web.Metadata)
		}
	})
}

func TestAnnouncedAgainAfterAnOutage(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		j, _ := announce(t, c, web)
		pass(time.Second)
		j.expect(t, "announced")
		e.set(func() { e.status = 503 })
		pass(5 * time.Minute)
		j.expect(t, "not") // once
		e.set(func() { e.status = 0; clear(e.apps) })
		pass(4 * time.Second)
		j.expect(t, "announced")
		e.set(func() { e.status = 503 })
		pass(15 * time.Second)
		e.set(func() { e.status = 0 }) // nothing was lost: all is well again all the same
		pass(4 * time.Second)
		j.expect(t, "not announced")
	})
}

func TestRemovalIsBounded(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		j, stop := announce(t, c, web)
		pass(time.Second)
		j.expect(t, "announced")
		e.set(func() { e.silent = make(chan struct{}) })
		began := time.Now()
		if err := stop(); err == nil {
			t.Error("no error though the instance is still there")
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A request that came to nothing may have arrived.
func TestInstanceThatMayHaveArrivedIsRemoved(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		e.set(func() { e.status = 500 })
		_, stop := announce(t, c, web)
		pass(time.Second)
		e.set(func() { e.status = 0 })
		e.put(instance("WEB", "10.0.0.1:80", "10.0.0.1", 80, nil))
		if err := stop(); err != nil || len(e.apps) != 0 {
			t.Errorf("%v, %v", err, e.apps)
		}
	})
}

func TestInstancesThatCannotBeAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, in := range []discovery.Instance{
			{Service: "web", Address: "host:80"},
			{Service: "web", Address: "10.0.0.1"},
			{Service: "web", Address: "10.0.0.1:0"},
			{Address: "10.0.0.1:80"},
			{Service: "web", Address: "10.0.0.1:80", Scheme: "ftp"},
		} {
			err := NewRegistrar(RegistrarConfig{Config: Config{Servers: []string{base}}}).Run(t.Context(), in, func(error) { t.Error("reported") })
			if err == nil {
				t.Errorf("%+v: no error", in)
			}
		}
	})
}

func TestSecureInstance(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		in := web
		in.Scheme, in.ID, in.Address = "https", "odd id/é", "[::1]:8443"
		announce(t, c, in)
		pass(time.Second)
		l, _ := start(t, New(c, "web"))
		pass(time.Second)
		l.expect(t, "[https://[::1]:8443 a]")
		e.mu.Lock()
		defer e.mu.Unlock()
		if !slices.Contains(e.requests, "POST /WEB") || e.apps["WEB"]["odd id/é"] == nil {
			t.Error(fmt.Sprint(e.requests, e.apps))
		}
	})
}
