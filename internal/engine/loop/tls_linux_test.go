package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

func newRawRig(t testing.TB) *rig {
	r := newRig(t, "ecdsa")
	r.server.SessionTicketsDisabled = true // so that the records of a rawPeer count from 0
	r.secure = NewTLS(r.server)
	return r
}

// TestARecordInPieces: what came is no byte to read before its record is complete. Nobody
// is woken for less, it is not quiet, and then it is there.
func TestARecordInPieces(t *testing.T) {
	r := newRawRig(t)
	r.play(func() {
		s, peer := r.acceptRaw()
		defer s.Close()
		record := peer.out.seal(recordData, "hello")
		for _, cut := range []int{1, 3, 5, 6, len(record) - 1} {
			woken := r.rt.NewSignal()
			s.WhenReady(woken.Set)
			peer.send(t, record[:cut])
			r.until("part of a record", func() bool { return !s.Quiet() })
			if woken.Wait(r.rt.Now() + 5*time.Millisecond) {
				t.Errorf("woken by %d of %d bytes", cut, len(record))
			}
			peer.send(t, record[cut:])
			if !woken.Wait(r.rt.Now() + patience) {
				t.Fatal("not woken by the rest")
			}
			if err := s.Await(); err != nil {
				t.Error(err)
			}
			buf := make([]byte, 10)
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
				t.Errorf("%q, %v", buf[:n], err)
			}
			if !s.Quiet() {
				t.Error("not quiet after all was read")
			}
			record = peer.out.seal(recordData, "hello")
		}
	})
}

// TestKeyUpdatesAreNoBytes: neither Quiet nor WhenReady takes them for a request, they are
// answered, and both directions go on.
func TestKeyUpdatesAreNoBytes(t *testing.T) {
	r := newRawRig(t)
	r.play(func() {
		s, peer := r.acceptRaw()
		defer s.Close()
		for round := range 5 {
			woken := r.rt.NewSignal()
			s.WhenReady(woken.Set)
			// A message in two records, and those in pieces.
			record := append(peer.out.seal(recordHandshake, keyUpdateRequest[:2]), peer.out.seal(recordHandshake, keyUpdateRequest[2:])...)
			peer.out = peer.out.update(t)
			for _, b := range record {
				peer.send(t, []byte{b})
			}
			var kind byte
			var text string
			var err error
			r.rt.Do(func() { kind, text, err = peer.receive() })
			if err != nil || kind != recordHandshake || text != keyUpdate {
				t.Fatalf("round %d: the answer is %d %q, %v", round, kind, text, err)
			}
			peer.in = peer.in.update(t)
			if woken.Wait(r.rt.Now() + 5*time.Millisecond) {
				t.Error("woken by a key update")
			}
			if !s.Quiet() {
				t.Error("a key update is unread bytes")
			}
			peer.send(t, peer.out.seal(recordData, "next"))
			if !woken.Wait(r.rt.Now() + patience) {
				t.Error("not woken by data")
			}
			buf := make([]byte, 9)
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != "next" {
				t.Errorf("%q, %v", buf[:n], err)
			}
			s.Write([]byte("answer"))
			r.rt.Do(func() { kind, text, err = peer.receive() })
			if err != nil || kind != recordData || text != "answer" {
				t.Fatalf("round %d: %d %q, %v", round, kind, text, err)
			}
		}
	})
}

