package zookeeper

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// A keeper is a session that outlives its connections, as a registrar needs it: its
// node is there for as long as the session is. It ends when the session has expired, or
// when no server took it for that time. Its link is dead only then.
type keeper struct {
	link

	up chan struct{} // has room for one: there is a connection, or there is none any more

	state     sync.Mutex
	connected bool
	reached   bool  // a server took the connection, and has not answered yet
	refusals  int   // in a row: a server closed the connection instead of answering
	reason    error // of the last failure to connect
}

// refusalsMax is how often servers may refuse the session before it is given up. One
// that lost its data refuses every session that has seen more than it has.
const refusalsMax = 3

func keep(servers []string, session time.Duration) (*keeper, error) {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{up: make(chan struct{}, 1)}
	k.cancel, k.dead = cancel, make(chan struct{})
	var last net.Conn // the library leaves that of an expired session open
	dial := func(network, address string, _ time.Duration) (net.Conn, error) {
		if last != nil {
			last.Close()
		}
		d := net.Dialer{Timeout: openTimeout}
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			k.set(false, err)
			return nil, err
		}
		last = conn
		k.mu.Lock()
		defer k.mu.Unlock()
		k.socket = conn
		if ctx.Err() != nil { // too late for close to see it
			conn.Close()
		}
		return &frames{Conn: conn, most: max(openTimeout, session)}, nil
	}
	var err error
	k.conn, k.ended, err = zk.Connect(servers, session, zk.WithDialer(dial), zk.WithHostProvider(&hosts{servers: servers}),
		zk.WithLogger(silence{}), zk.WithLogInfo(false), zk.WithEventCallback(k.event),
		zk.WithMaxBufferSize(frameMax), zk.WithMaxConnBufferSize(sendMax))
	if err != nil {
		cancel()
		return nil, err
	}
	return k, nil
}

func (k *keeper) event(e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	switch e.State {
	case zk.StateConnected:
		k.state.Lock()
		k.reached = true
		k.state.Unlock()
	case zk.StateHasSession:
		k.set(true, nil)
	case zk.StateDisconnected:
		k.state.Lock()
		if k.reached {
			k.refusals++
		}
		refused := k.refusals >= refusalsMax
		k.state.Unlock()
		k.set(false, nil)
		if refused {
			k.fail(errRefused)
		}
	case zk.StateExpired:
		k.fail(errExpired)
	case zk.StateAuthFailed:
		k.fail(zk.ErrAuthFailed)
	}
}

func (k *keeper) set(connected bool, reason error) {
	k.state.Lock()
	k.connected, k.reached = connected, false
	if connected {
		k.refusals = 0
	}
	if reason != nil || connected {
		k.reason = reason
	}
	k.state.Unlock()
	select {
	case k.up <- struct{}{}:
	default:
	}
}

func (k *keeper) isConnected() bool {
	k.state.Lock()
	defer k.state.Unlock()
	return k.connected
}

// await waits for a connection with the session, but not for longer than most.
func (k *keeper) await(ctx context.Context, most time.Duration) error {
	t := time.NewTimer(most)
	defer t.Stop()
	for !k.isConnected() {
		select {
		case <-k.up:
		case <-k.dead:
			return k.why()
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			k.state.Lock()
			err := k.reason
			k.state.Unlock()
			if err == nil {
				err = errSilent
			}
			k.fail(err)
			return err
		}
	}
	return k.why()
}

// pause waits for so long, or until the connection comes or goes, and reports whether
// the time is over.
func (k *keeper) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.up:
	case <-k.dead:
	case <-ctx.Done():
	}
	return false
}

// ask is call for a session that outlives its connections: client.Again says that one was
// lost meanwhile.
func ask[T any](ctx context.Context, k *keeper, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() { // as in call
		v, err := f()
		got <- answer{v, err}
	}()
	var none T
	select {
	case a := <-got:
		switch {
		case errors.Is(a.err, zk.ErrSessionExpired):
			k.fail(errExpired)
		case errors.Is(a.err, zk.ErrConnectionClosed), errors.Is(a.err, zk.ErrNoServer), errors.Is(a.err, zk.ErrClosing):
			return none, client.Again
		}
		return a.value, a.err
	case <-k.dead:
		return none, k.why()
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
