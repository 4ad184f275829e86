package loop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"golang.org/x/sys/unix"
)

// The clients of benchmarks are a process of their own, so that what is measured is the
// server's: its processor time and its memory.
const clientEnv = "LOOP_BENCH_CLIENT"

func TestMain(m *testing.M) {
	if what := os.Getenv(clientEnv); what != "" {
		if err := beClient(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beClient is the process of the clients: it opens connections, says so, waits for a line, and makes
// n requests or handshakes in all.
func beClient(what string) error {
	var kind, at string
	var conns, n, size int
	if _, err := fmt.Sscan(what, &kind, &at, &conns, &n, &size); err != nil {
		return err
	}
	config := &tls.Config{InsecureSkipVerify: true}
	if kind == "resume" {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		config.ServerName = "localhost"
	}
	open := func() (*tls.Conn, error) {
		below, err := net.Dial("tcp", at)
		if err != nil {
			return nil, err
		}
		c := tls.Client(below, config)
		return c, c.Handshake()
	}
	ask := func(c *tls.Conn, buf []byte) error {
		if _, err := c.Write(buf); err != nil {
			return err
		}
		_, err := io.ReadFull(c, buf)
		return err
	}
	all := make([]*tls.Conn, conns)
	for i := range all {
		var err error
		if all[i], err = open(); err == nil {
			err = ask(all[i], make([]byte, size)) // and reads the tickets
		}
		if err != nil {
			return err
		}
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	failed := make(chan error, conns)
	for _, c := range all {
		group.Go(func() {
			buf := make([]byte, size)
			for left.Add(-1) >= 0 {
				var err error
				if kind == "requests" {
					err = ask(c, buf)
				} else if c, err = open(); err == nil {
					err = ask(c, buf[:1])
					c.Close()
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	fmt.Println("done")
	select {
	case err := <-failed:
		return err
	default:
		_, err := io.Copy(io.Discard, os.Stdin) // idle until stdin ends
		return err
	}
}

// A clientProcess is one under way.
type clientProcess struct {
	b   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startClient(b testing.TB, kind string, at net.Addr, conns, n, size int) *clientProcess {
	b.Helper()
	c := &clientProcess{b: b, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), clientEnv+"="+fmt.Sprint(kind, " ", at, " ", conns, n, size))
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c.expect("ready\n")
	return c
}

func (c *clientProcess) expect(want string) {
	c.b.Helper()
	if line, err := c.out.ReadString('\n'); line != want {
		c.b.Fatalf("the client says %q, %v", line, err)
	}
}

// work has the client do its work and waits for that.
func (c *clientProcess) work() {
	c.b.Helper()
	io.WriteString(c.in, "go\n")
	c.expect("done\n")
}

func (c *clientProcess) end() {
	c.in.Close()
	c.cmd.Wait()
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// servers are an echo over TLS by either driver, on as many processors as there are.
func servers(b *testing.B, c *tls.Config) map[string]func() net.Addr {
	return map[string]func() net.Addr{
		"loop": func() net.Addr { return echoOnLoops(b, NewTLS(c)).Addr() },
		"goroutine": func() net.Addr {
			rt := goroutine.New()
			l := listen(b, "tcp", "127.0.0.1:0")
			b.Cleanup(func() { l.Close(); rt.Close() })
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go echoWaiting(rt.Stream(tls.Server(conn, c)))
				}
			}()
			return l.Addr()
		},
	}
}

func echoOnLoops(b testing.TB, terms *TLS) *Listener {
	return serveOn(b, startEngine(b, 0), func(rt engine.Runtime, plain engine.Stream, _ netip.AddrPort) {
		s, err := terms.Secure(plain, 0)
		if err != nil {
			plain.Close()
			return
		}
		echoWaiting(s)
	})
}

func echoWaiting(s engine.Stream) {
	defer s.Close()
	buf := make([]byte, 16<<10)
	for s.Await() == nil {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if _, err := s.Write(buf[:n]); err != nil {
			return
		}
	}
}

// BenchmarkOverTLS is a server's processor time for a request and its answer of so many
// bytes each, on 64 connections.
func BenchmarkOverTLS(b *testing.B) {
	server, _ := configs(b, "ecdsa")
	for _, size := range []int{128, 16 << 10} {
		for name, serve := range servers(b, server) {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				measure(b, startClient(b, "requests", serve(), 64, b.N, size))
			})
		}
	}
}

func measure(b *testing.B, c *clientProcess) {
	defer c.end()
	b.ResetTimer()
	before := processorTime(b)
	c.work()
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// BenchmarkHandshakes is a server's processor time for a connection: full with each kind of
// key, and resumed.
func BenchmarkHandshakes(b *testing.B) {
	for _, kind := range []string{"ecdsa", "p384", "rsa"} {
		server, _ := configs(b, kind)
		for name, serve := range servers(b, server) {
			b.Run(kind+"/"+name, func(b *testing.B) {
				measure(b, startClient(b, "handshakes", serve(), 8, b.N, 1))
			})
			if kind == "ecdsa" {
				b.Run("resumed/"+name, func(b *testing.B) {
					measure(b, startClient(b, "resume", serve(), 8, b.N, 1))
				})
			}
		}
	}
}

// BenchmarkBesideHandshakes is how long a connected client waits for an answer while 32
// others shake hands without a pause: with signatures where NewTLS has them made, and all
// on the loops.
func BenchmarkBesideHandshakes(b *testing.B) {
	for _, kind := range []string{"ecdsa", "rsa"} {
		server, client := configs(b, kind)
		here := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server, nil }}
		for name, config := range map[string]*tls.Config{"as it is": server, "on the loop": here} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				l := echoOnLoops(b, NewTLS(config))
				below := dial(b, l)
				c := tls.Client(below, client)
				ask(b, c, "hello")
				below.SetDeadline(time.Time{})
				others := startClient(b, "handshakes", l.Addr(), 32, 1<<40, 1)
				io.WriteString(others.in, "go\n")
				time.Sleep(50 * time.Millisecond)
				var waits []time.Duration
				for b.Loop() {
					began := time.Now()
					ask(b, c, "hello")
					waits = append(waits, time.Since(began))
					time.Sleep(time.Millisecond)
				}
				others.cmd.Process.Kill()
				others.end()
				slices.Sort(waits)
				b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "µs-p50")
				b.ReportMetric(float64(waits[len(waits)*95/100].Microseconds()), "µs-p95")
			})
		}
	}
}

// BenchmarkIdleTLS is the server's memory for a connection that has made requests of some
// size and waits for the next.
func BenchmarkIdleTLS(b *testing.B) {
	const conns = 2000
	for _, size := range []int{128, 1500, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			server, _ := configs(b, "ecdsa")
			terms := NewTLS(server)
			e := startEngine(b, 0)
			l := serveOn(b, e, func(rt engine.Runtime, plain engine.Stream, _ netip.AddrPort) {
				s, err := terms.Secure(plain, 0)
				if err != nil {
					plain.Close()
					return
				}
				var rest func()
				rest = func() {
					buf := make([]byte, size)
					n, err := s.Read(buf)
					if err != nil {
						s.Close()
						return
					}
					s.Write(buf[:n])
					s.WhenReady(rest)
				}
				s.WhenReady(rest)
			})
			for b.Loop() {
				before := memory()
				c := startClient(b, "requests", l.Addr(), conns, 0, size)
				heap, stacks := memory()[0]-before[0], memory()[1]-before[1]
				b.ReportMetric(float64(heap)/conns, "heap-B/conn")
				b.ReportMetric(float64(stacks)/conns, "stack-B/conn")
				c.end()
				eventually(b, "the end", func() bool { return e.loops[0].clients.Load() == 0 })
			}
		})
	}
}

// memory is what the heap and stacks take.
func memory() [2]int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return [2]int64{int64(m.HeapAlloc), int64(m.StackInuse)}
}
