package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// play runs a world that has to come to rest without failures.
func play(t *testing.T, w *World) {
	t.Helper()
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
}

func readAll(s engine.Stream) (string, error) {
	var all []byte
	p := make([]byte, 7)
	for {
		n, err := s.Read(p)
		all = append(all, p[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}

func TestTimeJumps(t *testing.T) {
	w := New(1)
	var woke []string
	for _, d := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour} {
		w.Go(d.String(), func() {
			if err := w.Runtime().Sleep(w.Now() + d); err != nil {
				t.Error(err)
			}
			woke = append(woke, fmt.Sprintf("%v at %v", d, w.Now()-epoch))
		})
	}
	if w.Now() <= 0 {
		t.Error("the clock starts at zero, which means no deadline")
	}
	play(t, w)
	if got := strings.Join(woke, ", "); got != "1h0m0s at 1h0m0s, 2h0m0s at 2h0m0s, 3h0m0s at 3h0m0s" {
		t.Error(got)
	}
}

func TestRunForStopsAtItsEnd(t *testing.T) {
	w := New(1)
	ticks := 0
	w.Daemon("ticker", func() {
		for w.Runtime().Sleep(w.Now()+time.Second) == nil {
			ticks++
		}
	})
	if err := w.RunFor(3500 * time.Millisecond); err != nil || ticks != 3 || w.Now() != epoch+3500*time.Millisecond {
		t.Fatal(err, ticks, w.Now())
	}
	if err := w.RunUntil(func() bool { return ticks == 10 }, time.Minute); err != nil || w.Now() != epoch+10*time.Second {
		t.Fatal(err, w.Now())
	}
	if err := w.RunUntil(func() bool { return ticks == 1000 }, time.Minute); err == nil || !strings.Contains(err.Error(), "ticker waits: sleep until") {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteBlocksUntilThePeerReads(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		w := New(2)
		w.BufferBytes = 10
		w.Delay = delay
		a, b := w.Pipe()
		var wrote time.Duration
		w.Go("writer", func() {
			if n, err := a.Write(make([]byte, 25)); n != 25 || err != nil {
				t.Error(n, err)
			}
			wrote = w.Now()
		})
		w.Go("reader", func() {
			for n := 0; n < 25; {
				w.Runtime().Sleep(w.Now() + time.Second)
				if len(b.in.unread)+b.in.transit > 10 {
					t.Error("more is buffered than BufferBytes")
				}
				k, err := b.Read(make([]byte, 5))
				if n += k; err != nil {
					t.Error(err)
				}
			}
		})
		play(t, w)
		if d := wrote - epoch; d < 3*time.Second || d >= 4*time.Second {
			t.Errorf("Write of 25 bytes through 10 returned after %v, want 3s: when 15 were read", d)
		}
	}
}

func TestDeadlines(t *testing.T) {
	w := New(3)
	w.BufferBytes = 4
	a, b := w.Pipe()
	w.Go("task", func() {
		b.SetReadDeadline(w.Now() + time.Second)
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) || w.Now() != epoch+time.Second {
			t.Error(err, w.Now())
		}
		a.Write([]byte("abc"))
		if err := b.Await(); !errors.Is(err, engine.ErrTimeout) {
			t.Error("an expired deadline lets a wait through:", err)
		}
		b.SetReadDeadline(0)
		if n, err := b.Read(make([]byte, 9)); n != 3 || err != nil {
			t.Error(n, err)
		}
		a.SetWriteDeadline(w.Now() + time.Second)
		if n, err := a.Write([]byte("123456")); n != 4 || !errors.Is(err, engine.ErrTimeout) || w.Now() != epoch+2*time.Second {
			t.Error(n, err, w.Now())
		}
	})
	play(t, w)
}

func TestADeadlineSetMeanwhileBoundsARunningRead(t *testing.T) {
	w := New(3)
	a, _ := w.Pipe()
	w.Go("reader", func() {
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) || w.Now() != epoch+5*time.Second {
			t.Error(err, w.Now())
		}
	})
	w.Go("setter", func() {
		w.Runtime().Sleep(w.Now() + time.Second)
		a.SetReadDeadline(epoch + 5*time.Second)
	})
	play(t, w)
}

func TestHalfClose(t *testing.T) {
	w := New(4)
	a, b := w.Pipe()
	w.Go("a", func() {
		a.Write([]byte("question"))
		a.CloseWrite()
		if _, err := a.Write([]byte("x")); !errors.Is(err, engine.ErrClosed) {
			t.Error("write after CloseWrite:", err)
		}
		if got, err := readAll(a); got != "answer" || err != io.EOF {
			t.Error(got, err)
		}
		a.Close()
	})
	w.Go("b", func() {
		if got, err := readAll(b); got != "question" || err != io.EOF {
			t.Error(got, err)
		}
		if b.Quiet() {
			t.Error("a peer that has ended its side is quiet")
		}
		b.Write([]byte("answer"))
		b.Close()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, engine.ErrClosed) {
			t.Error("read after Close:", err)
		}
		if b.Close() != nil {
			t.Error("Close is not idempotent")
		}
	})
	play(t, w)
}

