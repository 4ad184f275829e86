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
	k := &keeper{up: make(chan struct{}, 1)}
	k.dead = make(chan struct{})
	dial := func(network, address string, _ time.Duration) (net.Conn, error) {
		conn, err := k.dial(network, address, max(openTimeout, session), false)
		if err != nil {
			k.set(false, err)
		}
		return conn, err
	}
	return k, k.start(servers, session, dial, k.event)
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
	client.Signal(k.up)
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
				err = client.ErrSilent
			}
			k.fail(err)
			return err
		}
	}
	return k.why()
}

// pause waits for so long, or until the connection comes or goes.
func (k *keeper) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.up:
	case <-k.dead:
	case <-ctx.Done():
	}
}

// ask is call for a session that outlives its connections: client.Again says that one was
// lost meanwhile.
func ask[T any](ctx context.Context, k *keeper, f func() (T, error)) (T, error) {
	v, err := answer(ctx, &k.link, nil, f)
	switch {
	case errors.Is(err, zk.ErrSessionExpired):
		k.fail(errExpired)
	case disconnected(err):
		err = client.Again
	}
	return v, err
}
