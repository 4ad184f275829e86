package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "poise")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "poise")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

const patience = 30 * time.Second // for what takes milliseconds on a machine that is not busy

// A process is the running binary. Its output may be read while it runs.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *lines // standard output and error, line by line
	urls []string
	done chan struct{}
}

// lines collects output and lets tests wait for a part of it.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		l.mu.Lock()
		l.text.WriteString(s.Text() + "\n")
		l.mu.Unlock()
	}
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	return launchCommand(t, exec.Command(binary, args...))
}

func launchCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: &lines{}, done: make(chan struct{})}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.out.read(stdout) })
	readers.Go(func() { p.out.read(stderr) })
	go func() {
		readers.Wait()
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%q said:\n%s", cmd.Args, p.out)
		}
	})
	return p
}

// say waits until the output matches and returns the match.
func (p *process) say(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		if m := re.FindStringSubmatch(p.out.String()); m != nil {
			return m
		}
		if ended || time.Now().After(deadline) {
			p.t.Fatalf("poise did not say %s", pattern)
		}
	}
}

// ready starts the binary and waits for the line that says it is ready.
func ready(t *testing.T, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	m := p.say(`(?m)^poise: ready on (\S+(?: and \S+)*), .*$`)
	p.urls = strings.Split(m[1], " and ")
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and checks the code.
func (p *process) exit(want int) {
	p.t.Helper()
	select {
	case <-p.done:
		if got := p.cmd.ProcessState.ExitCode(); got != want {
			p.t.Errorf("exit code %d, want %d", got, want)
		}
	case <-time.After(patience):
		p.t.Fatal("poise did not end")
	}
}

// endpoint is a service that says its name, and may be told to wait.
func endpoint(t *testing.T, name string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s
}

// fetch makes a request on a connection of its own.
func fetch(url string) (string, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", r.StatusCode, b)
	}
	return string(b), err
}

func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestProxy(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	for _, engine := range []string{"auto", "loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			p := ready(t, "proxy", "--listen", "127.0.0.1:0", "--to", a.URL+","+b.URL, "--engine", engine,
				"--policy", "round_robin", "--health", "GET /", "--workers", "2")
			p.say(`(?m)^poise: ready on http://127\.0\.0\.1:\d+, policy round_robin, 2 endpoints, engine (loop|goroutine|std)$`)
			seen := map[string]int{}
			for range 20 {
				body, err := fetch(p.urls[0])
				if err != nil {
					t.Fatal(err)
				}
				seen[body]++
			}
			if seen["a"] == 0 || seen["b"] == 0 || len(seen) != 2 {
				t.Errorf("answers: %v", seen)
			}
			p.signal(syscall.SIGHUP) // nothing to reload, and no reason to end
			p.say("nothing to reload")
			p.signal(syscall.SIGTERM)
			p.exit(0)
		})
	}
}

// TestDrain: at SIGTERM an exchange under way is finished, and nothing new is accepted.
func TestDrain(t *testing.T) {
	for _, engine := range []string{"loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "begin ")
				w.(http.Flusher).Flush()
				close(arrived)
				<-release
				io.WriteString(w, "end")
			}))
			defer s.Close()
			p := ready(t, "proxy", "--listen", "127.0.0.1:0", "--to", s.URL, "--engine", engine)
			type answer struct {
				body string
				err  error
			}
			got := make(chan answer, 1)
			go func() {
				body, err := fetch(p.urls[0])
				got <- answer{body, err}
			}()
			<-arrived
			p.signal(syscall.SIGTERM)
			address := strings.TrimPrefix(p.urls[0], "http://")
			closes(t, address)
			select {
			case <-p.done:
				t.Fatal("ended with an exchange under way")
			default:
			}
			close(release)
			if a := <-got; a.body != "begin end" || a.err != nil {
				t.Errorf("the exchange under way: %q, %v", a.body, a.err)
			}
			p.exit(0)
		})
	}
}

// TestSecondSignal ends the process at once, says so, and is no orderly end.
func TestSecondSignal(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(arrived); <-release }))
	defer s.Close()
	defer close(release)
	p := ready(t, "proxy", "--listen", "127.0.0.1:0", "--to", s.URL)
	go fetch(p.urls[0])
	<-arrived
	p.signal(syscall.SIGINT)
	p.say("stopping")
	p.signal(syscall.SIGINT)
	p.say("(?m)^poise: ended by a second signal")
	p.exit(1)
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := launch(t, "proxy", "--listen", l.Addr().String(), "--to", "http://127.0.0.1:1")
	p.say(`(?m)^poise: cannot listen on ` + regexp.QuoteMeta(l.Addr().String()) + `: address already in use$`)
	p.exit(1)
}