func TestAbortLosesWhatWasNotRead(t *testing.T) {
	w := New(5)
	a, b := w.Pipe()
	w.Go("task", func() {
		a.Write([]byte("hello"))
		b.Read(make([]byte, 2))
		a.Abort()
		if n, err := b.Read(make([]byte, 9)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Error(n, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, ErrReset) {
			t.Error(err)
		}
	})
	play(t, w)
}

func TestAbortOvertakesWhatIsOnItsWay(t *testing.T) {
	w := New(5)
	w.Delay, w.SegmentMax = time.Millisecond, 1
	a, b := w.Pipe()
	w.Go("task", func() {
		a.Write([]byte("hello"))
		a.Abort()
		if got, err := readAll(b); !errors.Is(err, ErrReset) {
			t.Errorf("%q %v", got, err)
		}
		w.Runtime().Sleep(w.Now() + time.Second)
		if b.in.transit != 0 || len(b.in.unread) != 0 {
			t.Error("bytes arrived after the reset")
		}
	})
	play(t, w)
}

// A server that answers and closes without reading the rest of the request resets: its
// peer reads the answer and then an error, and cannot write on.
func TestCloseWithUnreadBytesResetsBehindTheAnswer(t *testing.T) {
	w := New(6)
	a, b := w.Pipe()
	w.Go("task", func() {
		a.Write([]byte("request"))
		b.Write([]byte("answer"))
		b.Close()
		if got, err := readAll(a); got != "answer" || !errors.Is(err, ErrReset) {
			t.Error(got, err)
		}
		if _, err := a.Write([]byte("more")); !errors.Is(err, ErrReset) {
			t.Error(err)
		}
	})
	play(t, w)
}

// The first write to a peer that closed in good order is lost without notice, as on a
// stale connection; the next fails.
func TestWritesToAClosedPeer(t *testing.T) {
	for _, segment := range []int{0, 3} {
		w := New(7)
		w.SegmentMax = segment
		a, b := w.Pipe()
		w.Go("task", func() {
			b.Close()
			if _, err := a.Write([]byte("request")); err != nil {
				t.Error(err)
			}
			if _, err := a.Write([]byte("more")); !errors.Is(err, ErrReset) {
				t.Error(err)
			}
			if _, err := a.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		})
		play(t, w)
	}
}

// A peer that reads, answers and leaves before Write returns: the writer finds the answer.
func TestPreemptedWritesReturnLate(t *testing.T) {
	w := New(7)
	w.Preempt = 1
	a, b := w.Pipe()
	w.Go("a", func() {
		if _, err := a.Write([]byte("question")); err != nil || w.Now() == epoch || w.Now() > epoch+preemptMax {
			t.Error(err, w.Now())
		}
		if a.Quiet() {
			t.Error("b has not run yet")
		}
		if got, err := readAll(a); got != "answer" || err != io.EOF {
			t.Error(got, err)
		}
	})
	w.Go("b", func() {
		b.Read(make([]byte, 8))
		w.Preempt = 0
		b.Write([]byte("answer"))
		b.Close()
	})
	play(t, w)
}

func TestClosingWakesABlockedWriter(t *testing.T) {
	w := New(7)
	w.BufferBytes = 8
	a, b := w.Pipe()
	w.Go("writer", func() {
		if _, err := a.Write(make([]byte, 100)); !errors.Is(err, ErrReset) {
			t.Error(err)
		}
	})
	w.Go("closer", func() {
		w.Runtime().Sleep(w.Now() + time.Second)
		b.Close()
	})
	play(t, w)
}

func TestInterruptIsSticky(t *testing.T) {
	w := New(8)
	mine, later := errors.New("mine"), errors.New("later")
	a, b := w.Pipe()
	w.Go("reader", func() {
		for range 2 {
			if _, err := a.Read(make([]byte, 1)); err != mine {
				t.Error(err)
			}
		}
		if _, err := a.Write([]byte("x")); err != mine {
			t.Error(err)
		}
	})
	w.Go("interrupter", func() {
		w.Runtime().Sleep(w.Now() + time.Second)
		a.Interrupt(mine)
		a.Interrupt(later)
		b.Write([]byte("x"))
	})
	play(t, w)
}

func TestWatch(t *testing.T) {
	ends := map[string]func(*Stream){
		"fin":                 func(s *Stream) { s.CloseWrite() },
		"close":               func(s *Stream) { s.Close() },
		"reset":               func(s *Stream) { s.Abort() },
		"fin behind bytes":    func(s *Stream) { s.Write([]byte("pipelined")); s.CloseWrite() },
		"close behind bytes":  func(s *Stream) { s.Write([]byte("pipelined")); s.Close() },
		"bytes only, no end ": nil,
	}
	for name, end := range ends {
		for _, segment := range []int{0, 2} {
			for _, before := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%v", name, segment, before), func(t *testing.T) {
					w := New(9)
					w.SegmentMax = segment
					peer, client := w.Pipe()
					up, _ := w.Pipe()
					w.Go("exchange", func() {
						if before {
							w.Runtime().Sleep(epoch + 2*time.Second)
						}
						w.Runtime().Watch(client, up)
						up.SetReadDeadline(epoch + 3*time.Second)
						want := engine.ErrClientGone
						if end == nil {
							want = engine.ErrTimeout
						}
						if _, err := up.Read(make([]byte, 1)); !errors.Is(err, want) {
							t.Errorf("%v, want %v", err, want)
						}
					})
					w.Go("peer", func() {
						w.Runtime().Sleep(epoch + time.Second)
						if end == nil {
							peer.Write([]byte("pipelined"))
						} else {
							end(peer)
						}
					})
					play(t, w)
				})
			}
		}
	}
}