// TestWhoDoesNotReadAnswersIsCutOff: a peer that asks for updates for ever and reads none
// costs no memory for ever.
func TestWhoDoesNotReadAnswersIsCutOff(t *testing.T) {
	r := newRawRig(t)
	r.play(func() {
		s, peer := r.acceptRaw()
		defer s.Close()
		unix.SetsockoptInt(int(s.(*secure).s.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		go func() {
			for {
				b := peer.out.seal(recordHandshake, keyUpdateRequest)
				peer.out = peer.out.update(t)
				// Without bytes in between, crypto/tls would end it by itself.
				if _, err := peer.Write(append(b, peer.out.seal(recordData, "x")...)); err != nil {
					return
				}
			}
		}()
		most := 0
		for {
			_, err := s.Read(make([]byte, 1))
			most = max(most, len(s.(*secure).out))
			if err != nil {
				if !errors.Is(err, errDebts) {
					t.Error(err)
				}
				break
			}
		}
		if most > 2*unsentMost {
			t.Errorf("%d bytes were owed", most)
		}
		if s.Quiet() {
			t.Error("quiet after its end")
		}
		s.Abort()
	})
}

// TestEveryWayToReadFindsAll: records of every size, several in one segment, cut anywhere,
// with empty ones and key updates between, read in every way and size of buffer. Who waits
// for what has come already would wait for ever.
func TestEveryWayToReadFindsAll(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	r := newRawRig(t)
	for round := range rounds {
		chance := rand.New(rand.NewPCG(uint64(round), 9))
		r.play(func() {
			s, peer := r.acceptRaw()
			defer s.Close()
			s.SetReadDeadline(r.rt.Now() + patience)
			var want, got []byte
			for range 30 {
				segment := randomRecords(t, chance, peer, &want)
				for cut := range 1 + chance.IntN(2) {
					n := len(segment)
					if cut == 0 {
						n = chance.IntN(n + 1)
					}
					peer.send(t, segment[:n])
					segment = segment[n:]
					if chance.IntN(3) == 0 {
						r.rt.Sleep(r.rt.Now() + time.Millisecond/5)
					}
					s.Quiet()
				}
				peer.send(t, segment)
				for len(got) < len(want) {
					got = append(got, readSomehow(t, r, s, chance, len(want)-len(got))...)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("round %d: the bytes differ", round)
				}
				r.until("quiet", s.Quiet) // what is left to come is no data
			}
		})
	}
}

// randomRecords are at least one with data, which is appended to want.
func randomRecords(t *testing.T, chance *rand.Rand, peer *rawPeer, want *[]byte) (segment []byte) {
	for n := 1 + chance.IntN(5); n > 0; n-- {
		switch chance.IntN(4) {
		case 0:
			segment = append(segment, peer.out.seal(recordHandshake, keyUpdate)...)
			peer.out = peer.out.update(t)
		case 1:
			segment = append(segment, peer.out.seal(recordData, "")...)
		}
		text := make([]byte, []int{1, 2, 15, chance.IntN(3000) + 1, 16384}[chance.IntN(5)])
		for i := range text {
			text[i] = byte(chance.Uint32())
		}
		segment = append(segment, peer.out.seal(recordData, string(text))...)
		*want = append(*want, text...)
	}
	return segment
}

func readSomehow(t *testing.T, r *rig, s Secured, chance *rand.Rand, left int) []byte {
	switch chance.IntN(4) {
	case 0:
		if s.Quiet() && chance.IntN(2) == 0 {
			r.rt.Sleep(r.rt.Now() + time.Millisecond/10)
		}
	case 1:
		g := r.rt.NewSignal()
		s.WhenReady(g.Set)
		if !g.Wait(r.rt.Now() + patience) {
			t.Fatal("not woken")
		}
	case 2:
		if err := s.Await(); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, []int{1, 2, left, 1 + chance.IntN(500), 20_000}[chance.IntN(5)])
	n, err := s.Read(buf)
	if err != nil || n == 0 {
		t.Fatalf("%d, %v", n, err)
	}
	return buf[:n]
}

// TestWriteWaitsForTheKernel: what a Write that succeeds has encrypted is on its way.
func TestWriteWaitsForTheKernel(t *testing.T) {
	r := newRig(t, "ecdsa")
	r.play(func() {
		s, _ := r.acceptTLS()
		defer s.Abort()
		s.SetWriteDeadline(r.rt.Now() + 30*time.Millisecond)
		for {
			_, err := s.Write(make([]byte, 1000))
			if err != nil {
				if !errors.Is(err, engine.ErrTimeout) {
					t.Error(err)
				}
				break
			}
			if s.(*secure).out != nil {
				t.Error("a Write has returned, and the kernel has not taken it")
				break
			}
		}
	})
}

// TestWhenReadyOverTLSIsCalledInAnyCase, and Await fails where it says so.
func TestWhenReadyOverTLSIsCalledInAnyCase(t *testing.T) {
	why := errors.New("why")
	for name, test := range map[string]struct {
		do   func(rt engine.Runtime, s Secured, peer *tls.Conn)
		want error
	}{
		"bytes":     {func(_ engine.Runtime, _ Secured, peer *tls.Conn) { peer.Write([]byte("x")) }, nil},
		"end":       {func(_ engine.Runtime, _ Secured, peer *tls.Conn) { peer.Close() }, io.EOF},
		"deadline":  {func(rt engine.Runtime, s Secured, _ *tls.Conn) { s.SetReadDeadline(rt.Now() + 3*time.Millisecond) }, engine.ErrTimeout},
		"past":      {func(rt engine.Runtime, s Secured, _ *tls.Conn) { s.SetReadDeadline(rt.Now()) }, engine.ErrTimeout},
		"interrupt": {func(_ engine.Runtime, s Secured, _ *tls.Conn) { s.Interrupt(why) }, why},
		"close":     {func(_ engine.Runtime, s Secured, _ *tls.Conn) { s.Close() }, engine.ErrClosed},
		"past, with bytes": {func(rt engine.Runtime, s Secured, peer *tls.Conn) {
			peer.Write([]byte("x"))
			for s.Quiet() {
				rt.Sleep(rt.Now() + time.Millisecond)
			}
			s.SetReadDeadline(rt.Now())
		}, engine.ErrTimeout},
	} {
		for _, before := range []bool{false, true} {
			if name == "past, with bytes" && !before {
				continue // Quiet would read while another task waits to
			}
			r := newRig(t, "ecdsa")
			r.play(func() {
				s, peer := r.acceptTLS()
				defer s.Close()
				g := r.rt.NewSignal()
				var awaited, result error
				wait := func() {
					s.WhenReady(func() {
						awaited = s.Await()
						_, result = s.Read(make([]byte, 1))
						g.Set()
					})
				}
				if !before {
					wait()
				}
				test.do(r.rt, s, peer)
				if before {
					r.rt.Sleep(r.rt.Now() + 5*time.Millisecond)
					wait()
				}
				if !g.Wait(r.rt.Now()+patience) || !errors.Is(result, test.want) {
					t.Errorf("%s, before %v: %v, want %v", name, before, result, test.want)
				}
				if test.want != io.EOF && awaited != result {
					t.Errorf("%s, before %v: Await says %v", name, before, awaited)
				}
			})
		}
	}
}

// TestMuchIsManyTurns: what is encrypted counts by its size.
func TestMuchIsManyTurns(t *testing.T) {
	r := newRig(t, "ecdsa")
	l := r.e.loops[0]
	r.play(func() {
		s, _ := r.acceptTLS()
		defer s.Close()
		l.Pause()
		before := l.Stats().Budget
		s.Write(make([]byte, 4*sealUnit))
		if spent := before - l.Stats().Budget; spent < 4 {
			t.Errorf("%d bytes cost %d of a burst of %d", 4*sealUnit, spent, sched.Burst)
		}
	})
}

// ways are those in which a connection under TLS ends or goes wrong.
var ways = map[string]func(testing.TB, *rawPeer){
	"close_notify": func(t testing.TB, p *rawPeer) { p.send(t, p.out.seal(recordAlert, closeNotify)) },
	"close_notify, FIN": func(t testing.TB, p *rawPeer) {
		p.send(t, p.out.seal(recordAlert, closeNotify))
		p.Conn.(*net.TCPConn).CloseWrite()
	},
	"FIN": func(t testing.TB, p *rawPeer) { p.Conn.(*net.TCPConn).CloseWrite() },
	"FIN in a head": func(t testing.TB, p *rawPeer) {
		p.send(t, p.out.seal(recordData, "lost")[:3])
		p.Conn.(*net.TCPConn).CloseWrite()
	},
	"FIN in a record": func(t testing.TB, p *rawPeer) {
		p.send(t, p.out.seal(recordData, "lost")[:20])
		p.Conn.(*net.TCPConn).CloseWrite()
	},
	"reset": func(t testing.TB, p *rawPeer) {
		p.Conn.(*net.TCPConn).SetLinger(0)
		p.Conn.Close()
	},
	"data behind close_notify": func(t testing.TB, p *rawPeer) {
		p.send(t, append(p.out.seal(recordAlert, closeNotify), p.out.seal(recordData, "too late")...))
	},
	"a fatal alert": func(t testing.TB, p *rawPeer) { p.send(t, p.out.seal(recordAlert, "\x02\x50")) },
	"a forged record": func(t testing.TB, p *rawPeer) {
		b := p.out.seal(recordData, "forged")
		b[9] ^= 1
		p.send(t, b)
	},
	"a handshake message nobody expects": func(t testing.TB, p *rawPeer) {
		p.send(t, p.out.seal(recordHandshake, "\x01\x00\x00\x01x"))
	},
	"a record that is too long": func(t testing.TB, p *rawPeer) { p.send(t, []byte{recordData, 3, 3, 0xff, 0xff}) },
	"no TLS":                    func(t testing.TB, p *rawPeer) { p.send(t, []byte("GET / HTTP/1.1\r\n\r\n")) },
}

// TestEndsAsOnGoroutines: the loop and the goroutine driver say the same of every end, and
// so does whoever looks again.
func TestEndsAsOnGoroutines(t *testing.T) {
	for name, end := range ways {
		for _, text := range []string{"", "some bytes first"} {
			loopSays := endOnLoop(t, end, text)
			goroutineSays := endOnGoroutine(t, end, text)
			if loopSays != goroutineSays {
				t.Errorf("%s behind %q: the loop says\n\t%s\nthe goroutine driver\n\t%s", name, text, loopSays, goroutineSays)
			}
			t.Logf("%s behind %q: %s", name, text, loopSays)
		}
	}
}

// tell reads to the end, and once more, and writes.
func tell(s engine.Stream) string {
	var out strings.Builder
	buf := make([]byte, 7)
	var last error
	for range 3 {
		var err error
		for err == nil {
			var n int
			if err = s.Await(); err == nil {
				n, err = s.Read(buf)
			}
			out.Write(buf[:n])
		}
		if last == nil || last.Error() != err.Error() {
			fmt.Fprintf(&out, " [%s, EOF %v]", errorText(err), errors.Is(err, io.EOF))
		}
		last = err
	}
	return out.String()
}

// errorText leaves out what is the operating system's way to say something.
func errorText(err error) string {
	text := err.Error()
	if strings.Contains(text, "connection reset") {
		return "reset"
	}
	return text
}

func endOnLoop(t *testing.T, end func(testing.TB, *rawPeer), text string) (says string) {
	r := newRawRig(t)
	r.play(func() {
		s, peer := r.acceptRaw()
		if text != "" {
			peer.send(t, peer.out.seal(recordData, text))
		}
		end(t, peer)
		s.SetReadDeadline(r.rt.Now() + patience)
		says = tell(s)
		if s.Quiet() {
			t.Errorf("quiet after %s", says)
		}
		s.Close()
	})
	r.e.Close()
	return says
}

func endOnGoroutine(t *testing.T, end func(testing.TB, *rawPeer), text string) string {
	r := newRawRig(t)
	ours, theirs := r.sockets()
	rt := goroutine.New()
	defer rt.Close()
	server := tls.Server(ours, r.server)
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	var log bytes.Buffer
	client := r.client.Clone()
	client.KeyLogWriter = &log
	if err := tls.Client(theirs, client).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	peer := newRawPeer(t, theirs, log.String(), false)
	s := rt.Stream(server)
	defer s.Close()
	if text != "" {
		peer.send(t, peer.out.seal(recordData, text))
	}
	end(t, peer)
	s.SetReadDeadline(rt.Now() + patience)
	return tell(s)
}

// TestCloseNotifyIsNoLeaving: a client that has sent all it has to say still waits for its
// answer; as on goroutines, FIN is what says that it left.
func TestCloseNotifyIsNoLeaving(t *testing.T) {
	r := newRawRig(t)
	r.play(func() {
		s, peer := r.acceptRaw()
		defer s.Close()
		up, upPeer := r.acceptRaw()
		defer up.Close()
		peer.send(t, peer.out.seal(recordData, "x"))
		s.Read(make([]byte, 9))
		peer.send(t, peer.out.seal(recordAlert, closeNotify))
		r.until("close_notify", func() bool { return !s.Quiet() })
		r.rt.Watch(s, up)
		upPeer.send(t, upPeer.out.seal(recordData, "y"))
		if n, err := up.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		peer.Conn.(*net.TCPConn).CloseWrite()
		if _, err := up.Read(make([]byte, 9)); !errors.Is(err, engine.ErrClientGone) {
			t.Errorf("after FIN: %v", err)
		}
		r.rt.Unwatch(s, up)
	})
}

// TestFarewellOfWhoIsFull: Close does not wait for a peer that does not read, and that peer
// finds all that was written, and an end in good order.
func TestFarewellOfWhoIsFull(t *testing.T) {
	r := newRig(t, "ecdsa")
	r.play(func() {
		s, peer := r.acceptTLS()
		s.SetWriteDeadline(r.rt.Now() + 20*time.Millisecond)
		written, err := s.Write(make([]byte, 64<<20))
		if !errors.Is(err, engine.ErrTimeout) {
			t.Fatal(err)
		}
		before := r.rt.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, engine.ErrClosed) || r.rt.Now() != before {
			t.Errorf("Close took %v, and then: %v", r.rt.Now()-before, err)
		}
		if _, err := s.Write(make([]byte, 1)); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		s.Close()
		var n int64
		r.rt.Do(func() { n, err = io.Copy(io.Discard, peer) })
		if n != int64(written) || err != nil {
			t.Errorf("the peer reads %d of %d bytes, %v", n, written, err)
		}
	})
	r.nothingLeft()
}

// TestFarewellEnds: also if the peer never reads, when the engine stops.
func TestFarewellEnds(t *testing.T) {
	r := newRig(t, "ecdsa")
	r.play(func() {
		s, _ := r.acceptTLS()
		s.SetWriteDeadline(r.rt.Now() + 20*time.Millisecond)
		s.Write(make([]byte, 64<<20))
		s.Close()
	})
	began := time.Now()
	r.e.Close()
	if passed := time.Since(began); passed > lingerTime/2 {
		t.Errorf("the engine took %v to stop", passed)
	}
}

// TestACutIsNoEnd: after Close by another task in the middle of a Write, and after Abort,
// the peer does not find an end in good order.
func TestACutIsNoEnd(t *testing.T) {
	for name, end := range map[string]func(engine.Stream){
		"Close in a Write": func(s engine.Stream) { s.Close() },
		"Abort":            engine.Stream.Abort,
	} {
		r := newRawRig(t)
		r.play(func() {
			s, peer := r.acceptRaw()
			j := r.rt.Fork(func() {
				if _, err := s.Write(make([]byte, 64<<20)); !errors.Is(err, engine.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			})
			r.rt.Sleep(r.rt.Now() + 20*time.Millisecond)
			end(s)
			j.Wait()
			r.rt.Do(func() {
				for {
					kind, text, err := peer.receive()
					if err != nil {
						break
					}
					if kind != recordData {
						t.Errorf("%s: the peer finds %d %q", name, kind, text)
					}
				}
			})
		})
		r.nothingLeft()
	}
}

// nothingLeft: no stream, task or buffer is held.
func (r *rig) nothingLeft() {
	r.Helper()
	l := r.e.loops[0]
	eventually(r, "the end of all streams", func() bool {
		var alive, taken int
		r.play(func() { s := l.Stats(); alive, taken = s.Tasks, s.Sources })
		return alive == 1 && taken == 1
	})
	if n := l.clients.Load(); n != 0 {
		r.Errorf("%d clients are counted", n)
	}
}

// TestIdleTLSHoldsNothing: neither a coroutine nor a buffer.
func TestIdleTLSHoldsNothing(t *testing.T) {
	r := newRig(t, "ecdsa")
	var served atomic.Int32
	streams := make(chan *secure, 100)
	l := serveOn(t, r.e, func(rt engine.Runtime, plain engine.Stream, _ netip.AddrPort) {
		s, err := r.secure.Secure(plain, rt.Now()+patience)
		if err != nil {
			t.Error(err)
			plain.Close()
			return
		}
		streams <- s.(*secure)
		var next func()
		next = func() {
			buf := make([]byte, 64)
			n, err := s.Read(buf)
			if err != nil {
				s.Close()
				return
			}
			served.Add(1)
			s.Write(buf[:n])
			s.WhenReady(next)
		}
		s.WhenReady(next)
	})
	const clients = 60
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = tls.Client(dial(t, l), r.client)
	}
	for range 3 {
		for i, c := range conns {
			ask(t, c, fmt.Sprint("request ", i))
		}
	}
	if n := served.Load(); n != 3*clients {
		t.Errorf("%d served, not %d", n, 3*clients)
	}
	r.play(func() {
		if n := r.e.loops[0].Stats().Tasks; n != 1 {
			t.Errorf("%d tasks for idle connections", n-1)
		}
		for range clients {
			if s := <-streams; s.out != nil || s.s.reader != nil || s.s.writer != nil {
				t.Error("an idle connection holds a buffer or a task")
			}
		}
	})
}

// TestFollowCountsRecords against the naive way: all bytes at once.
func TestFollowCountsRecords(t *testing.T) {
	chance := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var all []byte
		ends := map[int]bool{0: true}
		for range chance.IntN(8) {
			n := []int{0, 1, 2, 255, 256, 16401, chance.IntN(600)}[chance.IntN(7)]
			all = append(all, recordData, 3, 3, byte(n>>8), byte(n))
			all = append(all, bytes.Repeat([]byte{0xff}, n)...)
			ends[len(all)] = true
		}
		s := &secure{}
		for at := 0; at < len(all); {
			n := min(1+chance.IntN(1+chance.IntN(400)), len(all)-at)
			s.follow(all[at : at+n])
			at += n
			complete := -1
			for end := range ends {
				if end <= at {
					complete++
				}
			}
			if s.within() == ends[at] || s.records != complete {
				t.Fatalf("at %d of %d: within %v, %d records, not %d", at, len(all), s.within(), s.records, complete)
			}
		}
	}
}

