package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

// A spliceCase has two streams of one loop, from and to, with a peer each, and is on a
// task of that loop.
type spliceCase struct {
	*testing.T
	rt                 *loop
	from, to           *stream
	fromPeer, toPeer   net.Conn
	fromOther, toOther chan error // what work of the peers has ended with
	stall              time.Duration
}

// spliceOn runs test on two connections of the given networks.
func spliceOn(t *testing.T, from, to string, test func(c *spliceCase)) {
	t.Helper()
	e := startEngine(t, 1)
	c := &spliceCase{T: t, rt: e.loops[0], fromOther: make(chan error, 1), toOther: make(chan error, 1)}
	play(t, e, 0, func() {
		c.from, c.fromPeer = c.pair(e, from)
		c.to, c.toPeer = c.pair(e, to)
		if !t.Failed() {
			test(c)
			c.from.Close()
			c.to.Close()
		}
	})
	play(t, e, 0, func() {
		if p := &c.rt.pipes; p.used != 0 || len(p.spare) > pipesSpare {
			t.Errorf("%d pipes are in use, %d are kept", p.used, len(p.spare))
		}
		for _, p := range c.rt.pipes.spare {
			if n, err := unix.IoctlGetInt(p.out, unix.TIOCINQ); n != 0 || err != nil {
				t.Errorf("%d bytes in a pipe that is kept, %v", n, err)
			}
		}
	})
}

func (c *spliceCase) pair(e *Engine, network string) (*stream, net.Conn) {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(c.TempDir(), "s")
	}
	l := listen(c, network, address)
	defer l.Close()
	peer := dial(c, l)
	ours, err := l.Accept()
	if err != nil {
		c.Error(err)
		return nil, nil
	}
	s, err := e.Stream(0, ours)
	if err != nil {
		c.Error(err)
		return nil, nil
	}
	return s.(*stream), peer
}

// beside runs f on a goroutine, which is awaited.
func (c *spliceCase) beside(done chan error, f func() error) {
	go func() { done <- f() }()
}

// wait awaits what beside has begun, on no loop's time.
func (c *spliceCase) wait(done chan error) (err error) {
	c.rt.Do(func() {
		select {
		case err = <-done:
		case <-time.After(patience):
			err = errors.New("does not end")
		}
	})
	return err
}

func randomBytes(chance *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(chance.Uint32())
	}
	return b
}

// pace is how a peer reads or writes.
type pace struct {
	piece int           // bytes at once
	pause time.Duration // between pieces
}

func (p pace) write(w io.Writer, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), p.piece)
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		time.Sleep(p.pause)
	}
	return nil
}

func (p pace) read(r io.Reader, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), p.piece)
		if _, err := io.ReadFull(r, b[:n]); err != nil {
			return err
		}
		b = b[n:]
		time.Sleep(p.pause)
	}
	return nil
}

// TestSpliceIsACopy: of all sizes, between all kinds of connections and with peers at any
// pace, what arrives is what was sent; what lies behind it is left, and both streams are
// as good as before.
func TestSpliceIsACopy(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 4))
	sizes := []int{1, 1000, 64<<10 - 1, 64 << 10, 64<<10 + 1, pipeBytes - 1, pipeBytes, pipeBytes + 1, 1<<20 + 7, 5 << 20}
	paces := []pace{{1 << 20, 0}, {1 << 10, 0}, {40_000, 200 * time.Microsecond}}
	for _, networks := range [][2]string{{"tcp", "tcp"}, {"tcp", "unix"}, {"unix", "tcp"}, {"unix", "unix"}} {
		t.Run(networks[0]+" to "+networks[1], func(t *testing.T) {
			spliceOn(t, networks[0], networks[1], func(c *spliceCase) {
				for i := range 30 {
					size := sizes[chance.IntN(len(sizes))] + chance.IntN(3)
					writer, reader := paces[chance.IntN(len(paces))], paces[chance.IntN(len(paces))]
					sent, got := randomBytes(chance, size), make([]byte, size+4)
					behind := []byte(fmt.Sprintf("%04d", i))
					c.beside(c.fromOther, func() error { return writer.write(c.fromPeer, append(bytes.Clone(sent), behind...)) })
					c.beside(c.toOther, func() error { return reader.read(c.toPeer, got) })
					m := c.rt.Splice(c.to, c.from, int64(size), patience, 0)
					if m != (engine.Moved{Taken: int64(size), Given: int64(size)}) {
						c.Fatalf("%d bytes, %v %v: %+v", size, writer, reader, m)
					}
					left := make([]byte, 4)
					if err := readAll(c.from, left); err != nil || !bytes.Equal(left, behind) {
						c.Errorf("behind: %q, %v", left, err)
					}
					c.to.Write(left)
					if err := errors.Join(c.wait(c.fromOther), c.wait(c.toOther)); err != nil {
						c.Fatal(err)
					}
					if !bytes.Equal(got, append(sent, behind...)) {
						c.Fatalf("%d bytes, %v %v: not what was sent", size, writer, reader)
					}
					if !c.from.Quiet() || !c.to.Quiet() {
						c.Error("not quiet")
					}
				}
			})
		})
	}
}

