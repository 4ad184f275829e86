package faults

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// limited starts poise with a limit of open files, with three endpoints that are probed.
func limited(t *testing.T, files int, engine, more string) (p *rig.Process, listen, config string) {
	t.Helper()
	listen, config = rig.Address(t), filepath.Join(t.TempDir(), "poise.yaml")
	var list strings.Builder
	for range 3 {
		e := &endpoint{t: t, address: rig.Address(t)}
		e.start()
		fmt.Fprintf(&list, "      - http://%s\n", e.address)
	}
	rig.Write(t, config, fmt.Sprintf("version: 1\nlisten:\n  - address: %s\n%sservices:\n  all:\n    health: {check: HEAD /health, interval: 200ms, unhealthy_after: 2}\n    endpoints:\n%sroutes:\n  - match: {path: /**}\n    service: all\n",
		listen, more, list.String()))
	p = rig.Start(t, rig.Command{Path: rig.Program(t, "sh"), Args: []string{"-c", fmt.Sprintf("ulimit -n %d && exec \"$0\" \"$@\"", files),
		binary, "run", "--engine", engine, "-c", config}})
	p.Listens(listen)
	return p, listen, config
}

// TestShortOfDescriptors: the process may open 80 files, and 75 clients keep their
// connections. No endpoint is blamed; every client has its turn, and a 503 says that the
// proxy is exhausted; what needs a descriptor of the reserve has it: a reload is taken, and
// SIGTERM ends the process in time.
func TestShortOfDescriptors(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds for each engine")
	}
	binary = rig.Poise(t)
	for _, engine := range []string{"loop", "goroutine"} {
		t.Run(engine, func(t *testing.T) { shortOfDescriptors(t, engine) })
	}
}

func shortOfDescriptors(t *testing.T, engine string) {
	p, listen, config := limited(t, 80, engine, "")
	const clients = 75
	var answers [clients]atomic.Int64
	var others, cut sync.Map
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			l := &load{address: listen, began: time.Now()}
			defer func() {
				for _, c := range l.idle {
					c.Close()
				}
			}()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				o := outcome{id: fmt.Sprint(i, "-", n)}
				err := l.ask(&o)
				switch {
				case err != nil && n > 0 && len(l.idle) == 0 && !errors.Is(err, syscall.ECONNREFUSED):
					cut.Store(o.id, err) // an idle connection was closed as it was used
				case err != nil:
					others.Store(o.id, err.Error())
				case o.status == 200 || o.status == 503 && o.reason == "exhausted":
					answers[i].Add(1)
				default:
					others.Store(o.id, fmt.Sprint(o.status, " ", o.reason, " ", o.from))
				}
			}
		})
	}
	time.Sleep(3 * time.Second)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	rig.Write(t, config, strings.Replace(string(text), "interval: 200ms", "interval: 300ms", 1))
	p.Signal(syscall.SIGHUP)
	p.Await("(?i)configuration (applied|reloaded)|reloaded")
	time.Sleep(3 * time.Second)
	close(stop)
	running.Wait()
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(); code != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d, %v after SIGTERM", code, time.Since(began))
	}
	if n := p.Said("ejected"); n > 0 {
		t.Errorf("endpoints were ejected, as %d lines say", n)
	}
	others.Range(func(id, why any) bool { t.Errorf("request %v: %v", id, why); return true })
	var total int64
	starved := 0
	for i := range answers {
		n := answers[i].Load()
		total += n
		if n == 0 {
			starved++
		}
	}
	lost := 0
	cut.Range(func(_, _ any) bool { lost++; return true })
	t.Logf("%d answers, %d idle connections closed as they were used, %d of %d clients without an answer", total, lost, starved, clients)
	if starved > 0 || total < 10*clients || int64(lost)*50 > total {
		t.Error("not every client had its turn")
	}
}

// TestSlowClients: while 5,000 clients send a byte a second, others are served, and the
// memory is bounded for each of them. They are gone when the time for a head is over.
func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	binary = rig.Poise(t)
	p, listen, _ := limited(t, 20_000, "auto", "timeouts: {head: 5s}\n")
	const (
		slow    = 5000
		kibEach = 64 // of memory, at most
	)
	before := memory(t, p.ID())
	conns := make([]net.Conn, slow)
	for i := range conns {
		c, err := net.Dial("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	l := startLoad(listen, rate)
	for i, b := range []byte("GET /") {
		for _, c := range conns {
			c.Write([]byte{b})
		}
		time.Sleep(time.Second)
		if i == 3 {
			grown := memory(t, p.ID()) - before
			t.Logf("%d KiB for each of %d slow clients", grown/slow, slow)
			if grown > slow*kibEach {
				t.Errorf("more than %d KiB for each", kibEach)
			}
		}
	}
	time.Sleep(3 * time.Second)
	gone := 0
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		var b [512]byte
		n, err := c.Read(b[:])
		if n > 0 && strings.Contains(string(b[:n]), " "+fmt.Sprint(http.StatusRequestTimeout)+" ") || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone++
		}
	}
	if gone < slow*99/100 {
		t.Errorf("%d of %d slow clients were sent away", gone, slow)
	}
	for _, o := range l.end() {
		if o.failed() && !o.post || o.took > 2*time.Second {
			t.Errorf("request %s: %d after %v: %s", o.id, o.status, o.took, o.why)
		}
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// memory is the resident size of a process in KiB.
func memory(t *testing.T, id int) (kib int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