func TestAnInterruptOfTheClientIsHandedOn(t *testing.T) {
	for _, before := range []bool{false, true} {
		w := New(10)
		mine := errors.New("mine")
		_, client := w.Pipe()
		up, _ := w.Pipe()
		w.Go("exchange", func() {
			if before {
				client.Interrupt(mine)
			}
			w.Runtime().Watch(client, up)
			if _, err := up.Read(make([]byte, 1)); err != mine {
				t.Error(err)
			}
		})
		w.Go("drain", func() {
			w.Runtime().Sleep(w.Now() + time.Second)
			client.Interrupt(mine)
		})
		play(t, w)
	}
}

func TestUnwatchLeavesNoInterruptBehind(t *testing.T) {
	w := New(10)
	peer, client := w.Pipe()
	up, far := w.Pipe()
	w.Go("task", func() {
		w.Runtime().Watch(client, up)
		w.Runtime().Unwatch(client, up)
		peer.Close()
		far.Write([]byte("x"))
		if n, err := up.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
	play(t, w)
}

func TestConnect(t *testing.T) {
	w := New(11)
	w.Delay = 10 * time.Millisecond
	rt := w.Runtime()
	w.BlackHole("10.0.0.9:80")
	l := w.Listen("10.0.0.1:80")
	w.Daemon("server", func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			if got := s.(*Stream).Remote().String(); got != "10.7.7.7:777" {
				t.Error(got)
			}
			s.Write([]byte("hello"))
			s.Close()
		}
	})
	w.Go("client", func() {
		s, err := w.Connect(netip.MustParseAddrPort("10.7.7.7:777"), "10.0.0.1:80", 0)
		if err != nil {
			t.Error(err)
			return
		}
		if got, err := readAll(s); got != "hello" || err != io.EOF || w.Now() != epoch+30*time.Millisecond {
			t.Error(got, err, w.Now(), "want 30ms: two delays to connect and one to read")
		}
		if _, err := rt.Dial(&engine.Dial{Address: "10.0.0.2:80"}); !errors.Is(err, engine.ErrRefused) {
			t.Error(err)
		}
		start := w.Now()
		if _, err := rt.Dial(&engine.Dial{Address: "10.0.0.9:80", By: start + time.Second}); !errors.Is(err, engine.ErrTimeout) || w.Now() != start+time.Second {
			t.Error(err, w.Now())
		}
		if _, err := rt.Dial(&engine.Dial{Address: "10.0.0.1:80", By: w.Now() + 5*time.Millisecond}); !errors.Is(err, engine.ErrTimeout) {
			t.Error("connected in less than a round trip:", err)
		}
		l.Close()
		if _, err := rt.Dial(&engine.Dial{Address: "10.0.0.1:80"}); !errors.Is(err, engine.ErrRefused) {
			t.Error(err)
		}
	})
	play(t, w)
}

