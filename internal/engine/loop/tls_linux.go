package loop

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// A Stream under TLS, after its handshake: what waits is the task, at the stream below, and
// never a call into crypto/tls. Reading decrypts what has come and goes on to wait if that
// was only part of a record. Writing encrypts into a buffer, and the buffer is sent. For
// example, a Write of 100 KiB to a peer that reads slowly:
//
//	conn.Write of 66 KiB    encrypted into out
//	push                    the kernel takes 40 KiB; the stream is full
//	                        the task is parked at the stream, until there is room
//	push                    the kernel takes the rest; out is given back
//	conn.Write of 34 KiB    and so on
//
// Several layers may hold bytes that the peer has sent: the kernel, crypto/tls (maybe), and
// a little that was read ahead (ahead). A task may wait at the stream only when the upper two are
// empty: no event comes for what they hold.

const (
	// sealMost is how much is encrypted before the kernel is given what came of it: what HTTP/2
	// gathers, 64 KiB of content and the headers of its frames, in one piece. A few bytes that are
	// left over cost a record and a system call.
	sealMost = 66 << 10
	// unsentMost bounds what a peer that does not read may have us owe it: after a Write
	// that ran into its deadline a little more than sealMost, and answers to key updates.
	unsentMost = 2 * sealMost
	// sealUnit is how much counts like one of the reads and writes of a burst.
	sealUnit = 16 << 10
	// aheadMost is how much is decrypted before a task that waits is told that something has come.
	aheadMost = 1
)

// A Secured is a Stream under TLS, whose handshake is over.
type Secured interface {
	engine.Stream
	engine.Rester
	ConnectionState() tls.ConnectionState
}

var errDebts = errors.New("the peer has us answer, and does not read the answers")

// A secure is TLS over a stream. After the handshake no call into crypto/tls waits, so
// none of its locks is held while another task runs: reads answer errWait, and writes go
// into a buffer. Tasks wait at the stream below.
type secure struct {
	s    *stream
	conn *tls.Conn

	out     []byte // encrypted and not yet taken by the kernel; nil: nothing
	sent    int    // of out
	sendErr error  // of sending out; nil: none

	end     error   // why nothing more can be read
	ahead   []byte  // was decrypted and not read yet: buffer[:], from ahead on; nil: nothing
	whole   []byte  // the buffer of ahead
	maybe   bool    // crypto/tls may hold bytes: it does not say so
	records int     // that have come since it held none
	writing bool    // a Write is under way
	head    [5]byte // of a record that has come in part
	have    uint8   // bytes of head that have come
	left    uint16  // bytes behind it that have not

	again func()     // look, made once
	ready func()     // of WhenReady
	shake *handshake // under way: reads wait
}

var _ Secured = (*secure)(nil)

// ConnectionState is what the handshake has agreed on.
func (t *secure) ConnectionState() tls.ConnectionState { return t.conn.ConnectionState() }

// Protocol implements engine.Agreed.
func (t *secure) Protocol() string { return t.conn.ConnectionState().NegotiatedProtocol }

// Await parks the calling task until a byte or the end can be read. Whether the bytes that
// came make a byte of content is known only when they are decrypted (they may be part of a
// record, or a key update): so a byte is read ahead.
func (t *secure) Await() error {
	s := t.s
	s.loop.Spend()
	for {
		switch {
		case s.why != nil:
			return s.why
		case s.readBy != 0 && s.readBy <= s.loop.Instant():
			return engine.ErrTimeout
		case t.peek():
			return nil
		}
		if err := s.Await(); err != nil {
			return err
		}
	}
}

// peek reports whether there is a byte or the end to read. It does not wait.
func (t *secure) peek() bool {
	for t.ahead == nil && t.end == nil && (t.maybe || t.s.flags&readable != 0) {
		b := t.s.loop.buffers.take()
		if n := t.take(b[:aheadMost]); n > 0 {
			t.whole, t.ahead = b, b[:n]
		} else {
			t.s.loop.buffers.give(b)
		}
	}
	return t.ahead != nil || t.end != nil
}

// behind moves to p what was read ahead.
func (t *secure) behind(p []byte) int {
	n := copy(p, t.ahead)
	if t.ahead = t.ahead[n:]; len(t.ahead) == 0 {
		t.forget()
	}
	return n
}

// forget drops what was read ahead.
func (t *secure) forget() {
	t.s.loop.buffers.give(t.whole)
	t.whole, t.ahead = nil, nil
}

