// Package engine is the contract between the straight-line code of an exchange and
// whatever runs it: goroutines on net.Conn, net/http, coroutines under a virtual
// clock, an epoll loop. Code written against it blocks where it reads as blocking and
// never says "go", select or time.After; the layout test enforces that.
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

// An Interrupter is something whose waits another task can end: a Stream, or one of many
// calls that share a stream. It is comparable, as pointers are.
type Interrupter interface {
	// Interrupt makes waits under way and later ones fail with err, for good. It does not
	// wait itself, and may be called from any task of the same runtime; a driver whose
	// tasks are goroutines calls it from any goroutine.
	Interrupt(err error)
}

// A Stream is one ordered byte stream with a peer. One task may read while another
// writes; neither side may be used by two tasks at once. Interrupt, Close and Abort
// may be called from any task of the same runtime.
type Stream interface {
	// Await returns when Read would make progress, so that whoever waits holds no
	// buffer. A driver that cannot tell returns nil at once.
	Await() error

	// Read reads at least one byte into p, or fails: io.EOF after the peer's FIN,
	// ErrTimeout, the error of Interrupt, or the driver's own.
	Read(p []byte) (int, error)

	// Write writes all of p or fails.
	Write(p []byte) (int, error)

	// SetReadDeadline and SetWriteDeadline bound the waits under way and all later
	// ones; zero removes the bound. Any task may call them: a deadline that has passed
	// is how another task ends a Read without breaking the stream. A write may end late
	// by half its bound.
	SetReadDeadline(at time.Duration)
	SetWriteDeadline(at time.Duration)

	// Quiet reports whether the peer has sent neither bytes nor FIN that nobody read.
	// It never blocks. An idle connection that is not quiet must not be reused; one that
	// was interrupted is not quiet.
	Quiet() bool

	// Interrupt makes blocked and later Reads and Writes fail with err, for good. A stream
	// that is watched as a client passes it on to what waits for it: see Runtime.Watch.
	Interrupter

	// CloseWrite sends FIN; the read side stays open.
	CloseWrite() error

	// Close ends the stream in good order; Abort so that the peer sees it cut short
	// (a TCP reset). Both are idempotent.
	Close() error
	Abort()
}

// A Rester is a Stream that can wait without a task.
type Rester interface {
	// WhenReady returns at once. f is started as a task of the stream's runtime when Await
	// would return, or has reason to fail: a deadline, an Interrupt, a Close. Until then
	// nobody may read the stream.
	WhenReady(f func())
}

// A Dial says where a new Stream shall lead.
type Dial struct {
	Network string        // "tcp" or "unix"
	Address string        // host:port with a literal IP address, or a socket's path
	TLS     *tls.Config   // nil: plain. ServerName is set by the caller
	By      time.Duration // deadline for connection and handshake; zero: none
}

// A Join waits for a forked task.
type Join interface {
	// Wait returns when the task has returned. It must be called exactly once.
	Wait()
}

// A Signal is a one-slot wake-up: any number of Sets before a Wait are one.
type Signal interface {
	// Set may be called from any goroutine and never blocks.
	Set()
	// Wait returns true when Set was called since the last Wait, false at the deadline.
	Wait(by time.Duration) bool
}

// A Runtime runs tasks: a task is a goroutine or a coroutine. All methods but Now and
// Rand are called from a task of this runtime.
type Runtime interface {
	// Now is the present instant on the runtime's monotonic clock; it starts above zero. It
	// may stand still while a task runs, and moves on when the task waits.
	Now() time.Duration

	// Rand returns 64 random bits.
	Rand() uint64

	// Worker is the number of the worker that runs the calling task, from 0: it shards
	// counters and connection pools. A driver without workers always says 0.
	Worker() int

	// Sleep returns nil at the given instant, ErrStopping if the runtime stops before.
	Sleep(until time.Duration) error

	// Fork starts f as a task beside the calling one.
	Fork(f func()) Join

	// Do runs f, which may block, where it delays no other task, and waits for it.
	Do(f func())

	// Dial connects. Errors wrap ErrTimeout, ErrRefused or ErrExhausted where that is what
	// happened.
	Dial(d *Dial) (Stream, error)

	// Watch arranges that, until Unwatch, up is interrupted with ErrClientGone when
	// client's peer ends its side (FIN or reset), also behind bytes nobody read yet.
	// After Unwatch returns, no interrupt of that Watch is still to come.
	// One Interrupter at a time watches a client.
	Watch(client Stream, up Interrupter)
	// WatchReset is Watch for a client that may end its own side and still wait for the
	// response: a FIN alone is no departure. Where that cannot be meant, under TLS, or
	// cannot be told apart, it is Watch.
	WatchReset(client Stream, up Interrupter)
	// Unwatch ends either, if up is what watches the client.
	Unwatch(client Stream, up Interrupter)

	// NewSignal returns an unset Signal.
	NewSignal() Signal
}

// A Splicer is a Runtime that can move bytes from one Stream to another without anybody
// seeing them. A Runtime that cannot does not have the method.
type Splicer interface {
	// Splice moves up to n bytes from src to dst, in order. Nobody else reads src or
	// writes dst meanwhile; their other sides are free. The calling task waits where it
	// cannot go on: stall bounds each wait without progress, and by all reading; zero: not
	// at all. To that end Splice sets the deadlines of src's reads and of dst's writes,
	// unless another task sets one meanwhile: that one counts then.
	//
	// An Interrupt of either stream ends it at once. It also ends early, and without an
	// error, at the end of src, and where there is nothing to be gained any more: who
	// Reads from then on learns the rest. If it takes nothing these two streams are not
	// for it; they are as they were.
	Splice(dst, src Stream, n int64, stall, by time.Duration) Moved
}

// Moved is how far a Splice has come.
type Moved struct {
	Taken int64 // bytes that src has given
	Given int64 // bytes that dst has taken; the difference, after an error, is lost

	ReadErr  error // of src; at most one of the two is not nil
	WriteErr error // of dst
}