// file is a configuration that leads to one endpoint.
func file(url string, listen ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\nlisten:\n")
	for _, address := range listen {
		b.WriteString("  - address: " + address + "\n")
	}
	fmt.Fprintf(&b, "services:\n  web:\n    endpoints: [%q]\nroutes:\n  - service: web\n", url)
	return b.String()
}

// leads waits until answers at url are what is wanted.
func leads(t *testing.T, url, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		got, err := fetch(url)
		if got == want && err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %q, %v; want %q", url, got, err, want)
		}
	}
}

// closes waits until nobody listens at the address.
func closes(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatalf("%s still accepts", address)
		}
	}
}

// TestRunFollowsIncludedFiles: a secret that ${file:...} names is replaced, as Kubernetes
// does it; also one that was missing comes.
func TestRunFollowsIncludedFiles(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	one := unusedAddress(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "endpoint")
	write(t, secret, a.URL+"\n")
	path := write(t, filepath.Join(dir, "poise.yaml"), file("${file:endpoint}", one))
	p := ready(t, "run", "-c", path)
	leads(t, p.urls[0], "a")

	write(t, secret+".new", b.URL+"\n")
	if err := os.Rename(secret+".new", secret); err != nil {
		t.Fatal(err)
	}
	leads(t, "http://"+one, "b")
	p.say("configuration applied.*the file changed")

	write(t, path, file("${file:other}", one))
	p.say("the last good configuration stays.*other")
	write(t, filepath.Join(dir, "other"), a.URL)
	leads(t, "http://"+one, "a")
}

func TestRun(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	one, two := unusedAddress(t), unusedAddress(t)
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, one))
	p := ready(t, "run", "-c", path)
	p.say(`(?m)^poise: ready on http://` + one + `, 1 service, 1 route, engine loop$`)
	leads(t, p.urls[0], "a")

	write(t, path, file(b.URL, one)) // a changed file
	leads(t, "http://"+one, "b")
	p.say("configuration applied.*the file changed")

	write(t, path, strings.Replace(file(a.URL, one), "service: web", "service: wbe", 1))
	p.say(`the last good configuration stays.*poise\.yaml:8:14: .*web`)
	leads(t, "http://"+one, "b")

	write(t, path, file(a.URL, one, two)) // a listener more
	leads(t, "http://"+two, "a")
	leads(t, "http://"+one, "a")

	write(t, path, file(a.URL, two)) // and one less
	closes(t, one)
	leads(t, "http://"+two, "a")
	p.signal(syscall.SIGHUP)
	p.say("configuration applied.*SIGHUP")
	p.signal(syscall.SIGTERM)
	p.exit(0)
}

// TestPortInUseAtReload: what cannot be applied whole is not applied at all.
func TestPortInUseAtReload(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one := unusedAddress(t)
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, one))
	p := ready(t, "run", "-c", path)
	write(t, path, file(b.URL, one, l.Addr().String()))
	p.say("the last good configuration stays.*address already in use")
	leads(t, "http://"+one, "a")
}

func TestBadFileAtStart(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), strings.Replace(file("http://127.0.0.1:1", "127.0.0.1:0"), "services", "servces", 1))
	p := launch(t, "run", "-c", path)
	p.say(`(?m)^` + regexp.QuoteMeta(path) + `:4:1: .*services`)
	p.exit(2)
}

// TestReloadLosesNothing: requests go on, on kept and on fresh connections, while all
// endpoints are replaced and a listener comes and goes, again and again.
func TestReloadLosesNothing(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	for _, engine := range []string{"loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			one, two := unusedAddress(t), unusedAddress(t)
			path := filepath.Join(t.TempDir(), "poise.yaml")
			less := file(a.URL, one)
			more := file(b.URL, one, two) // every endpoint is another one
			write(t, path, less)
			p := ready(t, "run", "-c", path, "--engine", engine)
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			var served atomic.Int64
			kept := &http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer kept.CloseIdleConnections()
			for worker := range 4 {
				group.Go(func() {
					for ctx.Err() == nil {
						get := fetch
						if worker%2 == 0 {
							get = func(url string) (string, error) { return fetchWith(kept, url) }
						}
						if body, err := get("http://" + one); err != nil || body != "a" && body != "b" {
							t.Errorf("after %d requests: %q, %v", served.Load(), body, err)
							return
						}
						served.Add(1)
						time.Sleep(time.Millisecond) // or there are no ports left
					}
				})
			}
			for range 10 {
				write(t, path, more)
				p.signal(syscall.SIGHUP)
				leads(t, "http://"+one, "b")
				leads(t, "http://"+two, "b")
				write(t, path, less)
				p.signal(syscall.SIGHUP)
				closes(t, two)
			}
			cancel()
			group.Wait()
			if served.Load() == 0 {
				t.Error("no request was served")
			}
			p.signal(syscall.SIGTERM)
			p.exit(0)
		})
	}
}

