package engine

import "time"

// Streams: what every driver's can do, and what some can do besides. Code that wants the
// latter asks by a type assertion and goes on without it: a Rester saves the memory of a
// task that waits for long, a Splicer the copying of content that no code looks at.

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
	// Await returns when Read would make progress, so that a task which waits holds no
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

	// Quiet reports whether all that the peer has sent, a FIN included, was read. It never
	// blocks. An idle connection that is not quiet must not be reused; one that was
	// interrupted is not quiet.
	Quiet() bool

	// Interrupt makes blocked and later Reads and Writes fail with err, for good. A stream
	// that is watched as a client passes it on to what waits for it: see Network.Watch.
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
	// the stream must not be read.
	WhenReady(f func())
}

// An Agreed is a Stream that may be under TLS.
type Agreed interface {
	// Protocol is the name of the protocol that the handshake has agreed on (ALPN, RFC 7301);
	// empty: on none, or there is no TLS.
	Protocol() string
}

// A Splicer is a Runtime that can move bytes from one Stream to another without this
// program seeing them. A Runtime that cannot does not have the method.
type Splicer interface {
	// Splice moves up to n bytes from src to dst, in order. No other task reads src or
	// writes dst meanwhile; their other sides are free. The calling task waits where it
	// cannot go on: stall bounds each wait without progress, and by all reading; zero: not
	// at all. To that end Splice sets the deadlines of src's reads and of dst's writes,
	// unless another task sets one meanwhile: that one counts then.
	//
	// An Interrupt of either stream ends it at once. It also ends early, and without an
	// error, at the end of src, and where there is nothing to be gained any more: a
	// Read from then on returns the rest. If it takes nothing these two streams are not
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
