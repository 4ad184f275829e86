package front

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// TestMountedIsRefusedWhileClosing: a handler that is mounted in another's server, since nothing
// says when its last request has come. What comes over connections that Close lets end is answered:
// TestCloseAnswersWhatComesOverOpenConnections of test/h2.
func TestMountedIsRefusedWhileClosing(t *testing.T) {
	release := make(chan struct{})
	var slow atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			slow.Add(1)
			<-release
		}
	}))
	defer s.Close()
	p, err := New(config.Config{
		Services: map[string]config.Service{"all": {Endpoints: []config.Endpoint{{URL: s.URL}}}},
		Routes:   []config.Route{{Service: "all"}},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(h http.Handler, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "http://a"+path, nil))
		return w
	}
	underWay := make(chan int, 1)
	go func() { underWay <- ask(p, "/slow").Code }()
	for slow.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close(context.Background()) }()
	until := time.Now().Add(20 * time.Second)
	w := ask(p, "/")
	for ; w.Code == 200 && time.Now().Before(until); w = ask(p, "/") {
		time.Sleep(time.Millisecond)
	}
	if w.Code != 503 || w.Header().Get("Poise-Reason") != "stopping" || w.Header().Get("Connection") != "close" {
		t.Errorf("mounted: %d %v", w.Code, w.Header())
	}
	close(release)
	if code := <-underWay; code != 200 {
		t.Errorf("what was under way: %d", code)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