// TestTLSSoak: TestSoak under TLS, on both sides of a hop.
func TestTLSSoak(t *testing.T) {
	e := startEngine(t, 2)
	server, client := configs(t, "ecdsa")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	terms := NewTLS(server)
	open := descriptors(t)
	secured := func(serve Serve) Serve {
		return func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
			t, err := terms.Secure(s, rt.Now()+patience)
			if err != nil {
				s.Close() // clients that leave early
				return
			}
			serve(rt, t, remote)
		}
	}
	l := serveOn(t, e, secured(echo))
	hop := serveOn(t, e, secured(hopTo(t, l, client)))
	stop := time.Now().Add(2 * time.Second)
	if testing.Short() {
		stop = time.Now().Add(500 * time.Millisecond)
	}
	var group sync.WaitGroup
	var asked atomic.Int64
	for worker := range 8 {
		group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(worker), 8))
			for time.Now().Before(stop) {
				visitTLS(t, hop, client, chance, worker, &asked)
			}
		})
	}
	group.Wait()
	t.Logf("%d questions", asked.Load())
	l.Close()
	hop.Close()
	eventually(t, "the end of descriptors", func() bool { return descriptors(t) <= open })
	for i, l := range e.loops {
		eventually(t, "the end of everything", func() bool {
			var alive, taken int
			play(t, e, i, func() { s := l.Stats(); alive, taken = s.Tasks, s.Sources })
			return alive == 1 && taken == 1 && l.clients.Load() == 0
		})
	}
}

