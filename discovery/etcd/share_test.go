package etcd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// side runs sources of one registry, /services/s0/ and so on, in virtual time.
func side(t *testing.T, sources int, script func(r *Registry, f *fake, h []fakes.Heard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var c Config
		f, dial := network(t, 1, &c)
		r := NewRegistry(c)
		r.dial = dial
		h := make([]fakes.Heard, sources)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range h {
			running.Go(func() {
				if err := r.Source(fmt.Sprintf("/services/s%d/", i)).Run(ctx, h[i].Publish); err != nil {
					t.Error(err)
				}
			})
		}
		script(r, f[0], h)
		cancel()
		running.Wait()
	})
}

// TestOneWatchForAllServices: 200 services cost what one does, and each is told what
// concerns it, and nothing else.
func TestOneWatchForAllServices(t *testing.T) {
	side(t, 200, func(r *Registry, f *fake, h []fakes.Heard) {
		time.Sleep(time.Second)
		for i := range h {
			h[i].Expect(t, "nothing", "set")
		}
		f.set("/services/s1/a", "10.0.0.1:80")
		f.set("/services/s10/a", "10.0.0.10:80")
		f.set("/services/s2", "10.9.9.9:80") // of none
		f.set("/services/s2/x/y", "10.0.0.2:80")
		f.set("/services/other/a", "10.9.9.9:80")
		f.set("/elsewhere/s3/a", "10.9.9.9:80")
		for i, want := range map[int]string{1: "set 10.0.0.1:80", 10: "set 10.0.0.10:80", 2: "set 10.0.0.2:80", 3: "", 100: ""} {
			h[i].Expect(t, fmt.Sprint(i), want)
		}
		before := f.count("/v3/kv/range")
		time.Sleep(time.Hour)
		if n := f.count("/v3/kv/range") - before; n > 1000 { // one in 4 s, and lists
			t.Errorf("%d ranges in an hour", n)
		}
		if n := f.listen.Count(); n > 200 { // two for each session of 30 to 60 s, at most
			t.Errorf("%d connections", n)
		}
		for i := range h {
			h[i].Expect(t, "an hour", "")
		}
		f.delete("/services/s1/a")
		h[1].Expect(t, "deleted", "set")

		// One that comes later has what is known at once.
		late := new(fakes.Heard)
		ctx, cancel := context.WithCancel(context.Background())
		go r.Source("/services/other/").Run(ctx, late.Publish)
		late.Expect(t, "late", "set 10.9.9.9:80")
		cancel()

		f.listen.Cut(true)
		time.Sleep(time.Minute)
		for i := range h {
			h[i].Expect(t, "an outage", "error")
		}
		f.set("/services/s7/a", "10.0.0.7:80")
		f.listen.Cut(false)
		time.Sleep(backMost)
		h[7].Expect(t, "back", "set 10.0.0.7:80")
		h[8].Expect(t, "back", "set")
	})
}

// TestTheSecondService: one service is watched by its own prefix, and the second has the
// watch made wider, without anything that the first would notice.
func TestTheSecondService(t *testing.T) {
	side(t, 1, func(r *Registry, f *fake, h []fakes.Heard) {
		f.set("/services/s0/a", "10.0.0.1:80")
		f.set("/services/s1/a", "10.0.0.2:80")
		time.Sleep(time.Minute)
		h[0].Expect(t, "alone", "set 10.0.0.1:80")
		if got := f.watching(); got != "/services/s0/" {
			t.Errorf("watches %s", got)
		}
		second := new(fakes.Heard)
		ctx, cancel := context.WithCancel(context.Background())
		go r.Source("/services/s1/").Run(ctx, second.Publish)
		time.Sleep(time.Second)
		second.Expect(t, "the second", "set 10.0.0.2:80")
		h[0].Expect(t, "the second", "")
		if got := f.watching(); got != "/services/" {
			t.Errorf("watches %s", got)
		}
		cancel()
		time.Sleep(5 * time.Minute)
		f.set("/services/s0/a", "10.0.0.3:80")
		h[0].Expect(t, "alone again", "set 10.0.0.3:80")
		if got := f.watching(); got != "/services/s0/" {
			t.Errorf("watches %s", got)
		}
	})
}

// TestApart: a user who may read the prefixes and not their parent has a watch for each.
func TestApart(t *testing.T) {
	side(t, 3, func(r *Registry, f *fake, h []fakes.Heard) {
		f.do(func() { f.denied = "/services/" })
		time.Sleep(5 * time.Second)
		f.set("/services/s1/a", "10.0.0.1:80")
		synctest.Wait()
		if got := h[1].Take(); !strings.HasSuffix(got, "set; set 10.0.0.1:80") {
			t.Errorf("published %q", got)
		}
		if got := h[2].Take(); !strings.HasSuffix(got, "set") {
			t.Errorf("published %q", got)
		}
	})
}

func TestParent(t *testing.T) {
	for prefix, want := range map[string]string{
		"/services/a/": "/services/", "/services/a": "", "/a/": "", "a/": "", "x/a/": "x/", "": "", "/": "", "//a/": "", "/x//": "/x/", "/x/y/z/": "/x/y/",
	} {
		if got := parent(prefix); got != want {
			t.Errorf("the parent of %q is %q, want %q", prefix, got, want)
		}
	}
}

// beside is a source that has a neighbour while it runs.
type beside struct{ source, neighbour *Source }

func (b beside) Run(ctx context.Context, publish func(discovery.Update)) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { b.neighbour.Run(ctx, func(discovery.Update) {}) })
	return b.source.Run(ctx, publish)
}

// TestContractOfSharing is TestContract of a source that shares its watch.
func TestContractOfSharing(t *testing.T) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true, Weights: true, Outs: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			var c Config
			all, dial := network(t, 1, &c)
			r := NewRegistry(c)
			r.dial = dial
			return beside{r.Source(prefix), r.Source("/services/other/")}, contract{all[0]}
		},
	})
}
