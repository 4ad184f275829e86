package buffer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/limits"
)

// pieces is a stream whose reads return what the test wants, piece by piece.
type pieces struct {
	left  []byte
	r     *rand.Rand
	wrote bytes.Buffer
	calls int
	fail  error
}

func (p *pieces) Await() error { return nil }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := min(len(b), len(p.left), 1+p.r.IntN(9000))
	copy(b, p.left[:n])
	p.left = p.left[n:]
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error) {
	p.calls++
	if p.fail != nil {
		return 0, p.fail
	}
	return p.wrote.Write(b)
}

func (p *pieces) SetReadDeadline(time.Duration)  {}
func (p *pieces) SetWriteDeadline(time.Duration) {}
func (p *pieces) Quiet() bool                    { return true }
func (p *pieces) Interrupt(error)                {}
func (p *pieces) CloseWrite() error              { return nil }
func (p *pieces) Close() error                   { return nil }
func (p *pieces) Abort()                         {}

// A pinned head must stay as it was whatever is read after it, and no byte may be lost,
// doubled or moved, in any order of Fill, Advance, Pin, Unpin and Release.
func TestReaderKeepsHeadsAndOrder(t *testing.T) {
	for seed := range seeds(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := make([]byte, 400_000)
		for i := range all {
			all[i] = byte(r.Uint32())
		}
		b := Reader{Stream: &pieces{left: all, r: r}, Pinned: seed%2 == 0}
		at := 0 // how much was used up
		var head, want []byte
		for {
			if got := b.Buffered(); !bytes.Equal(got, all[at:at+len(got)]) {
				t.Fatalf("seed %d: at %d the buffer holds other bytes", seed, at)
			}
			if !bytes.Equal(head, want) {
				t.Fatalf("seed %d: the pinned head changed", seed)
			}
			n := len(b.Buffered())
			switch r.IntN(6) {
			case 0, 1:
				err := b.Fill()
				if err == io.EOF && at+n == len(all) {
					if at == len(all) {
						b.Release()
						return
					}
				} else if errors.Is(err, ErrHeadTooLarge) && n >= limits.HeadBytesMax {
					b.Advance(n / 2)
					at += n / 2
				} else if err != nil {
					t.Fatalf("seed %d: %v with %d buffered", seed, err, n)
				}
			case 2, 3:
				k := r.IntN(n + 1)
				b.Advance(k)
				at += k
			case 4:
				b.Unpin()
				head, want = nil, nil
				k := r.IntN(min(n, 3000) + 1)
				head = b.Buffered()[:k:k]
				want = bytes.Clone(head)
				b.Pin(k)
				at += k
			case 5:
				if r.IntN(2) == 0 { // else a wait for content
					b.Unpin()
					head, want = nil, nil
				}
				b.Release()
			}
			if at == len(all) {
				break
			}
		}
	}
}

