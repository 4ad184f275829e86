package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The report counts the request that it answers and the others, and is there whatever the handler
// does: writes, answers without content, or flushes.
func TestReports(t *testing.T) {
	var r Reporter
	hold, held := make(chan struct{}), make(chan struct{}, 2)
	server := httptest.NewServer(r.Handler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/hold":
			held <- struct{}{}
			<-hold
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/flush":
			w.(http.Flusher).Flush()
		default:
			io.WriteString(w, "text")
		}
	})))
	defer server.Close()
	for range 2 {
		go http.Get(server.URL + "/hold")
	}
	<-held
	<-held
	for _, path := range []string{"/text", "/none", "/flush"} {
		res, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		var cpu, latency float64
		var inFlight int
		said := strings.Join(res.Header.Values("Endpoint-Load-Metrics"), ";")
		if _, err := fmt.Sscanf(said, "TEXT cpu_utilization=%f,named_metrics.in_flight=%d,named_metrics.latency_ms=%f", &cpu, &inFlight, &latency); err != nil || inFlight < 3 || cpu < 0 {
			t.Errorf("%s: %q, %v", path, said, err)
		}
	}
	close(hold)
}
