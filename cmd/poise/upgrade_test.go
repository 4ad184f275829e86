//go:build unix

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
)

// A lineage is a process and those that took its place, one after the other. They share the
// output.
type lineage struct {
	*process
	path string // of the binary, which tests replace
	pid  int    // of the process that serves
	n    int    // upgrades so far
}

// install puts a copy of the binary under test at a path of its own.
func install(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "poise")
	replace(t, path, binary)
	return path
}

// replace puts another binary at the path, as a package manager does.
func replace(t *testing.T, path, with string) {
	t.Helper()
	os.Remove(path + ".new")
	if err := os.Link(with, path+".new"); err != nil {
		content, err := os.ReadFile(with)
		if err == nil {
			err = os.WriteFile(path+".new", content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// script puts a shell script in the place of the binary.
func script(t *testing.T, path, text string) {
	t.Helper()
	temp := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(temp, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	replace(t, path, temp)
}

// begin starts the binary at path, by the shell if before is a line for it.
func begin(t *testing.T, path string, before string, args ...string) *lineage {
	t.Helper()
	cmd := exec.Command(path, args...)
	if before != "" {
		cmd = exec.Command("/bin/sh", append([]string{"-c", before + `; exec "$0" "$@"`, path}, args...)...)
	}
	p := launchCommand(t, cmd)
	l := &lineage{process: p, path: path, pid: p.cmd.Process.Pid}
	t.Cleanup(func() { // before that of p, which waits for the end of the output
		if l.pid != p.cmd.Process.Pid {
			syscall.Kill(l.pid, syscall.SIGKILL)
		}
	})
	m := p.say(`(?m)^poise: ready on (\S+(?: and \S+)*), .*$`)
	p.urls = strings.Split(m[1], " and ")
	return l
}

func (l *lineage) kill(s syscall.Signal) {
	l.t.Helper()
	if err := syscall.Kill(l.pid, s); err != nil {
		l.t.Fatal(err)
	}
}

// says waits until the output has the pattern for the nth time, and returns that match.
func (l *lineage) says(n int, pattern string) []string {
	l.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if all := re.FindAllStringSubmatch(l.out.String(), n); len(all) == n {
			return all[n-1]
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("poise did not say %s %d times", pattern, n)
		}
	}
}

// upgrade has another process take the place of the one that serves, and returns the number of
// the latter, which drains.
func (l *lineage) upgrade() (old int) {
	l.t.Helper()
	l.n++
	old = l.pid
	l.kill(syscall.SIGUSR2)
	m := l.says(l.n, `the new process serves, this one ends" "?new pid"?=(\d+)`)
	l.pid, _ = strconv.Atoi(m[1])
	l.says(l.n, `took the place of the process before`)
	return old
}

// runs reports whether a process has not ended. One that its parent has not waited for has.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(rest, []byte("Z"))
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); runs(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
	}
}

// A busy service answers in every way that clients of a load want.
func busyService(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(append(b, "ok"...))
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) { // 20 pieces in a second
		for range 20 {
			io.WriteString(w, strings.Repeat("x", 1000))
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(conn, buf)
	})
	s := &http.Server{Handler: mux}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

// A load is clients that do not stop until end.
type load struct {
	t      *testing.T
	stop   chan struct{}
	tasks  chan struct{}
	n      int
	done   atomic.Int64
	failed atomic.Int64
	slow   atomic.Int64 // long ones that were completed
}

func (l *load) client(what string, count *atomic.Int64, do func() error) {
	l.n++
	go func() {
		defer func() { l.tasks <- struct{}{} }()
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			if err := do(); err != nil {
				if l.failed.Add(1) < 10 {
					l.t.Errorf("%s: %v", what, err)
				}
				continue
			}
			count.Add(1)
		}
	}()
}

// startLoad begins with clients of plain and secure.
func startLoad(t *testing.T, plain, secure string, pool *tls.Config) *load {
	l := &load{t: t, stop: make(chan struct{}), tasks: make(chan struct{}, 100)}
	// Each client has a connection of its own, on which it pauses for no longer than it must. One that
	// several share has spare ones, and a spare connection that was idle for a while may be closed just
	// when a POST is sent on it (RFC 9112 §9.3.1): no proxy can help that.
	own := func() *http.Client {
		return &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	}
	h2 := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: pool, ForceAttemptHTTP2: true}}
	get := func(c *http.Client, url string, size int) func() error {
		return func() error {
			r, err := c.Get(url)
			return check(r, err, size)
		}
	}
	for range 2 {
		l.client("keep-alive", &l.done, get(own(), plain, 2))
		l.client("HTTP/2", &l.done, func() error {
			r, err := h2.Get(secure)
			if err == nil && r.ProtoMajor != 2 {
				t.Errorf("protocol %s", r.Proto)
			}
			return check(r, err, 2)
		})
	}
	l.client("new connections", &l.done, func() error { _, err := fetch(plain); return err })
	poster := own()
	l.client("POST", &l.done, func() error {
		r, err := poster.Post(plain, "text/plain", strings.NewReader("hello"))
		return check(r, err, 7)
	})
	l.client("download", &l.slow, get(own(), plain+"/long", 20_000))
	l.client("download over HTTP/2", &l.slow, get(h2, secure+"/long", 20_000))
	uploader := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}} // it waits for content before it sends a head
	l.client("upload", &l.slow, func() error {
		r, err := uploader.Post(plain, "text/plain", io.LimitReader(&slowly{}, 10_000))
		return check(r, err, 10_002)
	})
	return l
}

