package loop

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/testlog"
	"golang.org/x/sys/unix"
)

// patience is how long is waited for what takes a moment.
const patience = 30 * time.Second

func startEngine(t testing.TB, n int) *Engine {
	t.Helper()
	e, err := New(n)
	if err != nil {
		t.Fatal(err)
	}
	e.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	t.Cleanup(e.Close)
	return e
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveOn has e serve connections to an address of its own.
func serveOn(t testing.TB, e *Engine, serve Serve) *Listener {
	t.Helper()
	l, err := e.Serve(listen(t, "tcp", "127.0.0.1:0"), nil, serve)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t testing.TB, l interface{ Addr() net.Addr }) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// echo answers what it reads until the end.
func echo(_ engine.Runtime, s engine.Stream, _ netip.AddrPort) {
	defer s.Close()
	buf := make([]byte, 4096)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if _, err := s.Write(buf[:n]); err != nil {
			return
		}
	}
}

func ask(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("%q, %v, want %q", buf, err, text)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not seen", what)
		}
	}
}

// TestBeginTakesNoTask: a connection that Begin hands over costs a task only once bytes have come, also
// one that another loop has accepted.
func TestBeginTakesNoTask(t *testing.T) {
	e := startEngine(t, 2)
	var begun, tasks atomic.Int32
	l, err := e.Begin(listen(t, "tcp", "127.0.0.1:0"), nil, func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		on := rt.(*loop)
		if on.Current() != nil {
			tasks.Add(1)
		}
		begun.Add(1)
		s.(engine.Rester).WhenReady(func() {
			if on.Current() == nil {
				t.Error("what waits for bytes runs without a task")
			}
			echo(rt, s, remote)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	const many = 20
	var all []net.Conn
	for range many {
		all = append(all, dial(t, l))
	}
	eventually(t, "all connections are begun", func() bool { return begun.Load() == many })
	for _, c := range all {
		ask(t, c, "hello")
	}
	if n := tasks.Load(); n != 0 {
		t.Errorf("%d of %d connections were begun by a task", n, many)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestServeTellsWhoIsThere(t *testing.T) {
	e := startEngine(t, 2)
	for _, at := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"tcp", ":0"}, {"unix", filepath.Join(t.TempDir(), "s")},
	} {
		remotes := make(chan netip.AddrPort, 1)
		options := make(chan int, 1)
		raw, err := net.Listen(at.network, at.address)
		if err != nil {
			t.Logf("%s: %v", at.address, err)
			continue
		}
		l, err := e.Serve(raw, nil, func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
			n, _ := unix.GetsockoptInt(int(s.(*stream).fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
			options <- n
			remotes <- remote
			echo(rt, s, remote)
		})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, l)
		ask(t, c, "hello")
		want := ""
		if at.network == "tcp" {
			want = c.LocalAddr().String()
			if <-options != 1 {
				t.Errorf("%s: accepted without TCP_NODELAY", at.address)
			}
		}
		if got := <-remotes; at.network == "tcp" && got.String() != want || at.network == "unix" && got.IsValid() {
			t.Errorf("%s: the client is %v, not %v", at.address, got, want)
		}
		c.Close()
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if c, err := net.Dial(at.network, l.Addr().String()); err == nil {
			c.Close()
			t.Errorf("%s: somebody listens after Close", at.address)
		}
		if at.network == "unix" {
			if _, err := os.Stat(at.address); err == nil {
				t.Error("the socket's name is left behind")
			}
		}
	}
}

// TestSharesAreEven: however the kernel wakes the loops, and however few accept.
func TestSharesAreEven(t *testing.T) {
	const loops, clients = 8, 400
	e := startEngine(t, loops)
	served := make([]atomic.Int32, loops)
	l := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		served[rt.Worker()].Add(1)
		defer served[rt.Worker()].Add(-1)
		echo(rt, s, remote)
	})
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, l)
	}
	for i, c := range conns {
		ask(t, c, strings.Repeat("x", i+1))
	}
	for i := range served {
		if n := int(served[i].Load()); 100*n*loops > 125*clients {
			t.Errorf("loop %d has %d of %d connections, its share is %d", i, n, clients, clients/loops)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "everybody's leaving", func() bool {
		left := int32(0)
		for i, l := range e.loops {
			left += served[i].Load() + l.clients.Load()
		}
		return left == 0
	})
}

// TestAcceptSurvivesWithoutDescriptors: it neither spins nor stops for good.
func TestAcceptSurvivesWithoutDescriptors(t *testing.T) {
	e := startEngine(t, 2)
	l := serveOn(t, e, echo)
	ask(t, dial(t, l), "before")
	to, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var clients []int
	for range 20 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, fd)
		defer unix.Close(fd)
	}
	fill, restore := exhaust(t, clients[len(clients)-1])
	defer restore()
	for _, fd := range clients {
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
	}
	before, began := cpuTime(t), time.Now()
	time.Sleep(300 * time.Millisecond)
	if spent, passed := cpuTime(t)-before, time.Since(began); spent > passed/2 {
		t.Errorf("%v of processor time in %v without descriptors", spent, passed)
	}
	// An earlier test may close descriptors late: some clients are accepted then.
	if n := int(e.loops[0].clients.Load() + e.loops[1].clients.Load()); n >= len(clients) {
		t.Fatalf("%d connections: nobody waits for a descriptor", n)
	}
	for _, fd := range fill {
		unix.Close(fd)
	}
	for _, fd := range clients {
		text := []byte("after")
		if _, err := unix.Write(fd, text); err != nil {
			t.Fatal(err)
		}
		tv := unix.NsecToTimeval(int64(patience))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		if n, err := unix.Read(fd, text); string(text[:max(n, 0)]) != "after" || err != nil {
			t.Fatalf("%q, %v", text[:max(n, 0)], err)
		}
	}
}

