package virtual

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// inbox is what arrived, or is about to, from the peer.
type inbox struct {
	unread  []byte // the end of buffer
	buffer  []byte
	transit int  // bytes written by the peer and not yet arrived
	fin     bool // the peer ended its side in good order, after unread
	cut     bool // a reset came after unread, which can still be read
	reset   bool // the peer aborted; unread is lost
	lost    bool // the peer aborted and the reset is on its way: nothing else arrives
}

// add puts bytes behind the unread ones, at the start of buffer if there is no room.
func (b *inbox) add(p []byte) {
	if len(b.unread)+len(p) > cap(b.unread) && len(b.unread)+len(p) <= cap(b.buffer)/2 {
		b.unread = b.buffer[:copy(b.buffer[:cap(b.buffer)], b.unread)]
	}
	grown := len(b.unread)+len(p) > cap(b.unread)
	b.unread = append(b.unread, p...)
	if grown {
		b.buffer = b.unread
	}
}

// ended reports whether the peer ended its side, whatever is unread before that.
func (b *inbox) ended() bool { return b.fin || b.cut || b.reset }

// carry takes bytes from the peer to this end, in pieces not longer than that if the
// world wants pieces.
func (s *Stream) carry(p []byte, longest int) {
	w := s.w
	for p := slices.Clone(p); len(p) > 0; {
		n := len(p)
		if w.SegmentMax > 0 {
			n = 1 + w.choice.IntN(min(n, longest))
		}
		piece := p[:n:n]
		p = p[n:]
		s.in.transit += n
		s.send(func(in *inbox) {
			in.transit -= n
			in.add(piece)
		})
	}
}

// An arrival is something on its way to an end of a stream.
type arrival struct {
	at   time.Duration
	what func(*inbox)
}

// send makes something arrive at this end, behind all that was sent to it before.
func (s *Stream) send(what func(*inbox)) {
	w := s.w
	if w.Delay == 0 && w.SegmentMax == 0 {
		s.arrive(what)
		return
	}
	s.coming = append(s.coming, arrival{w.Now() + w.Delay, what})
	if len(s.coming) == 1 {
		w.after(s.coming[0].at, s.arriveNext)
	}
}

// arriveNext keeps but one timer per end: a long write is thousands of pieces.
func (s *Stream) arriveNext() {
	next := s.coming[0]
	s.coming = s.coming[1:]
	if len(s.coming) > 0 {
		s.w.after(s.coming[0].at, s.arriveNext)
	}
	s.arrive(next.what)
}

func (s *Stream) arrive(what func(*inbox)) {
	switch {
	case s.in.lost:
	case s.closed:
		// Bytes for a socket that is gone are answered with a reset. One that read the
		// FIN before keeps saying EOF, and only fails to write.
		s.peer.refused = true
		s.w.wake(&s.peer.writable)
	default:
		what(&s.in)
		s.noticed()
	}
}

// noticed lets the tasks at this end see what arrived.
func (s *Stream) noticed() {
	s.w.wake(&s.readable)
	if !s.in.ended() {
		return
	}
	s.w.wake(&s.writable)
	if s.left() {
		s.tell(engine.ErrClientGone)
	}
}

// left reports whether what arrived is a departure to those that watch.
func (s *Stream) left() bool {
	return s.in.cut || s.in.reset || s.in.ended() && !s.patient
}

// tell interrupts what watches this stream.
func (s *Stream) tell(err error) {
	watched := s.watched
	s.watched = nil
	for _, up := range watched {
		up.Interrupt(err)
	}
}