func readAll(s engine.Stream, b []byte) error {
	for len(b) > 0 {
		n, err := s.Read(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// TestSpliceBothWays: two tasks, one each way, on the same two streams.
func TestSpliceBothWays(t *testing.T) {
	const size = 3 << 20
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		chance := rand.New(rand.NewPCG(5, 6))
		there, back := randomBytes(chance, size), randomBytes(chance, size)
		gotThere, gotBack := make([]byte, size), make([]byte, size)
		others := make(chan error, 4)
		c.beside(others, func() error { return pace{100_000, 0}.write(c.fromPeer, there) })
		c.beside(others, func() error { return pace{3000, 0}.read(c.toPeer, gotThere) })
		c.beside(others, func() error { return pace{5000, 0}.write(c.toPeer, back) })
		c.beside(others, func() error { return pace{100_000, 0}.read(c.fromPeer, gotBack) })
		j := c.rt.Fork(func() { c.moved(c.rt.Splice(c.from, c.to, size, patience, 0), size) })
		c.moved(c.rt.Splice(c.to, c.from, size, patience, 0), size)
		j.Wait()
		for range 4 {
			if err := c.wait(others); err != nil {
				c.Error(err)
			}
		}
		if !bytes.Equal(there, gotThere) || !bytes.Equal(back, gotBack) {
			c.Error("not what was sent")
		}
	})
}

func (c *spliceCase) moved(m engine.Moved, n int64) {
	c.Helper()
	if m != (engine.Moved{Taken: n, Given: n}) {
		c.Errorf("%+v, want %d", m, n)
	}
}

// TestSpliceEndsEarly: the peer ends its side, or resets it, before all has come.
func TestSpliceEndsEarly(t *testing.T) {
	const size = 300_000
	for _, network := range []string{"tcp", "unix"} {
		spliceOn(t, network, "tcp", func(c *spliceCase) {
			got := make([]byte, size)
			c.beside(c.toOther, func() error { _, err := io.ReadFull(c.toPeer, got); return err })
			c.beside(c.fromOther, func() error {
				err := pace{7000, 0}.write(c.fromPeer, bytes.Repeat([]byte("x"), size))
				return errors.Join(err, c.fromPeer.(interface{ CloseWrite() error }).CloseWrite())
			})
			c.moved(c.rt.Splice(c.to, c.from, size+1, patience, 0), size)
			if n, err := c.from.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				c.Errorf("%s: %d, %v", network, n, err)
			}
			c.moved(c.rt.Splice(c.to, c.from, 1, patience, 0), 0)
			if err := errors.Join(c.wait(c.fromOther), c.wait(c.toOther)); err != nil || bytes.Count(got, []byte("x")) != size {
				c.Errorf("%s: %v", network, err)
			}
		})
	}
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		c.beside(c.fromOther, func() error {
			c.fromPeer.Write(make([]byte, 1000))
			_, err := io.ReadFull(c.toPeer, make([]byte, 1000)) // so that it has passed
			c.fromPeer.(*net.TCPConn).SetLinger(0)
			return errors.Join(err, c.fromPeer.Close())
		})
		m := c.rt.Splice(c.to, c.from, size, patience, 0)
		if m.Taken != 1000 || m.Given != 1000 || !errors.Is(m.ReadErr, unix.ECONNRESET) || m.WriteErr != nil {
			c.Errorf("reset: %+v", m)
		}
		if _, err := c.from.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			c.Errorf("read after the reset: %v", err)
		}
		c.wait(c.fromOther)
	})
}

