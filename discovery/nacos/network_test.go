package nacos

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A network is in memory, so that time may be virtual.
type network struct {
	mu    sync.Mutex
	hosts map[string]*listener
}

type listener struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
}

func newNetwork() *network { return &network{hosts: make(map[string]*listener)} }

func (n *network) listen(addr string) *listener {
	l := &listener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = l
	return l
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.hosts[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.closed); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// A gate counts what runs, as a WaitGroup does, but may be entered while somebody waits.
type gate struct {
	mu   sync.Mutex
	none sync.Cond
	n    int
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.none.L = &g.mu
	g.n++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		g.none.Broadcast()
	}
}

func (g *gate) run(f func()) {
	g.enter()
	go func() {
		defer g.leave()
		f()
	}()
}

func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n > 0 {
		g.none.Wait()
	}
}
