package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A crowd is many sources of one registry at work. It counts what each published last.
type crowd struct {
	registry *Registry
	cancel   context.CancelFunc
	work     sync.WaitGroup

	mu   sync.Mutex
	last map[string]string // by service
	sets int               // published
}

// join runs the sources of n services, from the one of that number on.
func (c *crowd) join(t *testing.T, from, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	for i := from; i < from+n; i++ {
		name := fmt.Sprintf("s%d", i)
		c.work.Go(func() {
			err := c.registry.Source(ServiceConfig{Service: name}).Run(ctx, func(u discovery.Update) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.last[name] = brief(u)
				c.sets++
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func (c *crowd) leave() {
	c.cancel()
	c.work.Wait()
}

// TestThousandServices: they cost one watch, however many there are, and each has its own
// set. This is the figure in docs/discovery/README.md.
func TestThousandServices(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.stop()
		for i := range n {
			s.setOf(fmt.Sprintf("s%d", i), fmt.Sprintf("s%d-x", i), sliceOf(80, fmt.Sprintf("10.0.%d.%d", i/200, 1+i%200)))
		}
		c := crowd{registry: s.registry(), last: make(map[string]string)}
		c.join(t, 0, n)
		time.Sleep(time.Second)
		synctest.Wait()
		if c.sets != n || c.last["s999"] != "10.0.4.200:80" || c.last["s0"] != "10.0.0.1:80" {
			t.Fatalf("%d sets were published, of s999 %q", c.sets, c.last["s999"])
		}
		goroutines := runtime.NumGoroutine()
		if goroutines > n+40 {
			t.Errorf("%d goroutines", goroutines)
		}

		// A change of one service concerns no other.
		s.setOf("s7", "s7-x", sliceOf(80, "10.9.9.9"))
		time.Sleep(soon)
		synctest.Wait()
		if c.sets != n+1 || c.last["s7"] != "10.9.9.9:80" {
			t.Errorf("%d sets were published, of s7 %q", c.sets, c.last["s7"])
		}

		lists, watches := s.count()
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if s.open > 1 || s.dials != 1 {
			t.Errorf("%d watches are open, %d connections were made", s.open, s.dials)
		}
		l, w := s.count()
		t.Logf("%d services: %.2f lists and %.2f watches a minute", n, float64(l-lists)/600, float64(w-watches)/600)
		if perMinute := float64(l-lists+w-watches) / 600; perMinute > 0.25 {
			t.Errorf("%.2f requests a minute", perMinute)
		}

		// Services that come later are answered from memory, also those that do not exist.
		lists, watches = s.count()
		more := crowd{registry: c.registry, last: make(map[string]string)}
		more.join(t, n-1, 500)
		time.Sleep(soon)
		synctest.Wait()
		if l, w := s.count(); l != lists || w != watches {
			t.Errorf("%d lists and %d watches for services that came later", l-lists, w-watches)
		}
		if more.sets != 500 || more.last["s999"] != "10.0.4.200:80" || more.last["s1200"] != "" {
			t.Errorf("%d sets were published, of s999 %q, of s1200 %q", more.sets, more.last["s999"], more.last["s1200"])
		}

		// The last source ends the watch, and not the last but one.
		c.leave()
		if synctest.Wait(); s.open != 1 {
			t.Errorf("%d watches are open", s.open)
		}
		more.leave()
		if synctest.Wait(); s.open != 0 || c.registry.api != nil {
			t.Errorf("%d watches are open after the last source", s.open)
		}
	})
}

// TestWatchMayBeForbidden: an account that may only list has lists every few seconds, and
// its set is not stale.
func TestWatchMayBeForbidden(t *testing.T) {
	prepared(t, func(s *server) {
		s.setFault(func(w http.ResponseWriter, _ *http.Request, watch bool) bool {
			if watch {
				refuse(w, 403, "may not watch")
			}
			return watch
		})
	}, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		r.quiet(time.Minute)
		s.set("web-1", sliceOf(80, "10.0.0.2"))
		r.want("10.0.0.2:80", 6*time.Second)
	})
}

// TestRetryAfter: a server that asks for patience is left alone, and then the watch goes on
// from where it was: nothing is listed again.
func TestRetryAfter(t *testing.T) {
	for _, code := range []int{429, 503} {
		bubble(t, func(t *testing.T, s *server, r *run) {
			r.want("10.0.0.1:80", soon)
			synctest.Wait()
			s.setFault(func(w http.ResponseWriter, _ *http.Request, watch bool) bool {
				w.Header().Set("Retry-After", "20")
				refuse(w, code, "too many requests")
				return true
			})
			// The watch that is open ends in its time, so the next one is refused.
			time.Sleep(2 * watchTime)
			synctest.Wait()
			l, w := s.count()
			time.Sleep(time.Minute)
			if l2, w2 := s.count(); l2+w2-l-w > 3 {
				t.Errorf("%d requests in a minute, with Retry-After: 20", l2+w2-l-w)
			}
			s.setFault(nil)
			for len(r.news) > 0 {
				<-r.news
			}
			time.Sleep(30 * time.Second)
			s.set("web-1", sliceOf(80, "10.0.0.2"))
			time.Sleep(soon)
			synctest.Wait()
			last := ""
			for len(r.news) > 0 {
				last = <-r.news
			}
			if last != "10.0.0.2:80" {
				t.Errorf("published last %q", last)
			}
		})
	}
}

// TestRefusedWatchGoesOn: one refusal of a watch lists nothing again.
func TestRefusedWatchGoesOn(t *testing.T) {
	prepared(t, func(s *server) {
		s.setFault(func(w http.ResponseWriter, _ *http.Request, watch bool) bool {
			if _, n := s.count(); watch && n == 1 {
				w.Header().Set("Retry-After", "5")
				refuse(w, 429, "too many requests")
				return true
			}
			return false
		})
	}, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		s.set("web-1", sliceOf(80, "10.0.0.2"))
		r.want("10.0.0.2:80", 6*time.Second)
		if lists, watches := s.count(); lists != 1 || watches != 2 {
			t.Errorf("%d lists and %d watches", lists, watches)
		}
	})
}

// TestKindsOfLists: the first is of any age, those after it are never older, and only a
// server that does not answer these has its storage asked, in pages.
func TestKindsOfLists(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		for i := range 5 {
			s.set(fmt.Sprintf("web-%d", i+2), sliceOf(80, fmt.Sprintf("10.0.0.%d", i+2)))
		}
		const all = "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 10.0.0.4:80 10.0.0.5:80 10.0.0.6:80"
		r.want(all, soon)
		s.cut() // a list that is not older
		r.quiet(time.Second)
		s.mu.Lock()
		s.pageSize, s.revision, s.log = 2, 30, nil // its data were restored
		s.mu.Unlock()
		s.cut()
		r.quiet(10 * time.Second)
		s.mu.Lock()
		kinds := slices.Clone(s.kinds)
		s.mu.Unlock()
		if want := []string{"any", "notOlder", "notOlder", "exact", "continue", "continue"}; !slices.Equal(kinds, want) {
			t.Errorf("lists %v, want %v", kinds, want)
		}
		s.set("web-1", sliceOf(80, "10.0.0.7"))
		r.want("10.0.0.2:80 10.0.0.3:80 10.0.0.4:80 10.0.0.5:80 10.0.0.6:80 10.0.0.7:80", soon)
	})
}

