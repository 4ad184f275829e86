//go:build unix

package main

// What an upgrade keeps, and what one that goes wrong costs: nothing.

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestUpgradeThatFails: a new binary that ends, that is not ready, that refuses its
// configuration or that is not there costs nothing, its last words are in the log, and a
// good one is taken after that.
func TestUpgradeThatFails(t *testing.T) {
	a := endpoint(t, "a")
	text := file(a.URL, "127.0.0.1:0")
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), text)
	path := install(t)
	l := begin(t, path, "", "run", "-c", conf)
	failures := 0
	fails := func(pattern string) {
		t.Helper()
		failures++
		if m := l.says(failures, `the upgrade failed, this process goes on as before.*`); !strings.Contains(m[0], pattern) {
			t.Errorf("%s\nwant %s", m[0], pattern)
		}
		leads(t, l.urls[0], "a")
	}

	script(t, path, "echo out of luck >&2; exit 3")
	l.kill(syscall.SIGUSR2)
	fails("exit status 3; its last words: out of luck")

	script(t, path, "echo one >&2; echo '{\"say\":\"nonsense\"}' >&3; exec sleep 600")
	l.kill(syscall.SIGUSR2)
	fails(`it said \"nonsense\", not \"ready\"; it was killed; its last words: one`)

	script(t, path+".gone", "")
	replace(t, path, path+".gone")
	if err := syscall.Unlink(path); err != nil {
		t.Fatal(err)
	}
	l.kill(syscall.SIGUSR2)
	fails("no such file or directory")

	replace(t, path, binary)
	write(t, conf, strings.Replace(text, "service: web", "service: wbe", 1))
	l.say("the last good configuration stays")
	l.kill(syscall.SIGUSR2)
	fails("poise.yaml:8:14: ")

	write(t, conf, text)
	l.say("configuration applied")
	l.upgrade()
	leads(t, l.urls[0], "a")
	l.kill(syscall.SIGTERM)
	l.exit(0)
}

// TestUpgradeThatHangs: while a new process says nothing requests are served, a second upgrade is
// refused, and SIGTERM ends both.
func TestUpgradeThatHangs(t *testing.T) {
	a := endpoint(t, "a")
	path := install(t)
	l := begin(t, path, "", "proxy", "--listen", "127.0.0.1:0", "--to", a.URL)
	script(t, path, "echo here $$ >&2; exec sleep 600")
	l.kill(syscall.SIGUSR2)
	l.say(`here (\d+)`)
	leads(t, l.urls[0], "a")
	l.kill(syscall.SIGUSR2)
	l.say(`no upgrade.*asked by.*one is under way`)
	leads(t, l.urls[0], "a")
	l.kill(syscall.SIGTERM)
	l.exit(0) // the output has ended, so the script has too
	l.say("the upgrade failed.*asked to stop")
}

// TestUpgradeKeepsEjections: an endpoint that the breaker has ejected gets no request from the next
// process before its time, and the status says by whom it was ejected.
func TestUpgradeKeepsEjections(t *testing.T) {
	a := endpoint(t, "a")
	var hits atomic.Int64
	ill, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ill.Close()
	go func() {
		for {
			conn, err := ill.Accept()
			if err != nil {
				return
			}
			hits.Add(1)
			conn.Close()
		}
	}()
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), fmt.Sprintf(`version: 1
listen: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
services:
  web:
    endpoints: [%q, "http://%s"]
    policy: {type: round_robin}
    breaker: {consecutive_failures: 2, open_for: 5m}
routes: [{service: web}]
`, a.URL, ill.Addr()))
	l := begin(t, install(t), "", "run", "-c", conf)
	admin := l.say(`poise: admin on (\S+)`)[1]
	for range 10 {
		leads(t, l.urls[0], "a")
	}
	l.say("endpoint ejected.*attempts failed")
	before := hits.Load()
	l.upgrade()
	for range 20 {
		leads(t, l.urls[0], "a")
	}
	if now := hits.Load(); now != before {
		t.Errorf("the ejected endpoint got %d requests after the upgrade", now-before)
	}
	status, err := fetch(admin + "/api/v1/services")
	if err != nil || !strings.Contains(status, `"ejected"`) || !strings.Contains(status, `"breaker"`) {
		t.Errorf("%s, %v", status, err)
	}
}

