package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/core"
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
	serve func(l net.Listener, serve loop.Serve) (stop func(), err error)
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
func (ls *loops) get(admit *admission.Control) (r *running, first bool) {
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
	e.Logger, e.Admission = ls.log, admit
	if invariants.Enabled {
		e.Watch(blockedFor, ls.blocked)
	}
	r = &running{
		serve: func(l net.Listener, serve loop.Serve) (func(), error) {
			a, err := e.Serve(l, serve)
			if err != nil {
				return nil, err
			}
			return func() { a.Close() }, nil
		},
		start: func(i int, f func(engine.Runtime)) bool { return e.Start(i, func() { f(e.Runtime(i)) }) == nil },
		look: func() (all []scrape.Worker) {
			for i := range e.Loops() {
				w := scrape.Worker{Number: i + 1, Busy: e.Busy(i)}
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

// serveLoops is Serve by event loops; served is false where they cannot serve l.
func (srv *Server) serveLoops(l net.Listener) (served bool, err error) {
	if srv.loops == nil {
		return false, nil
	}
	plain, serve := l, srv.servePlain
	if t, ok := l.(*tlsListener); ok {
		plain, serve = t.plain, srv.serveTLS(t.config)
	}
	if !fits(plain) {
		srv.log.Info("connections of this listener are served by goroutines", "address", l.Addr().String(), "type", fmt.Sprintf("%T", plain))
		return false, nil
	}
	r, first := srv.loops.get(srv.core.Admission())
	if r == nil {
		return false, nil
	}
	if first {
		srv.core.Rehome()
	}
	stop, err := r.serve(plain, serve)
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

func (srv *Server) servePlain(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
	srv.core.ServeStream(rt, s, core.Peer{Remote: remote})
}

// serveTLS serves connections that are secured as c says. Those of clients that offer
// HTTP/2 leave the loops, as net/http speaks that.
func (srv *Server) serveTLS(c *tls.Config) loop.Serve {
	x := loop.NewTLS(c, func(hello *tls.ClientHelloInfo) bool { return slices.Contains(hello.SupportedProtos, "h2") })
	return func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		srv.entering.Add(1)
		secured, conn, err := x.Secure(s, rt.Now()+srv.core.Config().Timeouts.Head)
		switch {
		case err != nil:
			s.Close()
			if srv.log.Enabled(context.Background(), slog.LevelDebug) {
				rt.Do(func() { srv.log.Debug("TLS handshake failed", "client", remote.String(), "error", err) })
			}
		case conn != nil:
			srv.takeOver(tls.Server(conn, x.Config()))
		}
		srv.entering.Add(-1)
		if secured != nil && err == nil {
			srv.core.ServeStream(rt, secured, core.Peer{Remote: remote, TLS: true, Version: secured.ConnectionState().Version})
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
