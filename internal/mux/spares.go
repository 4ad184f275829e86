package mux

// What connections borrow: buffers, and streams that were used before with all they have grown.
// They belong to the worker rather than to a connection, so that an idle connection holds none.
//
// A sync.Pool is for tasks that run at the same time, and costs about a hundred instructions for
// each visit. On a loop one task at a time runs, so a few of each are kept in plain lists (freeList):
//
//	64 connections, a stream each     a turn takes and gives one read buffer 64 times,
//	                                  and one write buffer, from the top of a list
//	worker 0, of goroutines           everything goes through pools

import (
	"sync"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/invariants"
)

// Sizes of buffers.
const (
	inBytes    = 2 * (http2.HeaderLen + http2.FrameSizeMin) // what is read at once: two frames
	outBytes   = 20 << 10                                   // what a response of 16 KiB takes
	bigBytes   = 160 << 10                                  // above fullBytes by a frame and heads
	pieceBytes = 16 << 10                                   // of content received
	shortBytes = 2 << 10                                    // of content received, where it is less
)

// blockKept bounds the room for heads that is kept for other streams.
const blockKept = 4 << 10

// Spares are what the connections of one side share, by worker. It is safe for concurrent use.
type Spares struct {
	workers []spares
	// held is the content received and not taken, of all connections, in bytes.
	held atomic.Int64
}

// spares are those of one worker: a wakeup serves only tasks of the worker that made it.
type spares struct {
	used      sync.Pool // streams
	streams   freeList[Stream]
	ins, outs freeList[[]byte]
	_         [64]byte
}

// NewSpares returns the Spares of that many workers, of which 0 is that of goroutines.
func NewSpares(workers int) *Spares {
	s := &Spares{workers: make([]spares, workers)}
	for i := range s.workers {
		p := &s.workers[i]
		p.streams.rest, p.ins.rest, p.outs.rest = &p.used, &ins, &outs
		if i > 0 {
			p.streams.most, p.ins.most, p.outs.most = 16, 2, 4
		}
	}
	return s
}

// A freeList has what is not in use: some in a list, for the tasks of one loop, the rest in a pool.
type freeList[T any] struct {
	list []*T
	most int // of list; 0: there is none
	rest *sync.Pool
}

// take takes what was put last; nil: the pool makes none, and has none.
func (s *freeList[T]) take() *T {
	if n := len(s.list) - 1; n >= 0 {
		x := s.list[n]
		s.list[n] = nil
		s.list = s.list[:n]
		return x
	}
	x, _ := s.rest.Get().(*T)
	return x
}

func (s *freeList[T]) put(x *T) {
	if len(s.list) < s.most {
		s.list = append(s.list, x)
		return
	}
	s.rest.Put(x)
}

func (s *Spares) of(rt engine.Runtime) *spares { return &s.workers[rt.Worker()] }

// stream returns a stream that is in use by none.
func (p *spares) stream(rt engine.Runtime) *Stream {
	if s := p.streams.take(); s != nil && s.rt == rt {
		return s
	}
	return &Stream{rt: rt, readable: rt.NewWakeup(), writable: rt.NewWakeup()}
}

// put takes back a stream that no task uses any more.
func (p *spares) put(s *Stream) {
	s.clear()
	p.streams.put(s)
}

// Buffers, for all workers: a loop that has none takes another's.
var (
	ins    = sync.Pool{New: func() any { b := make([]byte, inBytes); return &b }}
	outs   = sync.Pool{New: func() any { b := make([]byte, 0, outBytes); return &b }}
	bigs   = sync.Pool{New: func() any { b := make([]byte, 0, bigBytes); return &b }}
	pieces = sync.Pool{New: func() any { b := make([]byte, pieceBytes); return &b }}
	shorts = sync.Pool{New: func() any { b := make([]byte, shortBytes); return &b }}
)

// giveOut takes back a write buffer. One that has grown beyond the large size is left to the
// collector.
func (p *spares) giveOut(b *[]byte) {
	*b = (*b)[:0]
	if invariants.Enabled {
		invariants.Poison(*b)
	}
	switch cap(*b) {
	case outBytes:
		p.outs.put(b)
	case bigBytes:
		bigs.Put(b)
	}
}

// A piece is content that has come and was not taken: b[r:w].
type piece struct {
	b    *[]byte
	r, w int
}

func newPiece(n int) piece {
	if n <= shortBytes {
		return piece{b: shorts.Get().(*[]byte)}
	}
	return piece{b: pieces.Get().(*[]byte)}
}

func (p *piece) give() {
	if invariants.Enabled {
		invariants.Poison(*p.b)
	}
	if len(*p.b) == shortBytes {
		shorts.Put(p.b)
	} else {
		pieces.Put(p.b)
	}
	p.b = nil
}