// TestUpgradeKeepsFoundLimits: the next process begins with the limit that the old one has found for an
// endpoint which works on one request at a time, and not with 20.
func TestUpgradeKeepsFoundLimits(t *testing.T) {
	var one sync.Mutex
	narrow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		time.Sleep(10 * time.Millisecond)
	}))
	t.Cleanup(narrow.Close)
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), fmt.Sprintf(`version: 1
listen: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
services:
  web:
    endpoints: [%q]
    overload: {endpoint_max_in_flight: auto}
routes: [{service: web}]
`, narrow.URL))
	l := begin(t, install(t), "", "run", "-c", conf)
	admin := l.say(`poise: admin on (\S+)`)[1]
	figure := func(name string) int {
		text, err := fetch(admin + "/api/v1/services")
		found := regexp.MustCompile(`"` + name + `":\s*(\d+)`).FindStringSubmatch(text)
		if err != nil || found == nil {
			return 0
		}
		n, _ := strconv.Atoi(found[1])
		return n
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the limit is %d, the base latency %d ns", what, figure("limit"), figure("base_latency"))
			}
		}
	}
	var clients sync.WaitGroup
	var answers atomic.Int64
	stop := make(chan struct{})
	load := func(n int) {
		for range n {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if _, err := fetch(l.urls[0]); err != nil {
							time.Sleep(5 * time.Millisecond) // no place
							continue
						}
						answers.Add(1)
					}
				}
			})
		}
	}
	load(2)
	await("with little load", func() bool { return answers.Load() > 150 && figure("base_latency") > 0 })
	load(23)
	await("under load", func() bool { n := figure("limit"); return n >= 4 && n <= 12 }) // less is a dip
	close(stop)
	clients.Wait()
	l.upgrade()
	if now := figure("limit"); now == 0 || now > 16 {
		t.Errorf("after the upgrade the limit is %d", now)
	}
}

// TestUpgradeKeepsSessions: a client resumes its TLS session at the next process.
func TestUpgradeKeepsSessions(t *testing.T) {
	a := endpoint(t, "a")
	for _, engine := range []string{"loop", "goroutine", "std"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("%s %x", engine, version), func(t *testing.T) {
				text, client := loadFile(t, a.URL, "127.0.0.1:0", unusedAddress(t), "")
				conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), text)
				l := begin(t, install(t), "", "run", "-c", conf, "--engine", engine)
				client.ClientSessionCache, client.MaxVersion = tls.NewLRUClientSessionCache(1), version
				if resumes(t, l.urls[1], client) {
					t.Error("resumed a session that there was none of")
				}
				l.upgrade()
				gone(t, l.process.cmd.Process.Pid) // so that the new one accepts
				if !resumes(t, l.urls[1], client) {
					t.Error("not resumed")
				}
			})
		}
	}
}

// resumes makes a request on a new connection, and reports whether a session was resumed.
func resumes(t *testing.T, url string, c *tls.Config) bool {
	t.Helper()
	c.ServerName = "127.0.0.1"
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", r, err)
	}
	io.Copy(io.Discard, r.Body)
	return conn.ConnectionState().DidResume
}

// A manager is systemd as a process sees it: a socket for notifications.
type manager struct {
	t    *testing.T
	mu   sync.Mutex
	said []string
}

func newManager(t *testing.T, name string) *manager {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &manager{t: t}
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if s := string(b[:n]); s != "WATCHDOG=1" || !strings.HasSuffix(strings.Join(m.all(), " "), s) {
				m.mu.Lock()
				m.said = append(m.said, s)
				m.mu.Unlock()
			}
		}
	}()
	return m
}

func (m *manager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.said...)
}