// slowly yields 1,000 bytes every tenth of a second.
type slowly struct{}

func (*slowly) Read(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	p = p[:min(len(p), 1000)]
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func check(r *http.Response, err error, size int) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return fmt.Errorf("after %d bytes: %w", len(b), err)
	case r.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d: %.100s", r.StatusCode, b)
	case len(b) != size:
		return fmt.Errorf("%d bytes, want %d", len(b), size)
	}
	return nil
}

// end waits for the clients, each of which completes what it has begun.
func (l *load) end() {
	l.t.Helper()
	close(l.stop)
	for range l.n {
		<-l.tasks
	}
	l.t.Logf("%d requests, %d long ones", l.done.Load(), l.slow.Load())
	if n := l.failed.Load(); n > 0 || l.done.Load() < 100 || l.slow.Load() < 3 {
		l.t.Errorf("%d requests, %d long ones, %d failed", l.done.Load(), l.slow.Load(), n)
	}
}

// A socket is a WebSocket as far as a proxy can see.
type socket struct{ net.Conn }

func openSocket(t *testing.T, url string) *socket {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return upgraded(t, conn)
}

// openSecure is openSocket over TLS.
func openSecure(t *testing.T, url string, c *tls.Config) *socket {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: c.RootCAs}) // without HTTP/2
	if err != nil {
		t.Fatal(err)
	}
	return upgraded(t, conn)
}

// upgraded asks for a WebSocket on a connection.
func upgraded(t *testing.T, conn net.Conn) *socket {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	head := make([]byte, 0, 1000)
	for conn.SetDeadline(time.Now().Add(patience)); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		one := make([]byte, 1)
		if _, err := conn.Read(one); err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		head = append(head, one...)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("%q", head)
	}
	return &socket{conn}
}

