package serve

// From one set of listeners to the next: what is new is bound first, and served only when all of it is
// bound. What is not wanted any more is closed last.

import (
	"reflect"
	"slices"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// A Change is a set of listeners that are bound but not served yet. Exactly one of
// Commit and Cancel is called.
type Change struct {
	server  *Server
	next    map[string]*listener
	started []*listener // of next: new ones, to be served
	stopped []*listener // of the server: not in next
}

// Prepare binds what c wants and is not open yet, and looks certificates over. If it
// fails, the error names the address and nothing has changed.
func (s *Server) Prepare(c config.Config) (*Change, error) {
	ch := &Change{server: s, next: map[string]*listener{}}
	open := s.listeners()
	for _, want := range c.Listen {
		t := times{c.Timeouts.Head, c.Timeouts.Idle, c.Timeouts.Stall}
		old := open[want.Address]
		if old != nil && reflect.DeepEqual(old.listen, want) && (s.engine != Std || old.times == t) {
			ch.next[want.Address] = old
			continue
		}
		l, err := s.bind(want, t, old)
		if err != nil {
			ch.Cancel()
			return nil, err
		}
		ch.next[want.Address] = l
		ch.started = append(ch.started, l)
	}
	for address, l := range open {
		if ch.next[address] != l {
			ch.stopped = append(ch.stopped, l)
		}
	}
	return ch, nil
}

// Cancel closes what Prepare bound.
func (ch *Change) Cancel() {
	for _, l := range ch.started {
		l.close()
	}
}

// Commit serves what is new and stops accepting on what is not wanted any more.
// Connections that are open there live on until their exchange ends.
func (ch *Change) Commit() {
	s := ch.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		ch.Cancel()
		return
	}
	for _, l := range ch.started {
		if err := l.own(); err != nil {
			s.log.Error("the mode of a socket stays as it is", "address", l.listen.Address, "error", err)
		}
		s.tasks.Go(func() { s.serve(l) })
	}
	for _, l := range ch.stopped {
		l.ended.Store(true)
		if ch.next[l.listen.Address] != nil {
			sockets.Keep(l.socket) // it is shared: its path stays
		}
		if l.around != nil {
			go l.close() // the watch of its certificates may be at a disk that hangs
		} else {
			l.close()
		}
		if l.std != nil {
			l.std.retired.Store(true)
			s.old = append(s.old, l.std)
		}
	}
	s.open = ch.next
	// Once served is set nothing is accepted any more and every connection is counted.
	s.old = slices.DeleteFunc(s.old, func(o *stdServer) bool { return o.served.Load() && o.open.Load() == 0 })
}