// take decrypts into p what has come, and never waits; 0: nothing yet, or the end, which it
// notes in end. It also sends what crypto/tls answers to what it read.
func (t *secure) take(p []byte) int {
	n, err := t.conn.Read(p)
	switch {
	case err == errWait:
		t.maybe, t.records = false, 0
	case err != nil:
		t.end, t.maybe = err, false
	case n < len(p) && t.records == 1 && !t.within():
		t.maybe, t.records = false, 0 // it was that one, and all of it: to ask again would cost
	default:
		t.maybe = true
	}
	if t.out != nil {
		t.push()
		if len(t.out)-t.sent > unsentMost && t.end == nil {
			t.end = errDebts
		}
	}
	return n
}

// Read reads what has come, and waits only if nothing has. An empty p reads nothing.
func (t *secure) Read(p []byte) (int, error) {
	s := t.s
	if len(p) == 0 {
		return 0, s.why
	}
	for {
		s.loop.Spend()
		switch {
		case s.why != nil:
			return 0, s.why
		case s.readBy != 0 && s.readBy <= s.loop.Instant():
			return 0, engine.ErrTimeout
		case t.ahead != nil:
			n := t.behind(p)
			if n == len(p) || t.end != nil || !t.maybe {
				return n, nil
			}
			return n + t.take(p[n:]), nil
		case t.end != nil:
			return 0, t.end
		}
		if t.maybe || s.flags&readable != 0 {
			if n := t.take(p); n > 0 {
				return n, nil
			}
			continue
		}
		if err := s.Await(); err != nil {
			return 0, err
		}
	}
}

// Write encrypts some of p, waits until the kernel has taken it, and so on. All that was
// encrypted counts as written, even if the deadline came before the kernel had taken it:
// the peer could make nothing of what comes later without it. It is sent when there is
// room.
func (t *secure) Write(p []byte) (int, error) {
	t.writing = true
	n, err := t.write(p)
	t.writing = false
	return n, err
}

// write is Write; with nothing to write it waits until out is sent.
func (t *secure) write(p []byte) (written int, err error) {
	s := t.s
	for {
		s.loop.Spend()
		t.push()
		switch {
		case s.why != nil:
			return written, s.why
		case t.sendErr != nil:
			return written, t.sendErr
		case written == len(p) && t.out == nil:
			return written, nil
		case s.writeBy != 0 && s.writeBy <= s.loop.Instant():
			return written, engine.ErrTimeout
		case t.out != nil:
			s.awaitRoom()
			continue
		}
		n, err := t.conn.Write(p[written:min(len(p), written+sealMost)])
		s.loop.Charge(n / sealUnit)
		written += n
		if err != nil {
			t.push()
			return written, err
		}
	}
}

// push gives the kernel what it takes at once of what is encrypted, and does not wait. The
// stream calls it, too, when there is room and no task waits for that.
func (t *secure) push() {
	s := t.s
	for t.sent < len(t.out) && t.sendErr == nil && s.flags&(full|closed) == 0 {
		n, errno := send(s.fd, t.out[t.sent:])
		switch errno {
		case 0:
			t.sent += n
		case unix.EAGAIN:
			t.sendErr = s.askOut()
		case unix.EINTR:
		default:
			t.sendErr = s.sendFailed("send", errno)
		}
	}
	if t.out != nil && (t.sent == len(t.out) || t.sendErr != nil) {
		t.drop()
	}
}

// drop gives the buffer back, whatever is in it.
func (t *secure) drop() {
	t.s.loop.buffers.give(t.out)
	t.out, t.sent = nil, 0
}

// Quiet reports whether there is nothing to read. What the peer says about the connection
// itself, as tickets for the next one, is read here and does not count.
func (t *secure) Quiet() bool {
	s := t.s
	s.doubt()
	return s.why == nil && s.flags&gone == 0 && t.sendErr == nil && !t.peek() && !t.within()
}

// WhenReady starts f when Await would return. What comes below may be less than that: it
// is looked at by a task, which goes.
func (t *secure) WhenReady(f func()) {
	t.ready = f
	s := t.s
	if s.why != nil || s.readBy != 0 && s.readBy <= s.loop.Instant() || t.peek() {
		t.ready = nil
		s.loop.StartFor(s, f)
		return
	}
	if t.again == nil {
		t.again = t.look
	}
	s.WhenReady(t.again)
}

// look is the task of WhenReady that decrypts what has come. It runs f, or waits again.
func (t *secure) look() {
	s := t.s
	if s.why == nil && (s.readBy == 0 || s.readBy > s.loop.Instant()) && !t.peek() {
		s.WhenReady(t.again)
		return
	}
	f := t.ready
	t.ready = nil
	f()
}

func (t *secure) SetReadDeadline(at time.Duration)  { t.s.SetReadDeadline(at) }
func (t *secure) SetWriteDeadline(at time.Duration) { t.s.SetWriteDeadline(at) }
func (t *secure) Interrupt(err error)               { t.s.Interrupt(err) }

// LowWater is that of the stream below.
func (t *secure) LowWater(n int) { t.s.LowWater(n) }
