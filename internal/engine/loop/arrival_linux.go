package loop

import (
	"net/netip"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/engine"
)

// What becomes of a connection that one loop has accepted: some loop serves it, mostly the
// same one. For example, with two loops of 70 and 30 clients, and loop 0 accepts:
//
//	place       loop 0 has more than 1.1 times its share of 50: it is for loop 1
//	clients     counted for loop 1 at once, so that the next decision knows
//	Post        the arrival is a message to loop 1
//	Receive     on loop 1: the stream is made, and a task started that calls Serve; a Serve that
//	            does not wait is called at once

// emptiest is the loop with the fewest clients.
func (e *Engine) emptiest() *loop {
	best := e.loops[0]
	for _, l := range e.loops[1:] {
		if l.clients.Load() < best.clients.Load() {
			best = l
		}
	}
	return best
}

// place is the loop for a connection that l has accepted: l itself, or the emptiest if l
// has more than 1.1 times its share. The kernel wakes the loops unevenly.
func (e *Engine) place(l *loop) *loop {
	if len(e.loops) == 1 {
		return l
	}
	var total int64
	for _, o := range e.loops {
		total += int64(o.clients.Load())
	}
	if n := int64(len(e.loops)); 10*n*int64(l.clients.Load()) <= 11*total {
		return l
	}
	return e.emptiest()
}

// forget takes a client that has left, or did not come, off the counts.
func (l *loop) forget(guest *admission.Guest) {
	l.clients.Add(-1)
	guest.Leave()
}

// arrived hands a connection over to the loop that is to have it, unless its client has too
// many already.
func (x *listener) arrived(fd int) {
	e := x.loop.engine
	var remote netip.AddrPort
	if x.owner.kind == tcp {
		remote = addrPort(&x.addr)
	}
	guest, welcome := x.owner.admit.Welcome(remote.Addr())
	if !welcome {
		closeFD(fd)
		return
	}
	a := x.loop.arrival()
	to := e.place(x.loop)
	a.loop, a.fd, a.kind, a.remote, a.guest = to, fd, x.owner.kind, remote, guest
	a.serve, a.waits = x.owner.serve, x.owner.waits
	to.clients.Add(1)
	if to == x.loop {
		a.Receive()
	} else if !to.Post(a) {
		to.forget(guest)
		closeFD(fd)
	}
}

// Move counts s, a connection that Serve was called for, by the address of its client, which a
// proxy has said. If it reports false that client has as many connections as it may have, and s is
// to be closed. It is called by the task that serves s.
func Move(s engine.Stream, client netip.Addr) bool {
	c, ok := s.(*stream)
	if !ok {
		return true
	}
	guest, ok := c.guest.Move(client)
	if ok {
		c.guest = guest
	}
	return ok
}

// An arrival is a connection on its way to the loop that serves it, where it is counted
// already. It is the message to that loop.
type arrival struct {
	loop   *loop
	fd     int
	kind   kind
	remote netip.AddrPort
	serve  Serve
	waits  bool             // serve needs a task
	guest  *admission.Guest // nil: not counted
	stream *stream
	run    func() // made once
}

// arrivalsMax bounds the arrivals that are kept to be used again: as many as are accepted in
// a row.
const arrivalsMax = acceptMost

// arrival is one to be filled in: connections come by the thousand.
func (l *loop) arrival() *arrival {
	if n := len(l.arrivals); n > 0 {
		a := l.arrivals[n-1]
		l.arrivals = l.arrivals[:n-1]
		return a
	}
	return newArrival()
}

func newArrival() *arrival {
	a := &arrival{}
	a.run = a.arrive
	return a
}

// Receive implements sched.Message: it has the connection served, by a task if that may wait.
func (a *arrival) Receive() {
	l := a.loop
	s, err := l.register(a.fd, a.kind, eventsIn)
	if err != nil {
		closeFD(a.fd)
		l.forget(a.guest)
		a.guest = nil
		return
	}
	s.flags |= counted
	s.guest, a.guest = a.guest, nil
	a.stream = s
	if a.waits {
		l.StartFor(s, a.run)
		return
	}
	a.arrive()
}

// arrive serves. The arrival can be used again from then on, by the loop it came to.
func (a *arrival) arrive() {
	s, serve, remote := a.stream, a.serve, a.remote
	a.stream, a.serve, a.remote = nil, nil, netip.AddrPort{}
	if l := s.loop; len(l.arrivals) < arrivalsMax {
		l.arrivals = append(l.arrivals, a)
	}
	serve(s.loop, s, remote)
}