// echo sends a message and waits for it to come back.
func (s *socket) echo() error {
	s.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(s, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(s, make([]byte, 4))
	return err
}

// loadFile is a configuration with a plain and a secure listener.
func loadFile(t *testing.T, url, plain, secure string, more string) (text string, pool *tls.Config) {
	c := testcert.New(t, testcert.Template{Names: []string{"127.0.0.1"}})
	cert, key := c.Files(t)
	text = fmt.Sprintf(`version: 1
listen:
  - address: %s
  - {address: %q, tls: {certificates: [{cert: %s, key: %s}]}}
services:
  web: {endpoints: [%q], health: {check: "GET /", interval: 1s}}
routes:
  - service: web
timeouts: {drain: 3s}
%s`, plain, secure, cert, key, url, more)
	return text, &tls.Config{RootCAs: c.Pool()}
}

// TestUpgradesLoseNothing: five upgrades under every kind of load. What takes long ends where it
// began, and a WebSocket lives until the drain of its process ends.
func TestUpgradesLoseNothing(t *testing.T) {
	service := busyService(t)
	for _, engine := range []string{"loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			text, pool := loadFile(t, service, "127.0.0.1:0", "127.0.0.1:0 ", "")
			text = strings.Replace(text, `"127.0.0.1:0 "`, unusedAddress(t), 1)
			conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), text)
			pid := filepath.Join(t.TempDir(), "pid")
			l := begin(t, install(t), "", "run", "-c", conf, "--engine", engine, "--workers", "2", "--pid-file", pid)
			clients := startLoad(t, l.urls[0], l.urls[1], pool)
			var old []int
			for range 5 {
				ws := openSocket(t, l.urls[0])
				old = append(old, l.upgrade())
				if err := ws.echo(); err != nil {
					t.Errorf("a WebSocket did not live on in the old process: %v", err)
				}
				time.Sleep(200 * time.Millisecond)
			}
			clients.end()
			for _, pid := range old {
				gone(t, pid)
			}
			if got, _ := os.ReadFile(pid); strings.TrimSpace(string(got)) != strconv.Itoa(l.pid) {
				t.Errorf("the pid file says %q, process %d serves", got, l.pid)
			}
			l.kill(syscall.SIGTERM)
			gone(t, l.pid)
			if _, err := os.Stat(pid); err == nil {
				t.Error("the pid file is left")
			}
		})
	}
}

// edits are changes of a configuration that leave its route alone, as loadFile writes it: each is
// undone by the next one.
func edits(t *testing.T, text, service string, n int) string {
	replace := func(old, now string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("there is no %q in\n%s", old, text)
		}
		return strings.Replace(text, old, now, 1)
	}
	switch n % 5 {
	case 0: // another route and its service
		return replace("routes:\n", fmt.Sprintf("  other%d: {endpoints: [%q]}\nroutes:\n  - {service: other%d, match: {path: /%d/}}\n", n, service, n, n))
	case 1: // another address
		return replace("listen:\n", fmt.Sprintf("listen:\n  - address: %s\n", unusedAddress(t)))
	case 2: // other TLS, so another listener on the same socket
		return replace("tls: {", `tls: {min_version: "1.3", `)
	case 3: // other settings of connections, so with std another server
		return replace("timeouts: {", fmt.Sprintf("timeouts: {idle: %ds, ", 60+n))
	}
	return replace("health: {", "retry: {attempts: 2}, health: {") // other settings of the service itself
}

// TestReloadsLoseNothing: reloads of every kind and upgrades under the same load. No request fails,
// and WebSockets of a route that is not touched live through all reloads, and through an upgrade in
// the old process.
func TestReloadsLoseNothing(t *testing.T) {
	service := busyService(t)
	for _, run := range []struct {
		engine   string
		upgrades int // with ten reloads before each
	}{{"loop", 5}, {"goroutine", 1}, {"std", 1}} {
		t.Run(run.engine, func(t *testing.T) {
			t.Parallel()
			text, pool := loadFile(t, service, "127.0.0.1:0", unusedAddress(t), "")
			conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), text)
			l := begin(t, install(t), "", "run", "-c", conf, "--engine", run.engine, "--workers", "2")
			clients := startLoad(t, l.urls[0], l.urls[1], pool)
			for i := range run.upgrades {
				open := []*socket{openSocket(t, l.urls[0]), openSecure(t, l.urls[1], pool)}
				for n := range 10 {
					write(t, conf, edits(t, text, service, n))
					l.says(10*i+n+1, "configuration applied")
					for _, ws := range open {
						if err := ws.echo(); err != nil {
							t.Fatalf("a WebSocket ended at reload %d after upgrade %d: %v", n, i, err)
						}
					}
				}
				l.upgrade()
				for _, ws := range open {
					if err := ws.echo(); err != nil {
						t.Errorf("a WebSocket did not live on in the old process: %v", err)
					}
				}
			}
			clients.end()
			l.kill(syscall.SIGTERM)
			gone(t, l.pid)
		})
	}
}
