package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A run is a source at work, within a bubble of virtual time.
type run struct {
	t    *testing.T
	news chan string
	stop func()
}

func start(t *testing.T, source *Source) *run {
	r := &run{t: t, news: make(chan string, 10_000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, func(u discovery.Update) { r.news <- brief(u) }) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return r
}

// brief is an update in one line.
func brief(u discovery.Update) string {
	if u.Err != nil {
		return "error: " + u.Err.Error()
	}
	var parts []string
	for _, s := range u.Endpoints {
		parts = append(parts, s.Address)
	}
	for _, r := range u.Rejected {
		parts = append(parts, "!"+r.ID)
	}
	return strings.Join(parts, " ")
}

// want waits for the next update, which reads so or begins so if it is an error, and
// checks that it came within the time.
func (r *run) want(want string, within time.Duration) {
	r.t.Helper()
	began := time.Now()
	select {
	case got := <-r.news:
		if got != want && !(strings.HasPrefix(want, "error: ") && strings.HasPrefix(got, want)) {
			r.t.Fatalf("published %q, want %q", got, want)
		}
		if took := time.Since(began); took > within {
			r.t.Errorf("%q took %v, want %v at most", want, took, within)
		}
	case <-time.After(10 * time.Minute):
		r.t.Fatalf("nothing was published, want %q", want)
	}
}

// quiet checks that nothing is published for so long.
func (r *run) quiet(d time.Duration) {
	r.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if len(r.news) > 0 {
		r.t.Fatalf("published %q", <-r.news)
	}
}

// bubble plays a test in virtual time, with a server and a source.
func bubble(t *testing.T, test func(t *testing.T, s *server, r *run)) {
	t.Helper()
	bubbleOf(t, false, test)
}

// bubbleOf is bubble with a server that knows only HTTP/1.1 if old is set.
func bubbleOf(t *testing.T, old bool, test func(t *testing.T, s *server, r *run)) {
	t.Helper()
	prepared(t, func(s *server) {
		if old {
			s.old()
		}
	}, test)
}

// prepared is bubble with a server that is prepared before the source starts.
func prepared(t *testing.T, prepare func(s *server), test func(t *testing.T, s *server, r *run)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		prepare(s)
		s.set("web-1", sliceOf(80, "10.0.0.1"))
		r := start(t, s.source())
		defer s.stop()
		defer r.stop()
		test(t, s, r)
	})
}

const soon = 2 * gather

func TestChanges(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		r.quiet(time.Second)
		s.set("web-2", sliceOf(80, "10.0.0.2", "10.0.0.3"))
		r.want("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", soon)
		s.set("web-2", sliceOf(80, "10.0.0.3", "10.0.0.x"))
		r.want("10.0.0.1:80 10.0.0.3:80 !web-2/1", soon)
		s.set("web-2", sliceOf(80, "10.0.0.3"))
		r.want("10.0.0.1:80 10.0.0.3:80", soon)
		r.quiet(20 * time.Second) // over several watches
		s.delete("web-1")
		r.want("10.0.0.3:80", soon)
		// An endpoint that moves to another slice is never away.
		s.set("web-2", sliceOf(80))
		s.set("web-3", sliceOf(80, "10.0.0.3", "10.0.0.4"))
		r.want("10.0.0.3:80 10.0.0.4:80", soon)
		s.delete("web-3")
		r.want("", soon)
		s.delete("web-2")
		r.quiet(time.Second)
	})
}

// TestQuietHours counts requests while nothing happens: watches follow each other, and
// everything is listed again once or twice an hour.
func TestQuietHours(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		r.quiet(10 * time.Hour)
		lists, watches := s.count()
		if lists < 11 || lists > 21 || watches < 60 || watches > 140 {
			t.Errorf("%d lists and %d watches", lists, watches)
		}
		if s.dials != 1 {
			t.Errorf("%d connections", s.dials)
		}
	})
}

// TestQuietHoursOverHTTP1 has watches that are short, as they are the sign of life.
func TestQuietHoursOverHTTP1(t *testing.T) {
	bubbleOf(t, true, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		r.quiet(time.Hour)
		lists, watches := s.count()
		if lists > 3 || watches < 3600/8 || watches > 3600/7+lists {
			t.Errorf("%d lists and %d watches", lists, watches)
		}
	})
}

// TestExpiredRevision is listed again, and that is nobody's business.
func TestExpiredRevision(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		time.Sleep(time.Second)
		s.set("other", sliceOf(80))
		s.set("web-1", sliceOf(80, "10.0.0.2"))
		r.want("10.0.0.2:80", soon)
		s.mu.Lock()
		s.revision += 10 // of other things, which the watch is not told
		s.mu.Unlock()
		s.compact()
		time.Sleep(time.Second)
		s.set("web-1", sliceOf(80, "10.0.0.3"))
		r.want("10.0.0.3:80", soon)
		s.setFault(func(w http.ResponseWriter, _ *http.Request, watch bool) bool {
			if watch {
				refuse(w, http.StatusGone, "Expired") // as a status, which is possible too
			}
			return watch
		})
		r.quiet(30 * time.Second)
		s.setFault(nil)
		s.set("web-1", sliceOf(80, "10.0.0.4"))
		r.want("10.0.0.4:80", 6*time.Second)
	})
}