// TestSpliceToNobody: dst's peer is gone. What is left in the pipe is lost, and so is the
// pipe.
func TestSpliceToNobody(t *testing.T) {
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		const size = 40 << 20
		c.beside(c.fromOther, func() error { _, err := c.fromPeer.Write(make([]byte, size)); return err })
		c.beside(c.toOther, func() error {
			_, err := io.ReadFull(c.toPeer, make([]byte, 1<<20))
			c.toPeer.(*net.TCPConn).SetLinger(0)
			return errors.Join(err, c.toPeer.Close())
		})
		m := c.rt.Splice(c.to, c.from, size, patience, 0)
		if m.WriteErr == nil || m.ReadErr != nil || m.Given < 1<<20 || m.Taken < m.Given || m.Taken >= size {
			c.Errorf("%+v", m)
		}
		if m.Taken > m.Given && len(c.rt.pipes.spare) != 0 {
			c.Error("a pipe is kept that is not empty")
		}
		c.from.Abort()
		c.wait(c.fromOther)
		c.wait(c.toOther)
	})
}

// TestSpliceIsBounded: by stall where nothing moves, but not while it does, and reading
// by an instant; a deadline that another task sets counts more.
func TestSpliceIsBounded(t *testing.T) {
	const stall = 60 * time.Millisecond
	nothing := func(c *spliceCase) {}
	fill := func(c *spliceCase) {
		c.fromPeer.Write(make([]byte, 16<<10)) // fits, so that there is something to read however late the rest comes
		c.beside(c.fromOther, func() error { c.fromPeer.Write(make([]byte, 64<<20)); return nil })
	}
	for _, test := range []struct {
		name        string
		do          func(c *spliceCase)
		stall, by   time.Duration
		read, write error
		least       time.Duration
	}{
		{"nothing comes", nothing, stall, 0, engine.ErrTimeout, nil, stall},
		{"until an instant", nothing, patience, stall, engine.ErrTimeout, nil, stall},
		{"until an instant, without stall", nothing, 0, stall, engine.ErrTimeout, nil, stall},
		{"until an instant in the past", nothing, patience, -1, engine.ErrTimeout, nil, 0},
		// Longer: on a busy machine the writer begins late, and that is no stall of the reader.
		{"nothing is read", fill, 10 * stall, 0, nil, engine.ErrTimeout, 10 * stall},
		{"another task's read deadline", func(c *spliceCase) {
			c.rt.Fork(func() { c.rt.Sleep(c.rt.Now() + stall); c.from.SetReadDeadline(c.rt.Now()) })
		}, patience, 0, engine.ErrTimeout, nil, stall},
		{"another task's read deadline, while bytes come", func(c *spliceCase) {
			c.beside(c.fromOther, func() error { return pace{100, stall / 10}.write(c.fromPeer, make([]byte, 1600)) })
			c.rt.Fork(func() { c.rt.Sleep(c.rt.Now() + stall/2); c.from.SetReadDeadline(c.rt.Now() + stall/2) })
		}, patience, 0, engine.ErrTimeout, nil, stall},
		{"another task's write deadline", func(c *spliceCase) {
			fill(c)
			c.rt.Fork(func() { c.rt.Sleep(c.rt.Now() + stall); c.to.SetWriteDeadline(c.rt.Now()) })
		}, patience, 0, nil, engine.ErrTimeout, stall},
	} {
		t.Run(test.name, func(t *testing.T) {
			spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
				began := c.rt.Now()
				test.do(c)
				by := test.by
				if by != 0 {
					by += began
				}
				m := c.rt.Splice(c.to, c.from, 64<<20, test.stall, by)
				if !errors.Is(m.ReadErr, test.read) || !errors.Is(m.WriteErr, test.write) || (m.ReadErr == nil) != (test.read == nil) || (m.WriteErr == nil) != (test.write == nil) {
					c.Errorf("%+v", m)
				}
				if took := c.rt.Now() - began; took < test.least || took > patience/2 {
					c.Errorf("after %v, want %v", took, test.least)
				}
				c.fromPeer.Close()
			})
		})
	}
}

