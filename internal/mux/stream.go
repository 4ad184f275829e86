package mux

// A stream as the tasks use it that read from it. send.go has the other direction.

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
)

// A Stream is one request and its response. One task sends while the same or another receives;
// Interrupt may be called by any task of the worker. It is used until Close.
type Stream struct {
	// Request is what a client has asked for, and Refused why it is answered with an error
	// instead of being served; nil: it is served. Of a server's stream. The slices of Request
	// are valid until Close.
	Request message.Request
	Refused *http2.Error
	// User is the caller's. It stays with the Stream, which is used again after Close.
	User any

	rt       engine.Runtime
	readable engine.Wakeup // something has come
	writable engine.Wakeup // something may be sent

	// What the peer sends, as far as it has room that is used again.
	block    []byte // the bytes of Request
	response [headsMost]responseHead
	pieces   []piece
	trailers []message.Field

	once
}

// once is what a Stream is for one request: all of it is reset at once.
type once struct {
	c  *Conn
	id uint32 // 0: none yet
	up engine.Interrupter

	// What the peer sends.
	later   []*responseHead // that came when response was full, in order; nil: none
	waiting int             // bytes of later
	heads   int             // of response that have come
	taken   int             // of response that were taken
	headed  bool            // the final head has come
	held    int             // bytes in pieces
	given   int             // bytes of the first piece that the caller has
	tail    []byte
	readEnd bool  // nothing follows what is here
	stopped bool  // StopContent was called
	paused  bool  // PauseContent was
	head    bool  // the method is HEAD: the response has no content
	connect bool  // the method is CONNECT: a tunnel is behind a response of 2xx
	length  int64 // of the content, as its head says; -1: it does not
	got     int64 // content that has come
	mayCome int   // the peer may send so much more; see window.go
	credit  int   // taken, and not credited
	grown   int   // share of the connection's budget

	// What we send.
	window  int64  // how much content the peer takes
	sent    int    // content appended; counted up to turnBytes
	turn    int    // bytes that may be appended now: see write.go
	inLine  bool   // it is in a line of the connection
	markAt  int    // where the last frame begins in the buffer markIn
	markIn  uint32 // see writing.turn
	headIn  uint32 // the buffer that the request's head was appended to
	sentEnd bool   // END_STREAM was appended
	enough  bool   // the peer wants no more content

	err   error // why the stream has failed; nil: it has not
	known bool  // the peer knows of the failure
	left  bool  // the peer has reset the stream, so it may send nothing on it
}

// headsMost is how many heads of a response have a place of their own. Further ones, which are
// interim but for the last, wait in memory that is taken for each, within the limit of one head.
const (
	headsMost  = 4
	headSpends = 256 // bytes that a head that waits is counted for, at least
)

type responseHead struct {
	message.Response
	block []byte
}

// newStream returns a stream of c. The lock is held.
func (c *Conn) newStream(id uint32) *Stream {
	s := c.worker.stream(c.rt)
	s.c, s.id = c, id
	s.window, s.mayCome = int64(c.peer.Window), c.firstWindow()
	s.length = -1
	s.markIn, s.headIn = c.turn-1, c.turn-1
	return s
}

// clear makes s what a new one is, but for what it has grown. Heads of a response are there only
// as far as some have come, of a client's stream.
func (s *Stream) clear() {
	for i := range s.pieces {
		s.pieces[i].give()
	}
	s.pieces, s.trailers = s.pieces[:0], s.trailers[:0]
	s.Request, s.Refused = message.Request{Fields: s.Request.Fields[:0]}, nil
	s.block = worthKeeping(s.block)
	for i := range min(s.heads+1, headsMost) {
		h := &s.response[i]
		h.Response = message.Response{Fields: h.Fields[:0]}
		h.block = worthKeeping(h.block)
	}
	s.once = once{}
	s.readable.Reset()
	s.writable.Reset()
}

// worthKeeping is the room of a head for another one; nil: it has grown too large.
func worthKeeping(block []byte) []byte {
	if cap(block) > blockKept {
		return nil
	}
	return block
}

// Runtime is that of the connection's worker.
func (s *Stream) Runtime() engine.Runtime { return s.rt }

// keep puts content behind what is here. The lock is held.
func (s *Stream) keep(p []byte) {
	s.held += len(p)
	s.c.spares.held.Add(int64(len(p)))
	for len(p) > 0 {
		n := len(s.pieces)
		if n == 0 || s.pieces[n-1].w == len(*s.pieces[n-1].b) {
			s.pieces = append(s.pieces, newPiece(len(p)))
			n++
		}
		last := &s.pieces[n-1]
		k := copy((*last.b)[last.w:], p)
		last.w += k
		p = p[k:]
	}
}

// taken lets go of the content that the caller has had. The lock is held.
func (s *Stream) letGo() {
	if s.given == 0 {
		return
	}
	s.held -= s.given
	s.c.spares.held.Add(-int64(s.given))
	s.credit += s.given
	first := &s.pieces[0]
	if first.r += s.given; first.r == first.w {
		first.give()
		s.pieces = slices.Delete(s.pieces, 0, 1)
	}
	s.given = 0
	s.took()
	s.ledger()
}

