package live

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/test/internal/rig"
)

// A registry is one kind of server, and how everything about it is said.
type registry struct {
	name string // also of its recipe
	kind string // of its source, its registrar and its official client
	host string // of endpoints; empty: 127.0.0.1

	// ports are offsets of the server's ports from its main one; those that poise
	// connects to come first, and there are relays of them. Empty: only the main one.
	ports   []int
	relayed int // how many; 0: one
	// spare is how many further ports it needs, anywhere.
	spare int

	lease    time.Duration // of registrars; 0: there is none, instances do not die by themselves
	expiry   time.Duration // bound for the removal of an instance whose registrar was killed
	weights  bool
	interval time.Duration // of a source that polls; 0: it is pushed
	refused  string        // what poise's log says about wrong credentials

	missing func() error // nil, or why it cannot be judged on this machine
	run     func(s *server) []rig.Command
	ready   func(s *server) error
	secure  func(s *server) error // nil, or makes a user for s.password after the start

	source func(s *server, at, service, password string) string // in the file of poise
	put    func(s *server, in discovery.Instance) error
	drop   func(s *server, in discovery.Instance) error
	out    func(s *server, in discovery.Instance, off bool) error // an operator's word; nil: there is none
	holds  func(s *server, in discovery.Instance) (bool, error)   // whether a polling client would get it; nil: at once
	// forgets reports whether the server's own answer lacks an instance that it was given
	// of; nil: none does that.
	forgets func(s *server, in discovery.Instance) (bool, error)
	client  func(s *server, service string) (rig.Command, error) // nil: there is no official one
	// watches is the number of watches that clients have open at the server; nil: it does
	// not say. A poise may have mostWatches.
	watches     func(s *server) (int, error)
	mostWatches int
}

// A server is one that runs. Its methods belong to the test's goroutine.
type server struct {
	t        *testing.T
	registry *registry
	bin      string // what the recipe made
	data     string // folder
	port     int
	spare    []int
	password string // "": every client may do everything
	token    string // the password, or one for servers that always want some
	served   bool   // it has been ready once: its data count
	procs    []*rig.Process
}

// newServer draws ports for a server and starts it.
func newServer(t *testing.T, r *registry, bin, password string) *server {
	t.Helper()
	s := &server{t: t, registry: r, bin: bin, password: password, token: cmp.Or(password, secret()), data: t.TempDir(), port: drawPort(t, r.ports)}
	for range r.spare {
		s.spare = append(s.spare, drawPort(t, nil))
	}
	s.start(t)
	if password != "" {
		s.retry(t, "make a user", func() error { return r.secure(s) })
	}
	return s
}

// drawn are the ports that were given out: a server that is away for a moment must find its
// own again.
var drawn = struct {
	sync.Mutex
	ports map[int]bool
}{ports: make(map[int]bool)}

// drawPort returns a free port of which those at the offsets are free as well.
func drawPort(t *testing.T, offsets []int) int {
	t.Helper()
	drawn.Lock()
	defer drawn.Unlock()
next:
	for range 10_000 {
		_, text, _ := net.SplitHostPort(rig.Address(t))
		port, _ := strconv.Atoi(text)
		all := []int{port}
		for _, off := range offsets {
			all = append(all, port+off)
		}
		for _, p := range all {
			if drawn.ports[p] || !free(p) {
				continue next
			}
		}
		for _, p := range all {
			drawn.ports[p] = true
		}
		return port
	}
	t.Fatal("no free ports")
	return 0
}

// giveBack lets others draw the ports of instances that have ended: there are not so many.
func giveBack(all []discovery.Instance) {
	drawn.Lock()
	defer drawn.Unlock()
	for _, in := range all {
		_, port := split(in)
		delete(drawn.ports, port)
	}
}