// TestSpliceMovesItsBoundsOn: little comes, or is read, at a time, and in all it takes
// longer than nothing may move; then nothing does.
func TestSpliceMovesItsBoundsOn(t *testing.T) {
	const steps = 60
	comes := func(c *spliceCase, slowly func(func() error)) (m engine.Moved, least int64) {
		go slowly(func() error { _, err := c.fromPeer.Write(make([]byte, 1000)); return err })
		c.from.Await()
		return c.rt.Splice(c.to, c.from, 1<<20, c.stall, 0), steps * 1000
	}
	isRead := func(c *spliceCase, slowly func(func() error)) (m engine.Moved, least int64) {
		const piece = 8 << 10                                                // in all more than a pipe and a socket hold
		unix.SetsockoptInt(int(c.to.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1) // so that there is room soon, and little
		c.beside(c.toOther, func() error { c.fromPeer.Write(make([]byte, 1<<20)); return nil })
		c.from.Await()
		go slowly(func() error { _, err := io.ReadFull(c.toPeer, make([]byte, piece)); return err })
		return c.rt.Splice(c.to, c.from, 1<<20, c.stall, 0), steps * piece
	}
	t.Run("comes", func(t *testing.T) { movesOn(t, steps, comes) })
	t.Run("is read", func(t *testing.T) { movesOn(t, steps, isRead) })
}

// movesOn runs a splice with a peer that is slow, but never for as long as it may be. On a
// busy machine it is too slow, or the loop is; then that says nothing, and what may be is
// made longer.
func movesOn(t *testing.T, steps int, splice func(c *spliceCase, slowly func(do func() error)) (engine.Moved, int64)) {
	for stall := 100 * time.Millisecond; stall < patience/16; stall *= 2 {
		var late atomic.Bool
		var m engine.Moved
		var least int64
		spliceOn(t, "tcp", "unix", func(c *spliceCase) {
			c.stall = stall
			over := false
			watch := c.rt.Fork(func() {
				for last := c.rt.Now(); !over; last = c.rt.Now() {
					c.rt.Sleep(last + stall/20)
					if c.rt.Now()-last > stall/10 {
						late.Store(true)
					}
				}
			})
			m, least = splice(c, func(do func() error) {
				var err error
				for i := 0; i < steps && err == nil; i++ {
					began := time.Now()
					time.Sleep(stall / 20)
					if err = do(); time.Since(began) > stall/10 {
						late.Store(true)
					}
				}
				c.fromOther <- err
			})
			over = true
			c.from.Abort()
			c.to.Close()
			watch.Wait()
			c.wait(c.fromOther)
		})
		if m.Given >= least && errors.Is(errors.Join(m.ReadErr, m.WriteErr), engine.ErrTimeout) {
			return
		}
		if !late.Load() {
			t.Fatalf("%+v, want %d", m, least)
		}
	}
	t.Skip("the machine is too busy")
}

// TestSpliceIsInterrupted: either stream by another task, whichever the splice waits for;
// and by Watch when the client leaves.
func TestSpliceIsInterrupted(t *testing.T) {
	why := errors.New("why")
	for _, blocked := range []bool{false, true} {
		for name, test := range map[string]struct {
			do          func(c *spliceCase)
			read, write error
		}{
			"src":        {func(c *spliceCase) { c.from.Interrupt(why) }, why, nil},
			"dst":        {func(c *spliceCase) { c.to.Interrupt(why) }, nil, why},
			"src closed": {func(c *spliceCase) { c.from.Close() }, engine.ErrClosed, nil},
			"dst closed": {func(c *spliceCase) { c.to.Close() }, nil, engine.ErrClosed},
			"watched":    {func(c *spliceCase) { c.rt.Watch(c.to, c.from); c.toPeer.(*net.TCPConn).CloseWrite() }, engine.ErrClientGone, nil},
		} {
			t.Run(fmt.Sprint(name, ", dst is full: ", blocked), func(t *testing.T) {
				spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
					c.beside(c.fromOther, func() error {
						if blocked {
							c.fromPeer.Write(make([]byte, 64<<20))
						}
						return nil
					})
					j := c.rt.Fork(func() {
						for waits := c.from.reader; waits == nil || blocked != (c.to.flags&full != 0); waits = c.from.reader {
							c.rt.Sleep(c.rt.Now() + time.Millisecond)
						}
						test.do(c)
					})
					m := c.rt.Splice(c.to, c.from, 64<<20, patience, 0)
					if m.ReadErr != test.read || m.WriteErr != test.write {
						c.Errorf("%+v", m)
					}
					if blocked != (m.Taken > m.Given) {
						c.Errorf("%d taken, %d given", m.Taken, m.Given)
					}
					j.Wait()
					c.fromPeer.Close()
					c.wait(c.fromOther)
				})
			})
		}
	}
}

