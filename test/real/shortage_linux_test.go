package real

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// What clients can take from the process: its descriptors, its memory, its time.

// small is a configuration with three endpoints, all of ours and all healthy.
func small(t *testing.T, address, extra string) (text string, ejected func(said string) bool) {
	t.Helper()
	var list []string
	for range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
		t.Cleanup(s.Close)
		list = append(list, strconv.Quote(s.URL))
	}
	text = fmt.Sprintf(`version: 1
listen: [%q]
timeouts: {head: 3s, drain: 2s}
%s
services:
  web:
    endpoints: [%s]
    health: {check: GET /health, interval: 200ms, timeout: 200ms, unhealthy_after: 2}
    breaker: {consecutive_failures: 3}
routes:
  - {match: {path: /**}, service: web}
`, address, extra, strings.Join(list, ", "))
	return text, func(said string) bool { return strings.Contains(said, "ejected") }
}

// limited starts poise with so many descriptors.
func limited(t *testing.T, engine, config string, files int) *rig.Process {
	t.Helper()
	script := fmt.Sprintf("ulimit -n %d && exec %q run -c %q --engine %s", files, rig.Poise(t), config, engine)
	p := rig.Start(t, rig.Command{Path: rig.Program(t, "sh"), Args: []string{"-c", script}})
	p.Await("poise: ready on")
	return p
}

// TestFewDescriptors: many clients that keep their connections, and a process that may open
// 80 files. Endpoints are not blamed, every client is answered, and what needs a descriptor
// of the reserve has it.
func TestFewDescriptors(t *testing.T) {
	for _, engine := range []string{"loop", "goroutine"} {
		t.Run(engine, func(t *testing.T) {
			address, config := rig.Address(t), t.TempDir()+"/poise.yaml"
			text, ejected := small(t, address, "")
			rig.Write(t, config, text)
			p := limited(t, engine, config, 80)
			var ok, exhausted atomic.Int32
			var clients sync.WaitGroup
			for i := range 70 {
				clients.Go(func() { keeps(t, i, "http://"+address, &ok, &exhausted) })
			}
			clients.Wait()
			t.Logf("%d answers, %d exhausted", ok.Load(), exhausted.Load())
			if ok.Load() < 70*5 {
				t.Errorf("only %d of %d requests were served", ok.Load(), 70*6)
			}
			rig.Write(t, config, strings.Replace(text, "path: /**", "path: /only/**", 1))
			p.Await("configuration applied")
			r, err := (&http.Client{Timeout: 20 * time.Second}).Get("http://" + address + "/other")
			if err != nil || r.StatusCode != http.StatusNotFound {
				t.Errorf("after a reload: %v, %v", r, err)
			}
			if ejected(p.Text()) {
				t.Error("an endpoint was ejected")
			}
			p.Signal(syscall.SIGTERM)
			began := time.Now()
			if code := p.Exit(); code != 0 || time.Since(began) > 20*time.Second {
				t.Errorf("it ended with %d after %v", code, time.Since(began))
			}
		})
	}
}

// keeps sends six requests on a connection that it keeps as long as it may.
func keeps(t *testing.T, i int, url string, ok, exhausted *atomic.Int32) {
	transport := &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
	for n := range 6 {
		r, err := client.Get(fmt.Sprintf("%s/%d/%d", url, i, n))
		if err != nil {
			t.Errorf("client %d, request %d: %v", i, n, err)
			continue
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		switch reason := r.Header.Get("Poise-Reason"); {
		case r.StatusCode == http.StatusOK:
			ok.Add(1)
		case r.StatusCode == http.StatusServiceUnavailable && reason == "exhausted":
			exhausted.Add(1)
		default:
			t.Errorf("client %d, request %d: %d %s", i, n, r.StatusCode, reason)
		}
		time.Sleep(50 * time.Millisecond)
	}
	// The connection stays open, as a browser's does.
	t.Cleanup(transport.CloseIdleConnections)
}

// TestSlowHeads: thousands of connections on which a head never ends. The time for heads
// ends them; others are served meanwhile; the memory stays bounded.
func TestSlowHeads(t *testing.T) {
	const want, perConnection = 5000, 64 << 10
	count := want
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if room := int(min(r.Cur, 1<<20)) - 500; room < 2*count+500 {
		count = room/2 - 500
	}
	if count < 500 {
		t.Skipf("too few descriptors: %d", r.Cur)
	}
	address, config := rig.Address(t), t.TempDir()+"/poise.yaml"
	text, _ := small(t, address, "")
	rig.Write(t, config, text)
	p := limited(t, "loop", config, 2*count+500)
	before := resident(t, p.ID())
	slow := make([]net.Conn, count)
	for i := range slow {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		slow[i] = c
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
	}
	stop := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		for {
			for _, c := range slow {
				c.Write([]byte("x"))
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
		}
	})
	most := resident(t, p.ID())
	served := 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); served++ {
		r, err := (&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + address)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("request %d beside them: %v, %v", served, r, err)
		}
		r.Body.Close()
		most = max(most, resident(t, p.ID()))
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	dripping.Wait()
	open := 0
	for _, c := range slow {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
			open++
		}
	}
	t.Logf("%d connections, %d requests beside them, memory from %d to %d KiB", count, served, before>>10, most>>10)
	if open > 0 {
		t.Errorf("%d connections are still open", open)
	}
	if most-before > count*perConnection {
		t.Errorf("memory grew from %d to %d bytes", before, most)
	}
}

// resident is the memory of a process in bytes.
func resident(t *testing.T, process int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", process))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
