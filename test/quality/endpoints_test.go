package quality

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	endpointsMax = 8
	workersMax   = 4 // of each endpoint
	meanTime     = 5 * time.Millisecond
	slowTimes    = 5 // as long takes the slow one
	oddOne       = 3 // the slow, or failing, endpoint
)

// The endpoints are a process of their own: this test's program, started again with this
// variable, whose value says what the odd one does.
const roleVariable = "POISE_TEST_ODD_ENDPOINT"

const (
	oddSlow  = "slow"
	oddFails = "fails"
)

func TestMain(m *testing.M) {
	rig.Prefer()
	if odd := os.Getenv(roleVariable); odd != "" {
		serveEndpoints(odd)
	}
	os.Exit(m.Run())
}

// A queue is one endpoint: what has arrived waits for one of its workers, who take an
// exponentially distributed time for it.
type queue struct {
	mean  time.Duration
	fails bool // answers 503 at once instead
	jobs  chan chan<- struct{}
	taken atomic.Int64
}

var (
	answerOK   = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")
	answerFail = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
)

// serveEndpoints prints the addresses of all endpoints on one line and then, for each
// line it is sent, how many requests every endpoint has taken so far. It ends the process
// when its input ends.
func serveEndpoints(odd string) {
	queues := make([]*queue, endpointsMax)
	addresses := make([]string, endpointsMax)
	for i := range queues {
		q := &queue{mean: meanTime, jobs: make(chan chan<- struct{}, 1<<16)}
		if i == oddOne && odd == oddSlow {
			q.mean *= slowTimes
		}
		q.fails = i == oddOne && odd == oddFails
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		queues[i], addresses[i] = q, l.Addr().String()
		for range workersMax {
			go q.work()
		}
		go q.accept(l)
	}
	fmt.Println("addresses", strings.Join(addresses, " "))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		line := "taken"
		for _, q := range queues {
			line += fmt.Sprint(" ", q.taken.Load())
		}
		fmt.Println(line)
	}
	os.Exit(0)
}

func (q *queue) work() {
	for done := range q.jobs {
		time.Sleep(time.Duration(rand.ExpFloat64() * float64(q.mean)))
		done <- struct{}{}
	}
}

func (q *queue) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go q.serve(c)
	}
}

// serve answers one request after the other: GET without content is all it will see.
func (q *queue) serve(c net.Conn) {
	defer c.Close()
	done := make(chan struct{}, 1)
	buf := make([]byte, 4<<10)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		n = 0
		q.taken.Add(1)
		answer := answerFail
		if !q.fails {
			q.jobs <- done
			<-done
			answer = answerOK
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// endpoints is the process of the endpoints, from outside.
type endpoints struct {
	addresses []string
	ask       io.Writer
	lines     *bufio.Scanner
}

func startEndpoints(t *testing.T, odd string) *endpoints {
	t.Helper()
	in, ask, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	lines, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rig.Start(t, rig.Command{Path: self, Env: []string{roleVariable + "=" + odd}, Stdin: in, Stdout: out})
	in.Close()
	out.Close()
	t.Cleanup(func() { ask.Close(); lines.Close() })
	e := &endpoints{ask: ask, lines: bufio.NewScanner(lines)}
	e.addresses = e.line(t, "addresses")
	return e
}

// line reads a line and returns its words after the first.
func (e *endpoints) line(t *testing.T, first string) []string {
	t.Helper()
	if !e.lines.Scan() {
		t.Fatal("the endpoints have ended")
	}
	words := strings.Fields(e.lines.Text())
	if len(words) != 1+endpointsMax || words[0] != first {
		t.Fatalf("the endpoints said %q", e.lines.Text())
	}
	return words[1:]
}

// taken is how many requests each endpoint has taken.
func (e *endpoints) taken(t *testing.T) (n [endpointsMax]int) {
	t.Helper()
	fmt.Fprintln(e.ask, "taken?")
	for i, word := range e.line(t, "taken") {
		if _, err := fmt.Sscan(word, &n[i]); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// urls lists the endpoints for --to.
func (e *endpoints) urls() string {
	return "http://" + strings.Join(e.addresses, ",http://")
}
