package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// An endpoint process is this test's program, started again with this variable, whose
// value is the address it serves. It takes one word a line: serve, 503 or reset.
const roleVariable = "POISE_TEST_FAULTS_ENDPOINT"

// requestField carries a number by which a request is found again.
const requestField = "X-Request"

// serveEndpoint is the endpoint's process. It prints the number of every POST it has read,
// so that a request that was delivered can be distinguished from one that was not.
func serveEndpoint(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println("listen:", err)
		os.Exit(1)
	}
	var mode atomic.Value
	mode.Store("serve")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				fmt.Println("accept:", err)
				os.Exit(1)
			}
			go answer(c.(*net.TCPConn), address, &mode)
		}
	}()
	fmt.Println("ready")
	words := bufio.NewScanner(os.Stdin)
	for words.Scan() {
		mode.Store(words.Text())
		fmt.Println("mode", words.Text())
	}
	os.Exit(0)
}

// answer serves one connection.
func answer(c *net.TCPConn, address string, mode *atomic.Value) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		q, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, q.Body)
		if q.Method == "POST" {
			fmt.Printf("took %s\n", q.Header.Get(requestField))
		}
		status := "200 OK"
		switch mode.Load() {
		case "reset":
			c.SetLinger(0)
			return
		case "503":
			status = "503 Service Unavailable"
		}
		body := address
		if q.Method == "HEAD" {
			body = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(address), body)
	}
}

// An endpoint is one address and the processes that served it, one after the other.
type endpoint struct {
	t       *testing.T
	address string
	space   *namespace // nil: the address is one of the loopback
	in      *os.File   // takes its orders
	now     *rig.Process
	said    lines // by all of its processes
}

// lines gather what processes print. They are not part of what a failed test shows: there
// is one for every POST.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

// count is how often the line was printed.
func (l *lines) count(line string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text, []byte(line+"\n"))
}

// await waits until the line has been printed more than n times.
func (e *endpoint) await(line string, n int) {
	e.t.Helper()
	for deadline := time.Now().Add(rig.Patience); e.said.count(line) <= n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("endpoint %s did not say %q", e.address, line)
		}
	}
}

// start starts the process and waits until it listens.
func (e *endpoint) start() {
	e.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		e.t.Fatal(err)
	}
	c := rig.Command{Path: os.Args[0], Env: []string{roleVariable + "=" + e.address}, Stdin: read, Stdout: &e.said}
	if e.space != nil {
		c.Path, c.Args = e.space.ip, []string{"netns", "exec", e.space.name, os.Args[0]}
	}
	n := e.said.count("ready")
	e.now, e.in = rig.Start(e.t, c), write
	read.Close()
	e.t.Cleanup(func() { write.Close() })
	e.await("ready", n)
}

// order has the process behave so.
func (e *endpoint) order(word string) {
	e.t.Helper()
	n := e.said.count("mode " + word)
	fmt.Fprintln(e.in, word)
	e.await("mode "+word, n)
}

// A fault is a way of not serving.
type fault struct {
	name string
	// undelivered: a POST that fails while the fault lasts did not reach an endpoint for
	// certain, so that the proxy could have sent it elsewhere.
	undelivered bool
	far         bool // the endpoints live in a network namespace
	begin, end  func(e *endpoint)
}

var faults = []fault{
	{name: "refuse", undelivered: true,
		begin: func(e *endpoint) { e.now.Kill() },
		end:   func(e *endpoint) { e.start() }},
	{name: "reset",
		begin: func(e *endpoint) { e.order("reset") },
		end:   func(e *endpoint) { e.order("serve") }},
	{name: "503",
		begin: func(e *endpoint) { e.order("503") },
		end:   func(e *endpoint) { e.order("serve") }},
	{name: "freeze",
		begin: func(e *endpoint) { e.now.Signal(syscall.SIGSTOP) },
		end:   func(e *endpoint) { e.now.Signal(syscall.SIGCONT) }},
	{name: "black hole", undelivered: true, far: true,
		begin: func(e *endpoint) { e.space.run(e.t, "addr", "del", e.host()+"/16", "dev", e.space.inside) },
		end:   func(e *endpoint) { e.space.run(e.t, "addr", "add", e.host()+"/16", "dev", e.space.inside) }},
}

func (e *endpoint) host() string {
	host, _, _ := net.SplitHostPort(e.address)
	return host
}

// took reports whether the endpoint has read the POST of that number.
func (e *endpoint) took(id string) bool { return e.said.count("took "+id) > 0 }

// A namespace is a network namespace with one link to ours. An address that is taken away
// in it is a black hole: packets to it are dropped without an answer.
type namespace struct {
	ip, name, outside, inside string
	net                       string // the first two bytes of all its addresses
	hardware                  string // address of the link's inner end
	hosts                     atomic.Int64
}

// newNamespace makes one, which goes with the test; nil, with the reason, where that is not
// allowed.
func newNamespace(t *testing.T) (*namespace, error) {
	ip := rig.Program(t, "ip")
	id := os.Getpid() % 10000
	s := &namespace{ip: ip, name: fmt.Sprintf("faults%d", id), outside: fmt.Sprintf("fo%d", id), inside: fmt.Sprintf("fi%d", id),
		net: fmt.Sprintf("10.%d", 200+id%50)}
	if err := s.call("netns", "add", s.name); err != nil {
		return nil, err
	}
	t.Cleanup(func() { s.call("netns", "del", s.name) }) // and the link with it
	for _, words := range [][]string{
		{"link", "add", s.outside, "type", "veth", "peer", "name", s.inside, "netns", s.name},
		{"addr", "add", s.net + ".0.1/16", "dev", s.outside},
		{"link", "set", s.outside, "up"},
		{"-n", s.name, "link", "set", s.inside, "up"},
		{"-n", s.name, "addr", "add", s.net + ".0.2/16", "dev", s.inside},
	} {
		if err := s.call(words...); err != nil {
			return nil, err
		}
	}
	out, err := exec.Command(ip, "-n", s.name, "-brief", "link", "show", s.inside).Output()
	if fields := strings.Fields(string(out)); err == nil && len(fields) > 2 {
		s.hardware = fields[2]
		return s, nil
	}
	return nil, fmt.Errorf("no hardware address in %q: %v", out, err)
}

func (s *namespace) call(words ...string) error {
	if out, err := exec.Command(s.ip, words...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %v: %s", strings.Join(words, " "), err, out)
	}
	return nil
}

func (s *namespace) run(t *testing.T, words ...string) {
	t.Helper()
	if err := s.call(append([]string{"-n", s.name}, words...)...); err != nil {
		t.Fatal(err)
	}
}

// address makes a new one. Our neighbour table keeps it: what is sent to it when it is
// gone gets no answer that there is none.
func (s *namespace) address(t *testing.T) string {
	n := s.hosts.Add(1)
	host := fmt.Sprintf("%s.%d.%d", s.net, 1+n/250, 1+n%250)
	s.run(t, "addr", "add", host+"/16", "dev", s.inside)
	if err := s.call("neigh", "replace", host, "lladdr", s.hardware, "dev", s.outside, "nud", "permanent"); err != nil {
		t.Fatal(err)
	}
	return host + ":8000"
}