// hears waits until the last notification begins with the words.
func (m *manager) hears(words string) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if all := m.all(); len(all) > 0 && strings.HasPrefix(all[len(all)-1], words) {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("notifications: %q, want %s", m.all(), words)
		}
	}
}

// digits is the part of a notification that is another one every time.
var digits = regexp.MustCompile(`USEC=\d+`)

// TestNotifications: systemd hears what it needs, in this order, from the process that is
// the service at the time.
func TestNotifications(t *testing.T) {
	a := endpoint(t, "a")
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@poise-test-%d", time.Now().UnixNano())} {
		m := newManager(t, name)
		conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0"))
		path := install(t)
		l := begin(t, path, "export NOTIFY_SOCKET="+name, "run", "-c", conf)
		m.hears("READY=1")
		l.kill(syscall.SIGHUP)
		l.say("configuration applied")
		m.hears("READY=1")
		script(t, path, "exit 1")
		l.kill(syscall.SIGUSR2)
		l.say("the upgrade failed")
		replace(t, path, binary)
		old := l.upgrade()
		m.hears("MAINPID=")
		gone(t, old)
		l.kill(syscall.SIGHUP)
		l.says(2, "configuration applied")
		m.hears("READY=1")
		l.kill(syscall.SIGTERM)
		l.exit(0)
		m.hears("STOPPING=1")
		all := strings.Join(m.all(), "\n")
		want := fmt.Sprintf("READY=1\nRELOADING=1\nMONOTONIC_USEC=N\nREADY=1\nMAINPID=%d\nRELOADING=1\nMONOTONIC_USEC=N\nREADY=1\nSTOPPING=1", l.pid)
		if got := digits.ReplaceAllString(all, "USEC=N"); got != want {
			t.Errorf("notifications:\n%s\nwant:\n%s", got, want)
		}
	}
}

// TestWatchdog: signs of life come while it runs, and from the next process after an upgrade.
func TestWatchdog(t *testing.T) {
	a := endpoint(t, "a")
	socket := filepath.Join(t.TempDir(), "notify")
	m := newManager(t, socket)
	l := begin(t, install(t), "export NOTIFY_SOCKET="+socket+" WATCHDOG_USEC=20000 WATCHDOG_PID=$$", "proxy", "--listen", "127.0.0.1:0", "--to", a.URL)
	m.hears("WATCHDOG=1")
	l.upgrade()
	m.hears("WATCHDOG=1") // after MAINPID
	l.kill(syscall.SIGTERM)
	l.exit(0)
	if all := strings.Join(m.all(), " "); !strings.Contains(all, "MAINPID=") {
		t.Error(all)
	}
}