// TestRevisionFromTheFuture: the server's data were restored, and it does not answer
// watches that have seen more.
func TestRevisionFromTheFuture(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		s.mu.Lock()
		s.revision, s.log = 5, nil
		s.mu.Unlock()
		s.set("web-1", sliceOf(80, "10.0.0.2"))
		s.cut()
		r.want("10.0.0.2:80", 4*time.Second)
	})
}

// TestFrozen: a server that hangs is noticed in time, by pings or by the end of a watch.
func TestFrozen(t *testing.T) {
	for name, old := range map[string]bool{"HTTP/2": false, "HTTP/1.1": true} {
		t.Run(name, func(t *testing.T) {
			bubbleOf(t, old, func(t *testing.T, s *server, r *run) {
				r.want("10.0.0.1:80", soon)
				time.Sleep(3 * time.Second)
				thaw := s.freeze()
				r.want("error: kubernetes: no answer in time", 15*time.Second)
				r.quiet(time.Minute) // told once
				s.set("web-1", sliceOf(80, "10.0.0.2"))
				thaw()
				r.want("10.0.0.2:80", 10*time.Second)
			})
		})
	}
}

// TestFrozenAfterAnOutage: a server that hangs before a watch has come to its end is noticed
// as soon as any other.
func TestFrozenAfterAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		s.setDown(true)
		r.want("error: kubernetes: connection refused", 2*time.Second)
		r.quiet(time.Minute)
		s.setDown(false)
		r.want("10.0.0.1:80", 5*time.Second)
		time.Sleep(time.Second)
		thaw := s.freeze()
		r.want("error: kubernetes: no answer in time", 15*time.Second)
		thaw()
		r.want("10.0.0.1:80", 10*time.Second)
	})
}

func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		time.Sleep(time.Second)
		s.cut() // and nothing else: nobody is told
		s.set("web-1", sliceOf(80, "10.0.0.2"))
		r.want("10.0.0.2:80", time.Second)
		s.setDown(true)
		r.want("error: kubernetes: connection refused", 2*time.Second)
		r.quiet(5 * time.Minute)
		s.setDown(false)
		r.want("10.0.0.2:80", 5*time.Second) // the same, but no longer stale
	})
}

// TestFaultyLists never lose the set, nor make another of a part.
func TestFaultyLists(t *testing.T) {
	list := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { fmt.Fprint(w, text) }
	}
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"forbidden": {func(w http.ResponseWriter) { refuse(w, 403, "endpointslices is forbidden") }, "status 403: endpointslices is forbidden"},
		"no JSON":   {func(w http.ResponseWriter) { w.WriteHeader(502); fmt.Fprint(w, "<html>") }, "status 502: Bad Gateway"},
		"a page":    {list("<html>"), "the answer is not a list"},
		"an object": {list(`{"kind":"Status","metadata":{}}`), "the answer is not a list"},
		"a part":    {list(`{"kind":"EndpointSliceList","metadata":{"resourceVersion":"9","continue":"x"},"items":[]}`), "the pages of the list have no end"},
		"cut short": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"9"},"items":[`)
		}, "the list broke off"},
		"chunks, cut short": {func(w http.ResponseWriter) {
			fmt.Fprint(w, `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"9"},"items":[]}`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "the list broke off"},
		"slow":       {func(w http.ResponseWriter) { fmt.Fprint(w, "{"); w.(http.Flusher).Flush(); time.Sleep(time.Minute) }, "the list broke off: no answer in time"},
		"a redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(307) }, "status 307"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *server, r *run) {
				r.want("10.0.0.1:80", soon)
				synctest.Wait() // the watch is open
				s.setFault(func(w http.ResponseWriter, _ *http.Request, watch bool) bool {
					test.answer(w)
					return true
				})
				s.cut()
				r.want("error: kubernetes: "+test.want, 15*time.Second)
				s.setFault(nil)
				r.want("10.0.0.1:80", 10*time.Second)
			})
		})
	}
}

// TestFaultyWatches: everything is listed again, so nothing is told but what is true.
func TestFaultyWatches(t *testing.T) {
	for name, lines := range map[string]string{
		"nothing":        "",
		"half a line":    `{"type":"ADDED","object":{"metadata":{"name":"x","resource`,
		"no JSON":        "hello\n",
		"no object":      `{"type":"ADDED"}` + "\n",
		"no revision":    `{"type":"ADDED","object":{"metadata":{"name":"x"}}}` + "\n",
		"an error":       `{"type":"ERROR","object":{"kind":"Status","message":"x","code":500}}` + "\n",
		"a broken error": `{"type":"ERROR","object":7}` + "\n",
		"refused":        "refused",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *server, r *run) {
				s.setFault(func(w http.ResponseWriter, _ *http.Request, watch bool) bool {
					if watch && lines == "refused" {
						refuse(w, 500, "x")
					} else if watch {
						fmt.Fprint(w, lines)
					}
					return watch
				})
				s.cut() // one that was open before
				r.want("10.0.0.1:80", soon)
				r.quiet(time.Minute)
				if lists, _ := s.count(); lists < 12 || lists > 40 {
					t.Errorf("%d lists in a minute", lists)
				}
				s.set("web-1", sliceOf(80, "10.0.0.2")) // lists are what is left
				r.want("10.0.0.2:80", 6*time.Second)
			})
		})
	}
}