// exhaust takes all descriptors a process may have, with a limit a little above top.
func exhaust(t *testing.T, top int) (fill []int, restore func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = uint64(top + 40)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	restore = func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
	for {
		fd, err := unix.Dup(0)
		if err != nil {
			break
		}
		fill = append(fill, fd)
	}
	return fill, restore
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestAbnormalEndsHurtOneConnection: a panic or Goexit of a connection's task resets it,
// is logged, and the others go on.
func TestAbnormalEndsHurtOneConnection(t *testing.T) {
	e := startEngine(t, 1)
	var log testlog.Buffer
	e.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		buf := make([]byte, 1)
		s.Read(buf)
		switch buf[0] {
		case 'p':
			panicOnPurpose()
		case 'g':
			runtime.Goexit()
		}
		s.Write(buf)
		echo(rt, s, remote)
	})
	good := dial(t, l)
	ask(t, good, "1")
	for range 10 {
		for _, how := range []string{"p", "g"} {
			bad := dial(t, l)
			bad.Write([]byte(how))
			if n, err := bad.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("%s: %d, %v, not a reset", how, n, err)
			}
			ask(t, good, "still here")
		}
	}
	eventually(t, "the panic in the log", func() bool { return strings.Contains(log.String(), "panicOnPurpose") })
	if n := e.loops[0].clients.Load(); n != 1 {
		t.Errorf("%d connections are counted, not 1", n)
	}
}

func panicOnPurpose() { panic("on purpose") }

// TestCloseEndsEverything: every way to wait fails with ErrStopping, and nothing is left.
func TestCloseEndsEverything(t *testing.T) {
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	e, err := New(3)
	if err != nil {
		t.Fatal(err)
	}
	l := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		s.(*stream).WhenReady(func() { s.Close() })
	})
	var conns []net.Conn
	for range 10 {
		conns = append(conns, dial(t, l))
	}
	waiting := make(chan struct{}, 100)
	failed := make(chan error, 100)
	wait := func(i int, f func(rt engine.Runtime) error) {
		rt := e.Runtime(i)
		e.Start(i, func() {
			rt.Fork(func() { rt.Sleep(rt.Now() + 5*time.Millisecond); waiting <- struct{}{} })
			failed <- f(rt)
			if err := rt.Sleep(rt.Now() + time.Hour); !errors.Is(err, engine.ErrStopping) {
				t.Errorf("Sleep when all is over: %v", err)
			}
			if _, err := rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String()}); !errors.Is(err, engine.ErrStopping) {
				t.Errorf("Dial when all is over: %v", err)
			}
			if g := rt.NewSignal(); g.Wait(0) {
				t.Error("Signal.Wait when all is over")
			}
		})
	}
	nobody := listen(t, "tcp", "127.0.0.1:0") // takes connections, and that is all
	stream := func(rt engine.Runtime) engine.Stream {
		s, err := rt.Dial(&engine.Dial{Network: "tcp", Address: nobody.Addr().String()})
		if err != nil {
			t.Error(err)
		}
		return s
	}
	n := 0
	for i := range 3 {
		for _, f := range []func(rt engine.Runtime) error{
			func(rt engine.Runtime) error { _, err := stream(rt).Read(make([]byte, 1)); return err },
			func(rt engine.Runtime) error { _, err := stream(rt).Write(make([]byte, 64<<20)); return err },
			func(rt engine.Runtime) error { return rt.Sleep(rt.Now() + time.Hour) },
			func(rt engine.Runtime) error { rt.NewSignal().Wait(0); return engine.ErrStopping },
			func(rt engine.Runtime) error {
				var err error
				rt.Fork(func() { err = rt.Sleep(rt.Now() + time.Hour) }).Wait()
				return err
			},
		} {
			wait(i, f)
			n++
		}
	}
	for range n {
		<-waiting
	}
	e.Close()
	e.Close()
	for range n {
		if err := <-failed; !errors.Is(err, engine.ErrStopping) {
			t.Errorf("%v", err)
		}
	}
	if err := e.Start(0, func() {}); !errors.Is(err, engine.ErrStopping) {
		t.Errorf("Start after Close: %v", err)
	}
	if _, err := e.Serve(listen(t, "tcp", "127.0.0.1:0"), nil, echo); err == nil {
		t.Error("Serve after Close")
	}
	if err := l.Close(); err != nil {
		t.Errorf("Listener.Close after Close: %v", err)
	}
	nobody.Close()
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "the end of goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "the end of descriptors", func() bool { return descriptors(t) <= open })
}

// TestStartFromEverywhere: many messages to the mailbox at once lose none.
func TestStartFromEverywhere(t *testing.T) {
	e := startEngine(t, 2)
	var ran atomic.Int32
	var group sync.WaitGroup
	const goroutines, each = 8, 500
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				if err := e.Start((g+i)%2, func() { ran.Add(1) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	eventually(t, "all tasks", func() bool { return ran.Load() == goroutines*each })
}