func TestConnectionsNotAcceptedAreResetByClose(t *testing.T) {
	w := New(11)
	l := w.Listen("10.0.0.1:80")
	w.Go("client", func() {
		s, err := w.Runtime().Dial(&engine.Dial{Address: "10.0.0.1:80"})
		if err != nil {
			t.Error(err)
			return
		}
		l.Close()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Error(err)
		}
	})
	play(t, w)
}

func TestForkAndJoin(t *testing.T) {
	for seed := range uint64(20) {
		w := New(seed)
		w.Go("parent", func() {
			var done []int
			var joins []engine.Join
			for i := range 5 {
				joins = append(joins, w.Runtime().Fork(func() {
					w.Runtime().Sleep(w.Now() + time.Duration(i%3))
					done = append(done, i)
				}))
			}
			for _, j := range joins {
				j.Wait()
			}
			if slices.Sort(done); !slices.Equal(done, []int{0, 1, 2, 3, 4}) {
				t.Error(done)
			}
		})
		play(t, w)
	}
}

func TestSignalHoldsOneSet(t *testing.T) {
	w := New(12)
	s := w.Runtime().NewSignal()
	w.Go("task", func() {
		s.Set()
		s.Set()
		if !s.Wait(0) {
			t.Error("a Set before Wait was lost")
		}
		if s.Wait(w.Now() + time.Second) {
			t.Error("two Sets made two wake-ups")
		}
		if w.Now() != epoch+time.Second {
			t.Error(w.Now())
		}
	})
	play(t, w)
}

func TestSignalsComeFromOtherGoroutines(t *testing.T) {
	w := New(12)
	s := w.Runtime().NewSignal()
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for range 100 {
				s.Set()
				w.Now()
				w.Runtime().Rand()
			}
		})
	}
	w.Go("task", func() {
		w.Runtime().Do(others.Wait)
		if !s.Wait(0) {
			t.Error("lost")
		}
	})
	play(t, w)
}

func TestPanicFailsTheRun(t *testing.T) {
	w := New(13)
	w.Go("innocent", func() { w.Runtime().Sleep(w.Now() + time.Hour) })
	w.Go("guilty", func() {
		w.Runtime().Sleep(w.Now() + time.Second)
		var m map[string]int
		m["x"]++ //lint:ignore SA5000 the panic that is meant
	})
	err := w.Run()
	if err == nil || !strings.Contains(err.Error(), "task guilty: panic: assignment to entry in nil map") ||
		!strings.Contains(err.Error(), "virtual_test.go") {
		t.Fatalf("no panic with its stack: %v", err)
	}
	if err := w.Stop(); err != nil {
		t.Error("what a panic leaves cannot be ended:", err)
	}
}

func TestGoexitOfATaskReachesTheCallerOfRun(t *testing.T) {
	ended := make(chan bool)
	go func() {
		defer close(ended)
		w := New(13)
		w.Go("task", func() { (&testing.T{}).SkipNow() })
		w.Run()
		ended <- false
	}()
	if _, ranOn := <-ended; ranOn {
		t.Error("Run returned after a Goexit in a task")
	}
}

func TestStuckTasksAreNamed(t *testing.T) {
	w := New(14)
	a, _ := w.Pipe()
	l := w.Listen("10.0.0.1:80")
	w.Daemon("accepting", func() { l.Accept() })
	w.Go("reading", func() { a.Read(make([]byte, 1)) })
	w.Go("joining", func() { w.Runtime().Fork(func() { w.Runtime().NewSignal().Wait(0) }).Wait() })
	var stuck Stuck
	if err := w.Run(); !errors.As(err, &stuck) || len(stuck) != 3 {
		t.Fatal(err)
	}
	for _, want := range []string{"reading waits: stream", "joining waits: join joining/", "waits: signal"} {
		if !strings.Contains(stuck.Error(), want) {
			t.Errorf("%q is not in %q", want, stuck)
		}
	}
	if got := len(w.Blocked()); got != 4 {
		t.Error("blocked, the daemon included:", got)
	}
	if err := w.Stop(); err != nil || len(w.Blocked()) != 0 {
		t.Error(err)
	}
}

