package goroutine

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// stream is a net.Conn as an engine.Stream.
type stream struct {
	rt    *Runtime
	conn  net.Conn        // TCP, unix, TLS over either, or anything else
	plain net.Conn        // conn itself, or what lies below TLS
	raw   syscall.RawConn // of plain; nil if it has no descriptor

	broken  atomic.Pointer[error] // set by Interrupt and Close
	reset   atomic.Bool           // a write failed since the peer reset the connection
	read    deadline
	write   deadline
	watched watched

	// What Await has read, and Read has not returned: early[:came].
	early []byte
	came  atomic.Int32
	ahead bool // Await reads ahead: see earlyBytes

	look func(fd uintptr) // what Quiet calls: made once, so that it allocates nothing
	seen bool             // its result
}

var (
	_ engine.Stream = (*stream)(nil)
	_ engine.Agreed = (*stream)(nil)
)

// earlyBytes is how much Await reads ahead of a client's stream, into an array of the stream's own: a
// net.Conn cannot wait without a buffer. A client is silent for minutes, and the one that waits for it
// then needs no buffer of its own, of 20 or 33 KB. Most heads fit, so that they take no further system
// call. Endpoints answer soon, and with more, so that streams to them are read at once.
const earlyBytes = 1 << 10

// Stream makes conn, of a client, an engine.Stream, which owns it from then on.
func (rt *Runtime) Stream(conn net.Conn) engine.Stream {
	s := rt.stream(conn)
	s.ahead = true
	return s
}

// stream is Stream for a connection of either side.
func (rt *Runtime) stream(conn net.Conn) *stream {
	s := &stream{rt: rt, conn: conn, plain: conn}
	if t, ok := conn.(*tls.Conn); ok {
		s.plain = t.NetConn()
	}
	if c, ok := s.plain.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn()
	}
	s.look = func(fd uintptr) { s.seen = pending(fd) }
	return s
}

// Protocol implements engine.Agreed.
func (s *stream) Protocol() string {
	if t, ok := s.conn.(*tls.Conn); ok {
		return t.ConnectionState().NegotiatedProtocol
	}
	return ""
}

// deadline arms the timer of a net.Conn as seldom as it can: moving the runtime's timer
// costs more than reading the clock.
type deadline struct {
	mu    sync.Mutex
	want  time.Duration // 0: none
	armed time.Duration // 0: no timer runs
}

// Await waits for the first bytes of a client's stream, and keeps them for Read. It returns what Read
// would: io.EOF, too. For a stream to an endpoint it does nothing.
func (s *stream) Await() error {
	if !s.ahead || s.came.Load() > 0 {
		return nil
	}
	if s.early == nil {
		s.early = make([]byte, earlyBytes)
	}
	n, err := s.receive(s.early)
	s.came.Store(int32(n))
	return err
}

// Read returns what Await has read, or else reads.
func (s *stream) Read(p []byte) (int, error) {
	have := int(s.came.Load())
	if have == 0 {
		return s.receive(p)
	}
	if e := s.broken.Load(); e != nil {
		return 0, *e
	}
	n := copy(p, s.early[:have])
	copy(s.early, s.early[n:have])
	s.came.Store(int32(have - n))
	return n, nil
}

// receive reads from the connection.
func (s *stream) receive(p []byte) (int, error) {
	for {
		if e := s.broken.Load(); e != nil {
			return 0, *e
		}
		n, err := s.conn.Read(p)
		if err == nil || n > 0 {
			return n, nil
		}
		if err == io.EOF && s.reset.Load() {
			err = errReset // the kernel reports a reset once, and then this
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, s.why(err)
		}
		if s.readExpired() {
			return 0, s.why(engine.ErrTimeout)
		}
	}
}

// why prefers the reason given to Interrupt over what the connection says of it.
func (s *stream) why(err error) error {
	if e := s.broken.Load(); e != nil {
		return *e
	}
	return err
}

// readExpired reports whether the deadline has really come; the timer may run early,
// and is moved on then.
func (s *stream) readExpired() bool {
	d := &s.read
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.want != 0 && s.rt.Now() >= d.want {
		return true
	}
	d.armed = d.want
	s.conn.SetReadDeadline(s.rt.wall(d.want))
	if e := s.broken.Load(); e != nil { // an Interrupt must not be overtaken
		s.conn.SetReadDeadline(past)
	}
	return false
}

var past = time.Unix(1, 0)

var errReset = os.NewSyscallError("read", syscall.ECONNRESET)

// wall is the instant at on the wall clock; the zero time for zero.
func (rt *Runtime) wall(at time.Duration) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return rt.epoch.Add(at)
}

// SetReadDeadline moves the timer only when it would run too late.
func (s *stream) SetReadDeadline(at time.Duration) {
	d := &s.read
	d.mu.Lock()
	d.want = at
	if at != 0 && (d.armed == 0 || at < d.armed) {
		d.armed = at
		s.conn.SetReadDeadline(s.rt.wall(at))
		if s.broken.Load() != nil {
			s.conn.SetReadDeadline(past)
		}
	}
	d.mu.Unlock()
}

// SetWriteDeadline moves the timer only when it would run too early, and then half the
// bound further: a write that ends before its time breaks a TLS connection, one that
// ends somewhat late does no harm.
func (s *stream) SetWriteDeadline(at time.Duration) {
	d := &s.write
	d.mu.Lock()
	d.want = at
	switch {
	case at == 0 && d.armed != 0:
		d.armed = 0
		s.conn.SetWriteDeadline(time.Time{})
	case at > d.armed:
		d.armed = at + (at-s.rt.Now())/2
		s.conn.SetWriteDeadline(s.rt.wall(d.armed))
	}
	if s.broken.Load() != nil {
		s.conn.SetWriteDeadline(past)
	}
	d.mu.Unlock()
}

func (s *stream) Write(p []byte) (int, error) {
	if e := s.broken.Load(); e != nil {
		return 0, *e
	}
	n, err := s.conn.Write(p)
	if err == nil {
		return n, nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = engine.ErrTimeout
	case errors.Is(err, syscall.ECONNRESET):
		s.reset.Store(true)
	}
	return n, s.why(err)
}

// Quiet looks at the socket below; a connection without one is taken for quiet.
func (s *stream) Quiet() bool {
	if s.broken.Load() != nil || s.came.Load() > 0 {
		return false
	}
	if s.raw == nil {
		return true
	}
	s.seen = true
	if err := s.raw.Control(s.look); err != nil {
		return false
	}
	return !s.seen
}

func (s *stream) Interrupt(err error) {
	if s.broken.CompareAndSwap(nil, &err) {
		s.conn.SetDeadline(past)
		s.watched.pass(err)
	}
}

func (s *stream) CloseWrite() error {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

var errClosed = engine.ErrClosed

func (s *stream) Close() error {
	s.rt.watch.forget(s)
	s.broken.CompareAndSwap(nil, &errClosed)
	return s.conn.Close()
}

// Abort resets a TCP connection; other kinds are closed below TLS, without its farewell.
func (s *stream) Abort() {
	s.rt.watch.forget(s)
	s.broken.CompareAndSwap(nil, &errClosed)
	if c, ok := s.plain.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	s.plain.Close()
}
