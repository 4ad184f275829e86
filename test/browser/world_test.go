package browser

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

// A backend answers on as many loopback addresses as it is asked for. Each can be made to fail, and to
// be slow.
type backend struct {
	URLs       []string
	down, slow []atomic.Bool
}

func newBackend(t *testing.T, n int) *backend {
	t.Helper()
	b := &backend{down: make([]atomic.Bool, n), slow: make([]atomic.Bool, n)}
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if b.down[i].Load() {
				http.Error(w, "database is away", http.StatusServiceUnavailable)
				return
			}
			if b.slow[i].Load() {
				time.Sleep(time.Second)
			}
			w.Header().Set("Endpoint-Load-Metrics", "TEXT application_utilization=0.5")
			io.WriteString(w, "hello")
		})}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		b.URLs = append(b.URLs, "http://"+l.Addr().String())
	}
	return b
}

// service is one with those endpoints, probed each so often.
func service(urls []string, every time.Duration) poise.Service {
	s := poise.Service{Health: &poise.Health{Check: "GET /health", Interval: every, Timeout: every}}
	for _, u := range urls {
		s.Endpoints = append(s.Endpoints, poise.Endpoint{URL: u})
	}
	return s
}

// A world is a proxy with its admin API on a listener that can go away and come back.
type world struct {
	*testing.T
	proxy   *poise.Proxy
	front   *httptest.Server
	options admin.Options

	mu      sync.Mutex
	address string
	server  *http.Server
}

func newWorld(t *testing.T, c poise.Config, o admin.Options) *world {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, proxy: p, options: o, address: "127.0.0.1:0", front: httptest.NewServer(p)}
	t.Cleanup(func() {
		w.hide()
		w.front.Close()
		p.Close(context.Background())
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	w.show()
	return w
}

// show listens at the address of the admin API, the same one each time.
func (w *world) show() {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.Fatal(err)
	}
	w.address = l.Addr().String()
	w.server = &http.Server{Handler: admin.Handler(w.proxy, w.options)}
	go w.server.Serve(l)
}

// hide closes the admin API with its connections.
func (w *world) hide() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server.Close()
}

// URL is that of the page, at a place of it.
func (w *world) URL(place string) string { return "http://" + w.address + "/" + place }

// load asks the proxy about rate times a second until the test ends, path after path.
func (w *world) load(rate int, paths ...string) {
	ctx, cancel := context.WithCancel(w.Context())
	var group sync.WaitGroup
	w.Cleanup(func() { cancel(); group.Wait() })
	group.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if res, err := http.Get(w.front.URL + paths[i%len(paths)]); err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	})
}