// Stop reaches every kind of wait, and what is begun afterwards.
func TestStopEndsEveryWait(t *testing.T) {
	w := New(15)
	w.BufferBytes = 1
	w.BlackHole("10.0.0.9:80")
	l := w.Listen("10.0.0.1:80")
	rt := w.Runtime()
	a, b := w.Pipe()
	ended := 0
	for name, f := range map[string]func() error{
		"sleep":  func() error { return rt.Sleep(w.Now() + time.Hour) },
		"read":   func() error { _, err := a.Read(make([]byte, 1)); return err },
		"write":  func() error { _, err := b.Write(make([]byte, 9)); return err },
		"dial":   func() error { _, err := rt.Dial(&engine.Dial{Address: "10.0.0.9:80"}); return err },
		"join":   func() error { rt.Fork(func() { rt.NewSignal().Wait(0) }).Wait(); return engine.ErrStopping },
		"accept": func() error { l.Accept(); return engine.ErrStopping },
		"late":   func() error { rt.Sleep(w.Now() + time.Hour); return rt.Sleep(w.Now() + time.Hour) },
	} {
		w.Go(name, func() {
			if err := f(); !errors.Is(err, engine.ErrStopping) && !(name == "read" && err == nil) {
				t.Errorf("%s: %v", name, err)
			}
			ended++
		})
	}
	if err := w.RunFor(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil || ended != 7 {
		t.Fatal(err, ended)
	}
}

func TestLivelockIsFound(t *testing.T) {
	w := New(16)
	w.StepsMax = 10_000
	w.Daemon("deaf", func() {
		for {
			w.Runtime().NewSignal().Wait(0) // ignores that the world stops
		}
	})
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err == nil || !strings.Contains(err.Error(), "livelock") {
		t.Fatal(err)
	}
}

// chatter makes a world of clients and echoing servers with random messages, and checks
// every stream against the plain concatenation of what was written to it.
func chatter(t *testing.T, seed uint64, trace io.Writer) {
	w := New(seed)
	w.Trace = trace
	dice := rand.New(rand.NewPCG(seed, 3))
	w.SegmentMax = dice.IntN(3) * dice.IntN(500)
	w.BufferBytes = 1 + dice.IntN(4000)
	w.Delay = time.Duration(dice.IntN(3)) * time.Millisecond
	w.Preempt = dice.IntN(5)
	rt := w.Runtime()
	l := w.Listen("10.0.0.1:80")
	w.Daemon("server", func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			rt.Fork(func() {
				io.Copy(s, struct{ io.Reader }{s})
				s.Close()
			})
		}
	})
	for i := range 5 {
		w.Go(fmt.Sprint("client ", i), func() {
			s, err := rt.Dial(&engine.Dial{Address: "10.0.0.1:80"})
			if err != nil {
				t.Error(err)
				return
			}
			sent := make([]byte, dice.IntN(5000))
			for i := range sent {
				sent[i] = byte(dice.Uint32())
			}
			writing := rt.Fork(func() {
				for rest := sent; len(rest) > 0; {
					n := 1 + dice.IntN(len(rest))
					if _, err := s.Write(rest[:n]); err != nil {
						t.Error(err)
					}
					rest = rest[n:]
					rt.Sleep(w.Now() + time.Duration(dice.IntN(2)))
				}
				s.CloseWrite()
			})
			got, err := readAll(s)
			if err != io.EOF || got != string(sent) {
				t.Errorf("seed %d: %d bytes came back of %d, %v", seed, len(got), len(sent), err)
			}
			writing.Wait()
			s.Close()
		})
	}
	if err := w.Run(); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

func TestStreamsCarryWhatWasWritten(t *testing.T) {
	for seed := range uint64(60) {
		chatter(t, seed, nil)
	}
}

func TestEqualSeedsGiveEqualRuns(t *testing.T) {
	traces := map[string]uint64{}
	for seed := range uint64(10) {
		var first, second bytes.Buffer
		chatter(t, seed, &first)
		chatter(t, seed, &second)
		if first.Len() == 0 || first.String() != second.String() {
			t.Errorf("seed %d: two runs differ", seed)
		}
		traces[first.String()] = seed
	}
	if len(traces) != 10 {
		t.Errorf("10 seeds gave %d runs", len(traces))
	}
}

func FuzzSeeds(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { chatter(t, seed, nil) })
}

// BenchmarkSwitch is one resumption of a task: what a step of the virtual world costs.
func BenchmarkSwitch(b *testing.B) {
	w := New(1)
	near, far := w.Pipe()
	w.Go("ping", func() {
		p := make([]byte, 1)
		for range b.N {
			near.Write(p)
			near.Read(p)
		}
		near.Close()
	})
	w.Go("pong", func() {
		p := make([]byte, 1)
		for {
			if _, err := far.Read(p); err != nil {
				return
			}
			far.Write(p)
		}
	})
	if err := w.Run(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/step")
}