// free asks for the port on every address, as some servers listen.
func free(port int) bool {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err == nil {
		l.Close()
	}
	return err == nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// address is where it listens.
func (s *server) address() string { return local(s.port) }

func (s *server) url(format string, args ...any) string {
	return "http://" + s.address() + fmt.Sprintf(format, args...)
}

// startTime bounds the start of a server: that of a Java one on a busy machine.
const startTime = 90 * time.Second

// launches is how often a server may try to start: that one gives up on a busy machine, with
// a database that took too long, says nothing about Poise.
const launches = 3

// start starts it, at a lower priority than what is measured, and waits until it serves.
func (s *server) start(t *testing.T) time.Duration {
	t.Helper()
	quiet.RLock()
	defer quiet.RUnlock()
	began := time.Now()
	for n := 1; ; n++ {
		s.launch()
		err := s.until(func() error { return s.registry.ready(s) })
		if err == nil {
			s.served = true
			return time.Since(began)
		}
		if !errors.Is(err, errEnded) || n == launches {
			t.Fatalf("%s: start: %v", s.registry.name, err)
		}
		t.Logf("%s: has not started, once more: %.400v", s.registry.name, err)
		if !s.served {
			s.lose(t) // half of a database keeps the next one from its start
			continue
		}
		for _, p := range s.procs {
			p.Kill()
		}
		s.procs = nil
	}
}

func (s *server) launch() {
	for _, c := range s.registry.run(s) {
		c.Args = append([]string{"-n", "2", c.Path}, c.Args...)
		c.Path = "nice"
		s.procs = append(s.procs, rig.Start(s.t, c))
	}
}

// retry does what a server that starts refuses at first.
func (s *server) retry(t *testing.T, what string, do func() error) {
	t.Helper()
	if err := s.until(do); err != nil {
		t.Fatalf("%s: %s: %v", s.registry.name, what, err)
	}
}

var errEnded = errors.New("it has ended")

// until tries until it succeeds, the server has ended, or startTime is over.
func (s *server) until(do func() error) error {
	for limit := time.Now().Add(startTime); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return nil
		}
		for _, p := range s.procs {
			if p.Ended() {
				return fmt.Errorf("%w:\n%.4000s", errEnded, p.Text())
			}
		}
		if time.Now().After(limit) {
			return err
		}
	}
}

// stop ends it as operators do, the last started first.
func (s *server) stop(t *testing.T) {
	t.Helper()
	for i := len(s.procs) - 1; i >= 0; i-- {
		p := s.procs[i]
		p.Signal(syscall.SIGTERM)
		for limit := time.Now().Add(8 * time.Second); !p.Ended() && time.Now().Before(limit); {
			time.Sleep(10 * time.Millisecond)
		}
		p.Kill()
	}
	s.procs = nil
}

// lose ends it without a farewell, and its data are gone.
func (s *server) lose(t *testing.T) {
	t.Helper()
	for _, p := range s.procs {
		p.Kill()
	}
	s.procs = nil
	if err := errors.Join(os.RemoveAll(s.data), os.Mkdir(s.data, 0o700)); err != nil {
		t.Fatal(err)
	}
}

func (s *server) signal(sig syscall.Signal) {
	for _, p := range s.procs {
		p.Signal(sig)
	}
}

// web is for what the tests tell servers.
var web = &http.Client{Timeout: 5 * time.Second}

// A request is one to a server's interface.
type request struct {
	method, url, body string
	json              bool
	fields            map[string]string
}

// do sends it and returns the answer; a status of 400 and above is an error.
func (r request) do() ([]byte, error) {
	q, err := http.NewRequest(r.method, r.url, bytes.NewReader([]byte(r.body)))
	if err != nil {
		return nil, err
	}
	if r.json {
		q.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.fields {
		q.Header.Set(name, value)
	}
	a, err := web.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, 16<<20))
	if err == nil && a.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: status %d: %.300s", r.method, r.url, a.StatusCode, b)
	}
	return b, err
}

// split parts the address of an instance.
func split(in discovery.Instance) (host string, port int) {
	host, text, _ := net.SplitHostPort(in.Address)
	port, _ = strconv.Atoi(text)
	return host, port
}

// secret makes a password that no log has by chance.
func secret() string { return "pw" + rand.Text() }

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }
