package yield

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// echo has two goroutines send a byte back and forth through sockets, until the test ends, and returns
// how often it has arrived: Go's poller was asked as often.
func echo(t *testing.T) *atomic.Int64 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	n := new(atomic.Int64)
	for _, c := range []net.Conn{a, b} {
		t.Cleanup(func() { c.Close() })
		go func() {
			var room [1]byte
			for {
				if _, err := c.Read(room[:]); err != nil {
					return
				}
				n.Add(1)
				if _, err := c.Write(room[:]); err != nil {
					return
				}
			}
		}()
	}
	if _, err := a.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Goroutines that wait for sockets run although another one never waits. One processor, 100 turns of
// 0.1 ms: with runtime.Gosched they run once or twice, when Go's monitor looks.
func TestWaitingForASocket(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	n := echo(t)
	turn := Begin(1)
	defer turn.End()
	before := n.Load()
	for range 100 {
		for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); {
		}
		turn.Did(1)
	}
	if got := n.Load() - before; got < 50 {
		t.Errorf("they ran %d times in 100 turns", got)
	}
}

// A turn lasts as long as Begin has said.
func TestTurnsAreCounted(t *testing.T) {
	turn := Begin(10)
	defer turn.End()
	for _, work := range []int{4, 4, 1} {
		turn.Did(work)
	}
	if turn.done != 9 {
		t.Error(turn.done)
	}
	if turn.Did(5); turn.done != 0 {
		t.Error(turn.done)
	}
}

// Without a descriptor, and after End, there is still the yield of Go.
func TestWithoutADetour(t *testing.T) {
	turn := Begin(1)
	turn.End()
	turn.Did(1)
	turn.End()
}

func BenchmarkNow(b *testing.B) {
	turn := Begin(1)
	defer turn.End()
	b.ReportAllocs()
	for b.Loop() {
		turn.Now()
	}
}
