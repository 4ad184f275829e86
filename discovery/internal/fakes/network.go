// Package fakes has what the fakes of registries have in common, for tests alone: a network
// in memory, so that a test may live in a bubble of testing/synctest, where hours take no
// time, and a record of what a source has published.
package fakes

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errRefused = errors.New("connection refused")

// A Network is addresses and who listens there. It is safe for concurrent use. Make it with
// NewNetwork.
type Network struct {
	mu    sync.Mutex
	hosts map[string]*Listener
}

// NewNetwork returns a network where every connection is refused.
func NewNetwork() *Network { return &Network{hosts: make(map[string]*Listener)} }

// Listen takes an address over until the listener is closed.
func (n *Network) Listen(address string) *Listener {
	l := NewListener()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[address] = l
	l.closed = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.hosts[address] == l {
			delete(n.hosts, address)
		}
	}
	return l
}

// Dial connects to the listener of an address.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.hosts[address]
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	return l.Dial(ctx, network, address)
}

// A Listener is a net.Listener whose connections are pipes, and the network before it. It is
// safe for concurrent use.
type Listener struct {
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
	closed func() // called by Close

	mu   sync.Mutex
	down bool // connections are refused
	open map[*conn]bool
	made int
}

// A conn is the dialler's end of a pipe.
type conn struct {
	net.Conn
	there    net.Conn
	listener *Listener
}

// Close is part of net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// NewListener returns a listener without an address, which is dialled directly.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{}), closed: func() {}, open: make(map[*conn]bool)}
}

// Accept is part of net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener. It breaks no connection.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.closed()
	})
	return nil
}

// Addr is part of net.Listener.
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{} }

// Dial connects to the listener, whatever the address.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	if down {
		return nil, errRefused
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
	case <-l.done:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down { // meanwhile
		here.Close()
		there.Close()
		return nil, errRefused
	}
	l.made++
	c := &conn{here, there, l}
	l.open[c] = true
	return c, nil
}

// Count is how many connections there have been.
func (l *Listener) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made
}

// Cut breaks every connection, and if down, refuses new ones until the next Cut(false).
func (l *Listener) Cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for c := range l.open {
		c.Conn.Close()
		c.there.Close()
	}
	clear(l.open)
}