func TestReaderHoldsNothingWhileIdle(t *testing.T) {
	b := Reader{Stream: &pieces{left: []byte("GET"), r: rand.New(rand.NewPCG(1, 1))}}
	for len(b.Buffered()) < 3 {
		if err := b.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	b.Release()
	if b.buf == nil {
		t.Fatal("a buffer with unread bytes was given away")
	}
	b.Advance(3)
	b.Release()
	if b.buf != nil {
		t.Error("an empty buffer is kept")
	}
}

// While an exchange waits, its client's head is all that is held, and of a common size that
// is not much; content passes by it through a larger buffer.
func TestAWaitingHeadIsSmall(t *testing.T) {
	s := &pieces{left: make([]byte, 300), r: rand.New(rand.NewPCG(1, 1))}
	b := Reader{Stream: s, Pinned: true}
	if err := b.Fill(); err != nil || len(b.buf) > 512 {
		t.Fatal(len(b.buf), len(b.Buffered()), err)
	}
	b.Pin(1)
	s.left = make([]byte, 100_000)
	for n := 0; n < 50_000; n += len(b.Buffered()) {
		b.Advance(len(b.Buffered()))
		if err := b.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.buf) != readBytes {
		t.Errorf("content passes through %d bytes", len(b.buf))
	}
	b.Advance(len(b.Buffered()))
	b.Release()
	if b.buf != nil || b.head == nil {
		t.Errorf("%d bytes beside the head are held", len(b.buf))
	}
	b.Unpin()
	if b.head != nil {
		t.Error("the head is held for nobody")
	}
}

func TestReaderRefusesMoreThanAHead(t *testing.T) {
	b := Reader{Stream: &pieces{left: make([]byte, 1<<20), r: rand.New(rand.NewPCG(1, 1))}}
	for {
		err := b.Fill()
		if err == nil {
			if len(b.Buffered()) > limits.HeadBytesMax+2*limits.RelayBytes {
				t.Fatalf("%d bytes are buffered", len(b.Buffered()))
			}
			continue
		}
		if !errors.Is(err, ErrHeadTooLarge) || len(b.Buffered()) < limits.HeadBytesMax {
			t.Fatalf("%v with %d bytes", err, len(b.Buffered()))
		}
		return
	}
}

func TestWriterWritesOnceWhatFits(t *testing.T) {
	s := &pieces{}
	w := Writer{Stream: s}
	w.Room()
	w.Out = append(w.Out, "head"...)
	if err := w.Write(make([]byte, limits.RelayBytes)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil || s.calls != 1 || s.wrote.Len() != limits.RelayBytes+4 {
		t.Errorf("%d writes of %d bytes, %v", s.calls, s.wrote.Len(), err)
	}
	if w.Out != nil {
		t.Error("the buffer is kept after Flush")
	}
}

// A response of 16 KiB comes in one read and leaves in one write, its heads included.
func TestContentOf16KiBIsOneReadAndOneWrite(t *testing.T) {
	const head, content = 300, 16 << 10
	in := Reader{Stream: &whole{left: make([]byte, head+content)}}
	if err := in.Fill(); err != nil || len(in.Buffered()) != head+content {
		t.Fatalf("the first read brought %d bytes of %d, %v", len(in.Buffered()), head+content, err)
	}
	s := &pieces{}
	out := Writer{Stream: s}
	out.Room()
	out.Out = append(out.Out, make([]byte, 2*head)...)
	in.Advance(head)
	if err := errors.Join(out.Write(in.Buffered()), out.Flush()); err != nil || s.calls != 1 {
		t.Errorf("%d writes, %v", s.calls, err)
	}
}

// whole is a stream of which a read takes as much as fits.
type whole struct {
	engine.Stream
	left []byte
}

func (s *whole) Await() error { return nil }

func (s *whole) Read(p []byte) (int, error) {
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// Whatever is written, in whatever pieces, arrives in order.
func TestWriterKeepsOrder(t *testing.T) {
	for seed := range seeds(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := &pieces{}
		w := Writer{Stream: s}
		var want bytes.Buffer
		for range 50 {
			p := make([]byte, r.IntN(3*limits.RelayBytes))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			switch r.IntN(4) {
			case 0:
				w.Room()
				w.Out = append(w.Out, p[:min(len(p), 300)]...)
				want.Write(p[:min(len(p), 300)])
			case 1:
				w.Flush()
			default:
				w.Write(p)
				want.Write(p)
			}
		}
		w.Flush()
		if !bytes.Equal(s.wrote.Bytes(), want.Bytes()) {
			t.Fatalf("seed %d: %d bytes arrived of %d, or in another order", seed, s.wrote.Len(), want.Len())
		}
	}
}

func TestWriterTellsErrors(t *testing.T) {
	broken := errors.New("broken")
	s := &pieces{fail: broken}
	w := Writer{Stream: s}
	w.Write([]byte("x"))
	if err := w.Flush(); err != broken {
		t.Errorf("%v", err)
	}
	if w.Out != nil {
		t.Error("the buffer is kept after a failed Flush")
	}
}

// seeds is n, or a few of them with -short.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 20
	}
	return n
}

// TestLongContentIsReadInLargePieces: an array that a read has filled is followed by a large one, which
// goes back as soon as reads bring less. What is read is the same.
func TestLongContentIsReadInLargePieces(t *testing.T) {
	all := make([]byte, 300_000)
	for i := range all {
		all[i] = byte(i * 7 >> 3)
	}
	s := &whole{left: all}
	b := Reader{Stream: s}
	var got []byte
	var reads []int
	for len(got) < len(all) {
		b.Widen(int64(len(all) - len(got)))
		if err := b.Fill(); err != nil {
			t.Fatal(err)
		}
		reads = append(reads, len(b.Buffered()))
		got = append(got, b.Buffered()...)
		b.Advance(len(b.Buffered()))
	}
	if !bytes.Equal(got, all) {
		t.Error("it is not what was sent")
	}
	last := (len(all) - readBytes) % wideBytes
	if len(reads) != 6 || reads[0] != readBytes || reads[1] != wideBytes || reads[5] != last {
		t.Errorf("read in pieces of %v", reads)
	}
	if b.Widen(1 << 20); len(b.buf) != readBytes {
		t.Errorf("after %d bytes the array has %d", last, len(b.buf))
	}
	b.Release()

	b = Reader{Stream: &whole{left: all}}
	if err := b.Fill(); err != nil {
		t.Fatal(err)
	}
	if b.Widen(1 << 20); len(b.buf) != readBytes {
		t.Error("unread bytes were given away")
	}
	b.Advance(len(b.Buffered()))
	if b.Widen(wideBytes - 1); len(b.buf) != readBytes {
		t.Error("a large array for what fits into two ordinary ones")
	}
}