func fetchWith(client *http.Client, url string) (string, error) {
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

func TestLogIsJSONAndAccessLogOnStdout(t *testing.T) {
	a := endpoint(t, "a")
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"),
		file(a.URL, "127.0.0.1:0")+"log: {format: json, level: debug}\naccess_log: {path: \"-\"}\n")
	p := ready(t, "run", "-c", path)
	if _, err := fetch(p.urls[0] + "/some/path"); err != nil {
		t.Fatal(err)
	}
	p.say(`(?m)^\{"time":"[^"]*","client":"127\.0\.0\.1",.*"path":"/some/path".*"status":200.*"attempts":\[\{"endpoint":"` + regexp.QuoteMeta(a.URL))
	p.signal(syscall.SIGTERM)
	p.exit(0)
	p.say(`(?m)^\{"time":.*"msg":"stopping"`)
}

// TestCertificateIsReplaced: https in, http out; a certificate that changes on disk is
// served, and a reload with other files keeps the port open.
func TestCertificateIsReplaced(t *testing.T) {
	a := endpoint(t, "a")
	for _, engine := range []string{"loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			certify(t, dir, 1)
			p := ready(t, "proxy", "--listen", "127.0.0.1:0", "--to", a.URL, "--engine", engine,
				"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"))
			for _, serial := range []int64{1, 2} {
				certify(t, dir, serial)
				for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
					got, proto, err := fetchTLS(p.urls[0])
					if err != nil {
						t.Fatal(err)
					}
					if proto != "HTTP/2.0" {
						t.Fatalf("ALPN led to %s", proto)
					}
					if got == serial {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("certificate %d is served, want %d", got, serial)
					}
				}
			}
			p.signal(syscall.SIGTERM)
			p.exit(0)
		})
	}
}

// certify writes a certificate with that serial number over what is there.
func certify(t *testing.T, dir string, serial int64) {
	t.Helper()
	c := testcert.New(t, testcert.Template{Serial: serial})
	write(t, filepath.Join(dir, "cert.pem"), string(c.Cert))
	write(t, filepath.Join(dir, "key.pem"), string(c.Key))
}

func fetchTLS(url string) (serial int64, proto string, err error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "a" {
		return 0, "", fmt.Errorf("%q, %w", b, err)
	}
	return r.TLS.PeerCertificates[0].SerialNumber.Int64(), r.Proto, nil
}

func TestDemo(t *testing.T) {
	p := launch(t, "demo", "--for", "8s") // bob is away for a quarter of it
	p.exit(0)
	out := p.out.String()
	for _, want := range []string{`poise: ready on http://127\.0\.0\.1:8\d\d\d, policy least_time, 3 endpoints, engine loop`,
		`(?m)^  curl http`, `(?m)^  cleo .*answers in 40ms`, `bob: ejected, was healthy`, `bob: healthy, was`, `(?m)^poise: [1-9]\d+ requests answered, 0 failed$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the demonstration did not say %s", want)
		}
	}
}

func TestDemoEndsAtSignal(t *testing.T) {
	p := ready(t, "demo", "--no-load")
	if body, err := fetch(p.urls[0] + "/x"); err != nil || !strings.HasPrefix(body, "hello from ") {
		t.Errorf("%q, %v", body, err)
	}
	first, err := fetch(p.urls[0] + "/sticky/?user=42")
	for range 5 {
		if again, err2 := fetch(p.urls[0] + "/sticky/?user=42"); again != first || err != nil || err2 != nil {
			t.Errorf("a user does not stay: %q and %q, %v %v", first, again, err, err2)
		}
	}
	p.signal(syscall.SIGINT)
	p.exit(0)
}
