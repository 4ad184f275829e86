package front

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop"
	"github.com/poise-lb/poise/internal/invariants"
	"github.com/poise-lb/poise/internal/scrape"
)

const hasLoops = true

// loops are the event loops of a Proxy. They start with the first listener that they can
// serve: a Proxy that is mounted as a handler does without.
type loops struct {
	epoch time.Time
	most  int
	log   *slog.Logger

	start   sync.Mutex
	failed  bool
	running atomic.Pointer[running]
}

// running is what is done with loops that run. These are functions, made by get alone, so
// that a program that does not call Serve does not link package loop.
type running struct {
	serve func(l net.Listener, at *admission.Listener, waits bool, serve loop.Serve) (stop func(), err error)
	start func(i int, f func(engine.Runtime)) bool
	look  func() []scrape.Worker
	close func()
}

func newLoops(epoch time.Time, n int, log *slog.Logger) *loops {
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return &loops{epoch: epoch, most: n, log: log}
}

// Most implements core.Workers.
func (ls *loops) Most() int { return ls.most }

// Start implements core.Workers. Worker 0 is the goroutines: loops are the others.
func (ls *loops) Start(i int, f func(engine.Runtime)) bool {
	r := ls.running.Load()
	return r != nil && r.start(i-1, f)
}

// look returns the figures of the loops; nil: they do not run.
func (ls *loops) look() []scrape.Worker {
	if ls == nil {
		return nil
	}
	if r := ls.running.Load(); r != nil {
		return r.look()
	}
	return nil
}

// get starts the loops if they do not run yet; first says that it was so. Nil: they cannot
// run, which has been said.
func (ls *loops) get() (r *running, first bool) {
	ls.start.Lock()
	defer ls.start.Unlock()
	if r := ls.running.Load(); r != nil || ls.failed {
		return r, false
	}
	e, err := loop.NewBeside(ls.epoch, ls.most, 1)
	if err != nil {
		ls.failed = true
		ls.log.Warn("no event loops, connections are served by goroutines", "error", err)
		return nil, false
	}
	e.Logger = ls.log
	if invariants.Enabled {
		e.Watch(blockedFor, ls.blocked)
	}
	r = &running{
		serve: func(l net.Listener, at *admission.Listener, waits bool, serve loop.Serve) (func(), error) {
			accept := e.Begin
			if waits {
				accept = e.Serve
			}
			a, err := accept(l, at, serve)
			if err != nil {
				return nil, err
			}
			return func() { a.Close() }, nil
		},
		start: func(i int, f func(engine.Runtime)) bool { return e.Start(i, func() { f(e.Runtime(i)) }) == nil },
		look: func() (all []scrape.Worker) {
			for i := range e.Loops() {
				w := scrape.Worker{Number: i + 1, Busy: e.Busy(i), Clients: e.Clients(i)}
				w.Lag.Take(e.Lag(i))
				all = append(all, w)
			}
			return all
		},
		close: e.Close,
	}
	ls.running.Store(r)
	return r, true
}

// blockedFor is how long a task may keep its loop before a build with invariants says so.
const blockedFor = 100 * time.Millisecond

func (ls *loops) blocked(b loop.Block) {
	ls.log.Error("a task blocks its event loop", "worker", b.Worker, "for", b.For, "stack", b.Stack)
}

func (ls *loops) close() {
	if ls == nil {
		return
	}
	ls.start.Lock()
	ls.failed = true
	ls.start.Unlock() // a task may keep its loop
	if r := ls.running.Load(); r != nil {
		r.close()
	}
}

// lookEvery is how often a listener is looked at: nothing tells that one was closed whose
// descriptor others have too.
const lookEvery = 50 * time.Millisecond

// serveLoops is Serve by event loops; served is false where they cannot serve l. at counts the
// connections, by is what they are told of the listener.
func (srv *Server) serveLoops(l net.Listener, by *core.Listener, at *admission.Listener) (served bool, err error) {
	if srv.loops == nil {
		return false, nil
	}
	of := layers(l)
	plain, serve := of.plain, srv.servePlain(srv.inTheClear(l), by)
	if of.secure != nil {
		serve = srv.serveTLS(of.secure, by, at)
	}
	if of.proxied != nil {
		serve = srv.serveAnnounced(of.proxied, serve)
	}
	if !fits(plain) {
		srv.log.Info("connections of this listener are served by goroutines", "address", l.Addr().String(), "type", fmt.Sprintf("%T", plain))
		return false, nil
	}
	r, first := srv.loops.get()
	if r == nil {
		return false, nil
	}
	if first {
		srv.core.Rehome()
	}
	waits := of.secure != nil || of.proxied != nil // for a handshake, or the header of the PROXY protocol
	stop, err := r.serve(plain, at, waits, serve)
	if err != nil {
		return true, srv.endOf(err)
	}
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-srv.done:
			return true, ErrClosed
		case <-tick.C:
			if closed(plain) {
				return true, srv.endOf(net.ErrClosed)
			}
		}
	}
}

// endOf is why Serve ends: a listener that Close has closed is no error of its own.
func (srv *Server) endOf(err error) error {
	if srv.isClosed() {
		return ErrClosed
	}
	return err
}

// servePlain serves connections whose clients speak as. It does not wait.
func (srv *Server) servePlain(as *downstream.Protocol, by *core.Listener) loop.Serve {
	return func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		srv.core.ServeStream(rt, s, core.Peer{Remote: remote, Listener: by, Protocol: as})
	}
}

// serveTLS serves connections that are secured as l says.
func (srv *Server) serveTLS(l *tlsListener, by *core.Listener, at *admission.Listener) loop.Serve {
	x := loop.NewTLS(l.config)
	return func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		srv.entering.Add(1)
		secured, err := x.Secure(s, rt.Now()+srv.core.Config().Timeouts.Head)
		if err != nil {
			how := handshakeOf(tls.ConnectionState{}, err)
			at.Handshake(how)
			s.Close()
			if srv.tellsFailed(how) {
				rt.Do(func() { srv.handshakeFailed(how, remote.String(), err) })
			}
		}
		srv.entering.Add(-1)
		if err != nil {
			return
		}
		state := secured.ConnectionState()
		at.Handshake(handshakeOf(state, nil))
		who := core.Peer{Remote: remote, Listener: by}
		srv.agreed(&who, state, l)
		srv.core.ServeStream(rt, secured, who)
	}
}

// serveAnnounced reads the header of the PROXY protocol before next serves the connection.
func (srv *Server) serveAnnounced(l *proxyListener, next loop.Serve) loop.Serve {
	return func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		if !l.trusts(remote.Addr()) && !l.refuses {
			next(rt, s, remote)
			return
		}
		srv.entering.Add(1)
		s.SetReadDeadline(rt.Now() + srv.core.Config().Timeouts.Head)
		client, err := l.client(s, remote)
		s.SetReadDeadline(0)
		ok := err == nil && loop.Move(s, client.Addr())
		if !ok {
			s.Close()
			rt.Do(func() { l.refused(srv.log, remote, err) })
		}
		srv.entering.Add(-1)
		if ok {
			next(rt, s, client)
		}
	}
}

// fits reports whether event loops can serve l.
func fits(l net.Listener) bool {
	switch l.(type) {
	case *net.TCPListener, *net.UnixListener:
		return true
	}
	return false
}