// Content returns the next piece of content, valid until the next call, and io.EOF after the
// last. With wait false it returns nil, nil rather than wait. by bounds the wait; zero: nothing
// does.
func (s *Stream) Content(wait bool, by time.Duration) ([]byte, error) {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	s.letGo()
	for {
		switch {
		case len(s.pieces) > 0:
			first := &s.pieces[0]
			s.given = first.w - first.r
			return (*first.b)[first.r:first.w:first.w], nil
		case s.readEnd:
			return nil, io.EOF
		case s.err != nil:
			return nil, s.err
		case !wait:
			return nil, nil
		case s.stopped, s.paused:
			return nil, engine.ErrTimeout
		}
		if err := s.wait(s.readable, by); err != nil {
			return nil, err
		}
	}
}

// ContentRead reports whether all content was taken. Any task of the worker may ask.
func (s *Stream) ContentRead() bool {
	s.c.lock.Lock()
	defer s.c.lock.Unlock()
	return s.readEnd && s.held == s.given
}

// Complete reports whether all of the content has come that content-length announces, whether or
// not the peer has ended the stream. It is false if the length was not announced.
func (s *Stream) Complete() bool {
	s.c.lock.Lock()
	defer s.c.lock.Unlock()
	return s.length >= 0 && s.got == s.length
}

// Trailers are the peer's trailer fields, after Content returned io.EOF. They are valid until
// Close.
func (s *Stream) Trailers() []message.Field { return s.trailers }

// StopContent makes a Content that waits, and later ones that would, return engine.ErrTimeout.
func (s *Stream) StopContent() {
	s.c.lock.Lock()
	s.stopped = true
	s.readable.Set()
	s.c.lock.Unlock()
}

// PauseContent makes a Content that waits, and later ones that would, return engine.ErrTimeout until
// it is called with on false.
func (s *Stream) PauseContent(on bool) {
	s.c.lock.Lock()
	s.paused = on
	s.readable.Set()
	s.c.lock.Unlock()
}

// nextHead is the place where the next head of a response goes; nil: all are taken. The one
// before those that wait is in use by the caller. The lock is held.
func (s *Stream) nextHead() *responseHead {
	if len(s.later) > 0 || s.heads-s.taken >= headsMost-1 {
		return nil
	}
	return &s.response[s.heads%headsMost]
}

// keepHead counts a head that has come, at the place that nextHead has given or behind those;
// false: there are too many. The lock is held.
func (s *Stream) keepHead(h *responseHead) bool {
	if h == s.nextHead() {
		s.heads++
		return true
	}
	if s.waiting += headSpends + len(h.block); s.waiting > s.c.limits().Bytes {
		return false
	}
	s.later = append(s.later, h)
	return true
}

// ReadHead takes the next head of the response, interim or final: r's slices are valid until the
// next ReadHead, or until Close for the final one. by bounds the wait; zero: nothing does.
func (s *Stream) ReadHead(r *message.Response, by time.Duration) error {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	for {
		switch {
		case s.taken < s.heads:
			h := &s.response[s.taken%headsMost]
			s.taken++
			*r, h.Response = h.Response, *r
			return nil
		case len(s.later) > 0:
			h := s.later[0]
			s.later = s.later[1:]
			s.waiting -= headSpends + len(h.block)
			*r = h.Response
			return nil
		case s.err != nil:
			return s.err
		}
		if err := s.wait(s.readable, by); err != nil {
			return err
		}
	}
}

// Answered reports whether anything of a response has come.
func (s *Stream) Answered() bool {
	s.c.lock.Lock()
	defer s.c.lock.Unlock()
	return s.heads > 0
}

// Err is why the stream has failed; nil: it has not.
func (s *Stream) Err() error {
	s.c.lock.Lock()
	defer s.c.lock.Unlock()
	return s.err
}

// Watch has up interrupted with engine.ErrClientGone when the stream fails, until Unwatch. One
// Interrupter at a time watches a stream.
func (s *Stream) Watch(up engine.Interrupter) {
	s.c.lock.Lock()
	defer s.c.lock.Unlock()
	s.up = up
	if s.err != nil {
		up.Interrupt(departure(s.err))
	}
}

// Unwatch ends Watch. No interrupt is to come after it returns.
func (s *Stream) Unwatch(up engine.Interrupter) {
	s.c.lock.Lock()
	if s.up == up {
		s.up = nil
	}
	s.c.lock.Unlock()
}

// fail has every wait of the stream fail with err, for good. The lock is held.
func (s *Stream) fail(err error) {
	if s.err != nil {
		return
	}
	s.err, s.known = err, true
	s.readable.Set()
	s.writable.Set()
	if s.up != nil {
		s.up.Interrupt(departure(err))
	}
}

// departure is what a call is interrupted with whose client's stream has failed with err.
func departure(err error) error {
	if errors.Is(err, engine.ErrStopping) {
		return err
	}
	return engine.ErrClientGone
}

// Interrupt has every wait of the stream fail with err, for good. The peer is told when the
// stream is closed.
func (s *Stream) Interrupt(err error) {
	s.c.lock.Lock()
	if s.err == nil {
		s.fail(err)
		s.known = false
	}
	s.c.lock.Unlock()
}
