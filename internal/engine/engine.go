// Package engine is the contract between the straight-line code of an exchange and the
// driver that runs it: goroutines on net.Conn, coroutines on an epoll loop, or coroutines
// under a virtual clock. Code written against it blocks where it reads as blocking and
// never says "go", select or time.After; the layout test enforces that.
//
// A Runtime is the driver as a task sees it, a Stream (stream.go) is a connection, and
// task.go has what tasks wait for each other with.
//
// Instants are time.Durations on the runtime's own monotonic clock (Runtime.Now);
// zero as a deadline means none.
package engine

import (
	"crypto/tls"
	"errors"
	"time"
)

// Errors that every driver returns for these conditions, wrapped or as they are.
var (
	ErrTimeout    = errors.New("deadline exceeded")
	ErrClientGone = errors.New("client closed the connection")
	ErrClosed     = errors.New("stream closed")
	ErrRefused    = errors.New("connection refused")     // Dial: nothing listens there
	ErrExhausted  = errors.New("out of local resources") // this machine's shortage: see Exhausted
	ErrStopping   = errors.New("proxy is stopping")
)

// A Runtime runs tasks: a task is a goroutine or a coroutine. It is made of small parts,
// so that code which needs only a clock, or only tasks, can say so. All methods but Now
// and Rand are called from a task of this runtime.
type Runtime interface {
	Clock
	Tasks
	Primitives
	Network

	// Rand returns 64 random bits.
	Rand() uint64

	// Worker is the number of the worker that runs the calling task, from 0: it shards
	// counters and connection pools. A driver without workers always says 0.
	Worker() int
}

// A Network connects, and watches connections.
type Network interface {
	// Dial connects. Errors wrap ErrTimeout, ErrRefused or ErrExhausted where that is what
	// happened.
	Dial(d *Dial) (Stream, error)

	// Watch arranges that, until Unwatch, up is interrupted with ErrClientGone when
	// client's peer ends its side (FIN or reset), also behind bytes that were not read yet.
	// After Unwatch returns, no interrupt of that Watch is still to come.
	// One Interrupter at a time watches a client.
	Watch(client Stream, up Interrupter)
	// WatchReset is Watch for a client that may end its own side and still wait for the
	// response: a FIN alone is no departure. Where that cannot be meant, under TLS, or
	// cannot be told apart, it is Watch.
	WatchReset(client Stream, up Interrupter)
	// Unwatch ends either, if up is what watches the client.
	Unwatch(client Stream, up Interrupter)
}

// A Dial says where a new Stream shall lead.
type Dial struct {
	Network string        // "tcp" or "unix"
	Address string        // host:port with a literal IP address, or a socket's path
	Preface []byte        // sent before anything else, TLS included; nil: nothing
	TLS     *tls.Config   // nil: plain. ServerName is set by the caller
	By      time.Duration // deadline for connection and handshake; zero: none
}
