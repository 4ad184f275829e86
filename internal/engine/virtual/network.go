package virtual

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

func (w *World) bufferBytes() int { return cmp.Or(w.BufferBytes, bufferBytesDefault) }

// soon calls fire after the delay of the network. Without delay and pieces it is called
// at once: then nothing can be on its way before it.
func (w *World) soon(fire func()) {
	if w.Delay == 0 && w.SegmentMax == 0 {
		fire()
		return
	}
	w.after(w.Now()+w.Delay, fire)
}

// openStreams returns the streams not closed yet, in a fixed order.
func (w *World) openStreams() []*Stream {
	open := make([]*Stream, 0, len(w.streams))
	for s := range w.streams {
		open = append(open, s)
	}
	slices.SortFunc(open, func(a, b *Stream) int { return cmp.Compare(a.name, b.name) })
	return open
}

// A Listener takes the connections to one address.
type Listener struct {
	w       *World
	address string
	queue   []*Stream
	arrived cond
	closed  bool
}

// Listen makes an address connectable: any text, though host:port with a literal IP
// address gives streams that know their addresses. It panics if something listens there.
func (w *World) Listen(address string) *Listener {
	if w.listeners[address] != nil {
		panic("virtual: " + address + " is listened on twice")
	}
	delete(w.holes, address)
	l := &Listener{w: w, address: address}
	w.listeners[address] = l
	return l
}

// BlackHole makes connecting to address wait for the deadline, as packets that no host
// answers do, until something listens there.
func (w *World) BlackHole(address string) { w.holes[address] = true }

// Accept waits for a connection. It fails with engine.ErrClosed after Close. The
// stream is a *Stream.
func (l *Listener) Accept() (engine.Stream, error) {
	for {
		if l.closed || l.w.stopping {
			l.w.pass(l.w.running())
			return nil, engine.ErrClosed
		}
		if len(l.queue) > 0 {
			s := l.queue[0]
			l.queue = l.queue[1:]
			return s, nil
		}
		l.w.wait(&l.arrived, 0, "accept "+l.address)
	}
}

// Close refuses later connections and resets those not accepted yet.
func (l *Listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.w.listeners, l.address)
	for _, s := range l.queue {
		s.Abort()
	}
	l.queue = nil
	l.w.wake(&l.arrived)
}

// Connect opens a connection that comes from local, as Runtime.Dial does with an
// address of its own; by is as in engine.Dial. It is called from a task.
func (w *World) Connect(local netip.AddrPort, address string, by time.Duration) (engine.Stream, error) {
	arrive := w.Now() + 2*w.Delay
	for w.holes[address] || w.Now() < arrive {
		until := by
		if !w.holes[address] && (by == 0 || arrive < by) {
			until = arrive
		}
		w.wait(&w.nobody, until, "connect "+address)
		switch {
		case w.stopping:
			return nil, engine.ErrStopping
		case by != 0 && by <= w.Now():
			return nil, fmt.Errorf("connect %s: %w", address, engine.ErrTimeout)
		}
	}
	w.running()
	l := w.listeners[address]
	if l == nil {
		return nil, fmt.Errorf("connect %s: %w", address, engine.ErrRefused)
	}
	remote, _ := netip.ParseAddrPort(address) // the zero AddrPort says that it is none
	near, far := w.pair(local, remote, address)
	l.queue = append(l.queue, far)
	w.wake(&l.arrived)
	return near, nil
}

// Pipe returns the two ends of a connection without a listener.
func (w *World) Pipe() (a, b *Stream) {
	return w.pair(netip.AddrPort{}, netip.AddrPort{}, "pipe")
}

func (w *World) pair(local, remote netip.AddrPort, address string) (near, far *Stream) {
	w.born++
	near = &Stream{w: w, local: local, remote: remote, name: fmt.Sprintf("stream %d to %s,", w.born, address)}
	far = &Stream{w: w, local: remote, remote: local, name: fmt.Sprintf("stream %d at %s,", w.born, address)}
	near.peer, far.peer = far, near
	w.streams[near], w.streams[far] = struct{}{}, struct{}{}
	if w.stopping {
		near.broken, far.broken = engine.ErrStopping, engine.ErrStopping
	}
	return near, far
}