// TestUnknownEvents: kinds to come change nothing, but their revision counts.
func TestUnknownEvents(t *testing.T) {
	for _, kind := range []string{"BOOKMARK", "ARCHIVED"} {
		e := event{Type: kind, Object: []byte(`{"metadata":{"resourceVersion":"7"}}`)}
		if c, revision, err := e.change(); c != nil || revision != "7" || err != nil {
			t.Errorf("%s: %v, %q, %v", kind, c, revision, err)
		}
	}
}

// TestTokenFile is read again for every request.
func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.set("web-1", sliceOf(80, "10.0.0.1"))
		s.token = "first"
		source := s.source()
		source.registry.config.TokenFile = path
		r := start(t, source)
		defer s.stop()
		defer r.stop()
		r.want("10.0.0.1:80", soon)
		s.mu.Lock()
		s.token = "second"
		s.mu.Unlock()
		s.cut()
		r.want("error: kubernetes: status 401: Unauthorized", 10*time.Second)
		write("second")
		r.want("10.0.0.1:80", 6*time.Second)
		write("\n")
		s.cut()
		r.want("error: kubernetes: the token: "+path+" has none", 10*time.Second)
	})
}

// TestReconnectsLeaveNothing: a bubble ends only when all its goroutines have, and the
// heap is compared.
func TestReconnectsLeaveNothing(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	bubble(t, func(t *testing.T, s *server, r *run) {
		r.want("10.0.0.1:80", soon)
		cut := func(n int) {
			for range n {
				time.Sleep(8 * time.Second)
				s.cut()
			}
			synctest.Wait()
		}
		cut(20)
		before, goroutines := heap(), runtime.NumGoroutine()
		cut(500)
		if after := heap(); after > before+1<<20 || runtime.NumGoroutine() > goroutines+4 {
			t.Errorf("%d kB and %d goroutines, were %d kB and %d", after>>10, runtime.NumGoroutine(), before>>10, goroutines)
		}
		r.quiet(0)
	})
}

// TestInPod uses what a pod has: two variables and a folder.
func TestInPod(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" || r.Header.Get("Authorization") != "Bearer pods-token" {
			refuse(w, 401, r.URL.Path)
			return
		}
		fmt.Fprint(w, `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"72"},"items":[]}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"token": "pods-token\n", "namespace": "shop",
		"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "https://"))
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	once := func(c Config, web string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got := "nothing"
		err := New(c, ServiceConfig{Service: web}).Run(ctx, func(u discovery.Update) { got = brief(u); cancel() })
		return got, err
	}
	if got, err := once(Config{Account: dir}, "web"); got != "" || err != nil {
		t.Errorf("published %q, %v", got, err)
	}
	if got, _ := once(Config{Account: dir, TLS: &tls.Config{RootCAs: x509.NewCertPool()}}, "web"); !strings.Contains(got, "certificate") {
		t.Errorf("published %q", got)
	}
	if _, err := once(Config{Account: t.TempDir()}, "web"); err == nil || !strings.Contains(err.Error(), "roots") {
		t.Errorf("without an account: %v", err)
	}
}

func TestImpossible(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	here := Config{Server: "http://127.0.0.1:1"}
	for name, test := range map[string]struct {
		c Config
		s ServiceConfig
	}{
		"no service":       {here, ServiceConfig{}},
		"a bad service":    {here, ServiceConfig{Service: "a,b"}},
		"a bad namespace":  {here, ServiceConfig{Service: "a", Namespace: "../b"}},
		"a bad default":    {Config{Server: here.Server, Namespace: "../b"}, ServiceConfig{Service: "a"}},
		"a bad scheme":     {here, ServiceConfig{Service: "a", Scheme: "ftp"}},
		"a bad port":       {here, ServiceConfig{Service: "a", Port: "70000"}},
		"no server":        {Config{}, ServiceConfig{Service: "a"}},
		"no URL":           {Config{Server: "127.0.0.1:1"}, ServiceConfig{Service: "a"}},
		"credentials":      {Config{Server: "https://u:secret@h:1"}, ServiceConfig{Service: "a"}},
		"a query":          {Config{Server: "https://h:1/?token=secret"}, ServiceConfig{Service: "a"}},
		"a token in clear": {Config{Server: "http://192.0.2.1:1", Token: "secret"}, ServiceConfig{Service: "a"}},
	} {
		err := New(test.c, test.s).Run(t.Context(), func(discovery.Update) { t.Error("published") })
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "kubernetes: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