// TestSocketsOfTheManager: a socket that systemd has opened is used, and one that the
// configuration has no use for is an error at the start.
func TestSocketsOfTheManager(t *testing.T) {
	a := endpoint(t, "a")
	address := unusedAddress(t)
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, address))
	start := func(names string, addresses ...string) *process {
		cmd := exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$ LISTEN_FDNAMES=`+names+` LISTEN_FDS=`+fmt.Sprint(len(addresses))+`; exec "$0" "$@"`, binary, "run", "-c", conf)
		for _, address := range addresses {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
		return launchCommand(t, cmd)
	}
	p := start("poise.socket", address)
	p.say("poise: ready on http://" + address)
	leads(t, "http://"+address, "a")
	p.signal(syscall.SIGTERM)
	p.exit(0)

	p = start("0", "127.0.0.1:0") // by the index of its entry, wherever it is
	m := p.say(`poise: ready on (\S+),`)
	if strings.Contains(m[1], address) {
		t.Errorf("served on %s, not on the socket that was passed", m[1])
	}
	leads(t, m[1], "a")
	p.signal(syscall.SIGTERM)
	p.exit(0)

	p = start("web:other", address, "127.0.0.1:0")
	p.say(`nothing in the configuration listens on the passed socket "other" \(tcp 127\.0\.0\.1:\d+\): add it to listen`)
	p.exit(1)
}

// TestUpgradeKeepsTheOperatorsListeners: the admin API and the listener for probes are there all the
// time, and the path of a unix socket stays.
func TestUpgradeKeepsTheOperatorsListeners(t *testing.T) {
	a := endpoint(t, "a")
	path := filepath.Join(t.TempDir(), "admin.sock")
	status := unusedAddress(t)
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0")+
		"admin: {address: \"unix:"+path+"\"}\nstatus: {address: \""+status+"\"}\n")
	l := begin(t, install(t), "", "run", "-c", conf)
	overUnix := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}}
	for range 3 {
		for _, client := range []struct {
			*http.Client
			url string
		}{{overUnix, "http://localhost/api/v1/status"}, {http.DefaultClient, "http://" + status + "/readyz"}} {
			r, err := client.Get(client.url)
			if err != nil || r.StatusCode != http.StatusOK {
				t.Fatalf("%s: %v, %v", client.url, r, err)
			}
			r.Body.Close()
		}
		gone(t, l.upgrade())
	}
	l.kill(syscall.SIGTERM)
	l.exit(0)
}

// TestReadinessAtTheEnd: the order that Kubernetes needs. At SIGTERM the process is not ready any
// more, and alive; requests on new connections are served until drain_delay is over; then nothing
// listens, and an exchange under way ends.
func TestReadinessAtTheEnd(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		io.WriteString(w, "a")
	}))
	defer s.Close()
	status := unusedAddress(t)
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(s.URL, "127.0.0.1:0")+
		"status: {address: \""+status+"\"}\ntimeouts: {drain_delay: 1s}\n")
	p := ready(t, "run", "-c", conf)
	code := func(path string) int {
		r, err := http.Get("http://" + status + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	if c := code("/readyz"); c != http.StatusOK {
		t.Errorf("/readyz answers %d", c)
	}
	check := func(want int) { // as a container's health check
		t.Helper()
		if code, out, errs := call("ctl", "ready", "--server", "http://"+status); code != want {
			t.Errorf("poise ctl ready: exit %d, %s%s", code, out, errs)
		}
	}
	check(exitOK)
	slow := make(chan error, 1)
	go func() {
		_, err := fetch(p.urls[0] + "/slow")
		slow <- err
	}()
	<-arrived
	p.signal(syscall.SIGTERM)
	p.say("stopping")
	for deadline := time.Now().Add(patience); code("/readyz") != http.StatusServiceUnavailable; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("ready after SIGTERM")
		}
	}
	if got, err := fetch(p.urls[0]); got != "a" || err != nil { // the delay is longer than this
		t.Errorf("in the delay: %q, %v", got, err)
	}
	if c := code("/healthz"); c != http.StatusOK {
		t.Errorf("/healthz answers %d while it drains", c)
	}
	check(exitFailed)
	closes(t, strings.TrimPrefix(p.urls[0], "http://"))
	if c := code("/readyz"); c != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d after the delay", c)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("the exchange under way: %v", err)
	}
	p.exit(0)
}

// TestWebSocketsEndWithTheDrain: the old process keeps a WebSocket for timeouts.drain, and no longer.
func TestWebSocketsEndWithTheDrain(t *testing.T) {
	const drain = time.Second
	text, _ := loadFile(t, busyService(t), "127.0.0.1:0", unusedAddress(t), "")
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), strings.Replace(text, "drain: 3s", "drain: "+drain.String(), 1))
	l := begin(t, install(t), "", "run", "-c", conf)
	ws := openSocket(t, l.urls[0])
	began := time.Now()
	old := l.upgrade()
	if err := ws.echo(); err != nil {
		t.Errorf("it did not live on: %v", err)
	}
	if _, err := ws.Read(make([]byte, 1)); err == nil || time.Since(began) < drain {
		t.Errorf("it ended after %v with %v, before the drain did", time.Since(began), err)
	}
	gone(t, old)
	l.kill(syscall.SIGTERM)
	l.exit(0)
}
