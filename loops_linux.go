package poise

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
	running atomic.Pointer[loop.Engine]
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
	e := ls.running.Load()
	return e != nil && e.Start(i-1, func() { f(e.Runtime(i - 1)) }) == nil
}

// get starts the loops if they do not run yet; first says that it was so. Nil: they cannot
// run, which has been said.
func (ls *loops) get(admit *admission.Control) (e *loop.Engine, first bool) {
	ls.start.Lock()
	defer ls.start.Unlock()
	if e := ls.running.Load(); e != nil || ls.failed {
		return e, false
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
	ls.running.Store(e)
	return e, true
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
	if e := ls.running.Load(); e != nil {
		e.Close()
	}
}

// lookEvery is how often a listener is looked at: nothing tells that one was closed whose
// descriptor others have too.
const lookEvery = 50 * time.Millisecond

// serveLoops is Serve by event loops; served is false where they cannot serve l.
func (p *Proxy) serveLoops(l net.Listener) (served bool, err error) {
	if p.loops == nil {
		return false, nil
	}
	plain, serve := l, p.servePlain
	if t, ok := l.(*tlsListener); ok {
		plain, serve = t.plain, p.serveTLS(t.config)
	}
	if !fits(plain) {
		p.log.Info("connections of this listener are served by goroutines", "address", l.Addr().String(), "type", fmt.Sprintf("%T", plain))
		return false, nil
	}
	e, first := p.loops.get(p.core.Admission())
	if e == nil {
		return false, nil
	}
	if first {
		p.core.Rehome()
	}
	a, err := e.Serve(plain, serve)
	if err != nil {
		return true, p.endOf(err)
	}
	defer a.Close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return true, ErrClosed
		case <-tick.C:
			if closed(plain) {
				return true, p.endOf(net.ErrClosed)
			}
		}
	}
}

// endOf is why Serve ends: a listener that Close has closed is no error of its own.
func (p *Proxy) endOf(err error) error {
	if p.isClosed() {
		return ErrClosed
	}
	return err
}

func (p *Proxy) servePlain(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
	p.core.ServeStream(rt, s, core.Peer{Remote: remote})
}

// serveTLS serves connections that are secured as c says. Those of clients that offer
// HTTP/2 leave the loops, as net/http speaks that.
func (p *Proxy) serveTLS(c *tls.Config) loop.Serve {
	x := loop.NewTLS(c, func(hello *tls.ClientHelloInfo) bool { return slices.Contains(hello.SupportedProtos, "h2") })
	return func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		secured, conn, err := x.Secure(s, rt.Now()+p.core.Config().Timeouts.Head)
		switch {
		case err != nil:
			s.Close()
			if p.log.Enabled(context.Background(), slog.LevelDebug) {
				rt.Do(func() { p.log.Debug("TLS handshake failed", "client", remote.String(), "error", err) })
			}
		case conn != nil:
			p.takeOver(tls.Server(conn, x.Config()))
		default:
			p.core.ServeStream(rt, secured, core.Peer{Remote: remote, TLS: true})
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