// hopTo passes on what it reads to a new connection, and the answer back.
func hopTo(t *testing.T, l *Listener, client *tls.Config) Serve {
	return func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		defer s.Close()
		up, err := rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String(), TLS: client, By: rt.Now() + patience})
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		buf := make([]byte, 4096)
		for {
			s.SetReadDeadline(rt.Now() + patience)
			n, err := s.Read(buf)
			if err != nil || !up.Quiet() {
				return
			}
			rt.Watch(s, up)
			up.Write(buf[:n])
			for got := 0; got < n && err == nil; {
				if err = up.Await(); err == nil {
					var m int
					m, err = up.Read(buf[got:n])
					got += m
				}
			}
			rt.Unwatch(s, up)
			if err != nil {
				return
			}
			s.Write(buf[:n])
		}
	}
}

func visitTLS(t *testing.T, l *Listener, client *tls.Config, chance *rand.Rand, worker int, asked *atomic.Int64) {
	below, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer below.Close()
	below.SetDeadline(time.Now().Add(patience))
	if chance.IntN(10) == 0 { // leaves in the middle of the handshake
		hello := make([]byte, chance.IntN(100))
		copy(hello, []byte{recordHandshake, 3, 1, 0, 200})
		below.Write(hello)
		return
	}
	c := tls.Client(below, client)
	for i := range 1 + chance.IntN(6) {
		text := fmt.Sprintf("%d/%d/%d/%s", worker, i, chance.Uint64(), strings.Repeat("x", chance.IntN(2000)))
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error(err)
			return
		}
		asked.Add(1)
		switch chance.IntN(12) {
		case 0: // leaves before the answer
			c.Close()
			return
		case 1: // and that without manners
			below.(*net.TCPConn).SetLinger(0)
			return
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
			return
		}
	}
	c.Close()
}

// TestKeepAliveOverTLSAllocates what crypto/tls does, and that once for a request: a
// reader of 24 bytes for every record it fetches.
func TestKeepAliveOverTLSAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("looking for races is on: pools drop what they hold")
	}
	r := newRig(t, "ecdsa")
	l := serveOn(t, r.e, func(rt engine.Runtime, plain engine.Stream, remote netip.AddrPort) {
		s, err := r.secure.Secure(plain, 0)
		if err != nil {
			plain.Close()
			return
		}
		defer s.Close()
		buf := make([]byte, 4096)
		for s.Await() == nil {
			n, _ := s.Read(buf)
			s.Write(buf[:n])
		}
	})
	c := tls.Client(dial(t, l), r.client)
	text := []byte(strings.Repeat("x", 200))
	once := func() {
		c.Write(text)
		io.ReadFull(c, text)
	}
	for range 100 {
		once()
	}
	if n := testing.AllocsPerRun(300, once); n > 2 { // one of them is the client's
		t.Errorf("%v allocations for a request", n)
	}
}