// TestPagesThatExpire: a list whose pages are gone before they are read is read in one.
func TestPagesThatExpire(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		s.set("web-2", sliceOf(80, "10.0.0.2"))
		r.want("10.0.0.1:80 10.0.0.2:80", soon)
		s.setFault(func(w http.ResponseWriter, r *http.Request, watch bool) bool {
			if r.URL.Query().Get("continue") != "" {
				refuse(w, http.StatusGone, "The provided continue parameter is too old")
				return true
			}
			return false
		})
		s.mu.Lock()
		s.pageSize, s.revision, s.log = 1, 30, nil
		s.mu.Unlock()
		s.cut()
		time.Sleep(20 * time.Second)
		s.set("web-2", sliceOf(80, "10.0.0.3"))
		for got := ""; got != "10.0.0.1:80 10.0.0.3:80"; {
			select {
			case got = <-r.news:
			case <-time.After(time.Minute):
				t.Fatal("the change was not seen")
			}
		}
	})
}

// TestSilentWatch: a server that has sent bookmarks and falls silent, though its connection
// lives, is asked again.
func TestSilentWatch(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		hang := make(chan bool)
		defer close(hang)
		s.mu.Lock()
		s.mark = 0
		s.mu.Unlock()
		s.cut()
		synctest.Wait()
		s.setFault(func(w http.ResponseWriter, r *http.Request, watch bool) bool {
			if !watch {
				return false
			}
			fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"71"}}}`)
			w.(http.Flusher).Flush()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return true
		})
		s.cut()
		r.quiet(time.Second)
		s.set("web-1", sliceOf(80, "10.0.0.2"))
		r.want("10.0.0.2:80", silenceMost+time.Second)
	})
}

// TestLabelMoves: a slice that is given to another service leaves the one it had.
func TestLabelMoves(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		s.setOf("other", "web-1", sliceOf(80, "10.0.0.1"))
		r.want("", soon)
		s.setOf("web", "web-1", sliceOf(80, "10.0.0.1"))
		r.want("10.0.0.1:80", soon)
	})
}

// TestJoinDuringAnOutage: a source that joins then has the last set, and learns that it may
// be stale.
func TestJoinDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.stop()
		s.set("web-1", sliceOf(80, "10.0.0.1"))
		registry := s.registry()
		first := start(t, registry.Source(ServiceConfig{Service: "web"}))
		defer first.stop()
		first.want("10.0.0.1:80", soon)
		s.setDown(true)
		first.want("error: kubernetes: connection refused", 2*time.Second)
		second := start(t, registry.Source(ServiceConfig{Service: "web", Scheme: "https"}))
		defer second.stop()
		second.want("10.0.0.1:80", soon)
		second.want("error: kubernetes: ", soon)
		s.setDown(false)
		first.want("10.0.0.1:80", 6*time.Second)
		second.want("10.0.0.1:80", soon)
	})
}

// TestCompact measures what a slice and an endpoint take in memory: the figures of README.md.
func TestCompact(t *testing.T) {
	measure := func(slices, pods int) float64 {
		heap := func() uint64 {
			var m runtime.MemStats
			for range 3 { // unique forgets over two
				runtime.GC()
			}
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		n := newNamespace("default", nil)
		before := heap()
		all := make(map[string]*slice)
		for i := range slices {
			var list []string
			for k := range pods {
				list = append(list, fmt.Sprintf(`{"addresses":["10.%d.%d.%d"],"conditions":{"ready":true,"serving":true,"terminating":false},`+
					`"nodeName":"ip-10-0-%d-17.eu-central-1.compute.internal","zone":"eu-central-1a",`+
					`"targetRef":{"kind":"Pod","namespace":"default","name":"service-%05d-7c9f6b5d4-%05d","uid":"6f1d0e0a-8f0e-4a53-9a29-%012d"}}`,
					i/250, i%250, k, k, i, k, i*1000+k))
			}
			var o object
			text := fmt.Sprintf(`{"metadata":{"name":"service-%05d-x7k2p","resourceVersion":"%d","labels":{"kubernetes.io/service-name":"service-%05d"}},`+
				`"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[%s]}`, i, i+1, i, strings.Join(list, ","))
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				t.Fatal(err)
			}
			s := compact(&o)
			all[s.name] = s
		}
		n.replace(all)
		all = nil
		after := heap()
		runtime.KeepAlive(n)
		return float64(after-before) / float64(slices)
	}
	empty, ten := measure(5000, 0), measure(5000, 10)
	each := (ten - empty) / 10
	t.Logf("%.0f bytes for a slice and %.0f for an endpoint", empty, each)
	if empty > 800 || each > 200 {
		t.Errorf("%.0f bytes for a slice and %.0f for an endpoint", empty, each)
	}
}