// TestSpliceLeavesUrgentData to Read, which passes it; a pipe would wait for ever.
func TestSpliceLeavesUrgentData(t *testing.T) {
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		raw, err := c.fromPeer.(*net.TCPConn).SyscallConn()
		if err != nil {
			c.Fatal(err)
		}
		c.fromPeer.Write([]byte("before"))
		raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
		if err != nil {
			c.Skip(err)
		}
		c.fromPeer.Write([]byte("behind, end"))
		c.rt.Sleep(c.rt.Now() + 20*time.Millisecond)
		const all = "beforebehind, end"
		got := make([]byte, 0, len(all))
		for len(got) < len(all) {
			m := c.rt.Splice(c.to, c.from, int64(len(all)-len(got)), patience/3, 0)
			if m.Taken != m.Given || m.ReadErr != nil || m.WriteErr != nil {
				c.Fatalf("%+v", m)
			}
			piece := make([]byte, m.Given)
			io.ReadFull(c.toPeer, piece)
			if got = append(got, piece...); len(got) == len(all) {
				break
			}
			b := make([]byte, 1)
			if n, err := c.from.Read(b); n != 1 || err != nil {
				c.Fatal(n, err)
			}
			got = append(got, b...)
		}
		if string(got) != all {
			c.Errorf("%q", got)
		}
	})
}

// TestSpliceNeedsTwoStreamsOfItsLoop: others go on as they were.
func TestSpliceNeedsTwoStreamsOfItsLoop(t *testing.T) {
	e := startEngine(t, 2)
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		c.fromPeer.Write(make([]byte, 100))
		c.from.Await()
		for name, other := range map[string]engine.Stream{"another kind": struct{ engine.Stream }{c.to}, "another loop's": &stream{loop: e.loops[1]}} {
			for _, m := range []engine.Moved{c.rt.Splice(other, c.from, 100, patience, 0), c.rt.Splice(c.to, other, 100, patience, 0)} {
				if m != (engine.Moved{}) {
					c.Errorf("%s: %+v", name, m)
				}
			}
		}
		c.moved(c.rt.Splice(c.to, c.from, 100, patience, 0), 100)
	})
}

// TestPipesAreBounded: a call that finds none returns at once; one that waits for src holds
// none.
func TestPipesAreBounded(t *testing.T) {
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		p := &c.rt.pipes
		var held []pipe
		for got := p.take(); got.size > 0; got = p.take() {
			if got.size < pipeMin {
				c.Fatalf("a pipe of %d bytes", got.size)
			}
			held = append(held, got)
		}
		if len(held) != pipesMax {
			c.Fatalf("%d pipes", len(held))
		}
		c.fromPeer.Write(make([]byte, 100))
		c.from.Await()
		c.moved(c.rt.Splice(c.to, c.from, 100, patience, 0), 0)
		p.give(held[0], 0)
		j := c.rt.Fork(func() { c.moved(c.rt.Splice(c.to, c.from, 200, patience, 0), 200) })
		c.rt.Sleep(c.rt.Now() + 20*time.Millisecond)
		if p.used != pipesMax-1 || len(p.spare) != 1 {
			c.Errorf("%d pipes are used and %d kept while one waits for src", p.used, len(p.spare))
		}
		c.fromPeer.Write(make([]byte, 100))
		j.Wait()
		for _, h := range held[1:] {
			p.give(h, 0)
		}
	})
}

// TestSpliceWithoutDescriptors: copying needs none.
func TestSpliceWithoutDescriptors(t *testing.T) {
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			c.Fatal(err)
		}
		low := old
		free, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			c.Fatal(err)
		}
		unix.Close(free)
		low.Cur = uint64(free)
		c.fromPeer.Write(make([]byte, 100))
		c.from.Await()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			c.Fatal(err)
		}
		m := c.rt.Splice(c.to, c.from, 100, patience, 0)
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		c.moved(m, 0)
		c.moved(c.rt.Splice(c.to, c.from, 100, patience, 0), 100)
	})
}

// TestSpliceLetsOthersRun: as often as a copy would.
func TestSpliceLetsOthersRun(t *testing.T) {
	const size = 64 << 20
	spliceOn(t, "tcp", "tcp", func(c *spliceCase) {
		c.beside(c.fromOther, func() error { _, err := c.fromPeer.Write(make([]byte, size)); return err })
		c.beside(c.toOther, func() error { _, err := io.CopyN(io.Discard, c.toPeer, size); return err })
		turns, done := 0, false
		other := c.rt.Fork(func() {
			for !done {
				turns++
				c.rt.Pause()
			}
		})
		c.moved(c.rt.Splice(c.to, c.from, size, patience, 0), size)
		done = true
		other.Wait()
		if least := size / spliceUnit / sched.Burst; turns < least {
			c.Errorf("another task had %d turns, want %d", turns, least)
		}
		if err := errors.Join(c.wait(c.fromOther), c.wait(c.toOther)); err != nil {
			c.Error(err)
		}
	})
}
