package mux

// How a connection ends:
//
//	Leave         it takes no further streams, and ends with the last one; also by Timeouts.Leave
//	fatal         the peer has broken a rule: GOAWAY says which
//	expired       it was idle, or silent, for too long: see read.go
//	a failure     of the socket, or an Interrupt
//
// Each makes it over, which ends the task that reads, whose owner then calls Close.

import (
	"errors"
	"io"
	"math"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
)

// end makes the connection over: every stream fails with err. The lock is held.
func (c *Conn) end(err error) {
	if c.err != nil {
		return
	}
	if err == io.EOF && c.opened > 0 {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	for _, s := range c.streams {
		s.fail(err)
	}
	c.wakeLines()
	c.stream.SetReadDeadline(c.rt.Now()) // the task that reads has nothing to wait for
}

// fatal ends the connection because of what the peer has sent: GOAWAY says why. The task that
// reads calls it, with the lock held.
func (c *Conn) fatal(e *http2.Error) {
	if c.err == nil {
		c.sayLast(e.Code, e.Error())
	}
	c.end(e)
}

// sayLast gathers the GOAWAY that names the peer's last stream, of which an endpoint opens none. The
// lock is held.
func (c *Conn) sayLast(code http2.Code, why string) {
	last := uint32(0)
	if c.server {
		last = c.last
	}
	c.said, c.away = true, true
	c.room(frameRoom)
	c.out = http2.AppendGoAway(c.out, last, code, why)
}

// Leave announces that the connection takes no further streams, in two steps (RFC 9113 §6.8): at
// first GOAWAY with the highest identifier, and a PING. When that is answered, every stream that
// the client has opened before it knew is here, and the second GOAWAY names the last one. A
// client's connection just takes no more. Any task of the worker may call it, more than once.
func (c *Conn) Leave() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.leave()
}

// leave is Leave for a task that holds the lock.
func (c *Conn) leave() {
	if c.away || c.leaving || c.err != nil {
		return
	}
	if !c.server {
		c.away = true
	} else {
		c.leaving = true
		c.room(frameRoom)
		c.out = http2.AppendGoAway(c.out, math.MaxInt32, http2.NoError, "")
		c.appendPing(leavePing[:], false)
	}
	c.endIfIdle()
}

// The payloads of our PINGs: between two GOAWAYs, to ask whether the peer is there, and behind a
// response that is complete before its request.
var (
	leavePing = [8]byte{'l', 'e', 'a', 'v', 'e'}
	asks      = [8]byte{'a', 's', 'k'}
	earlyPing = [8]byte{'e', 'a', 'r', 'l', 'y'}
)

// appendPing has a PING written, or with ack the answer to one. The lock is held.
func (c *Conn) appendPing(data []byte, ack bool) {
	c.room(frameRoom)
	c.out = http2.AppendPing(c.out, data, ack)
	c.dirty()
}

// left is the second step of Leave. The lock is held.
func (c *Conn) left() {
	c.leaving = false
	c.sayLast(http2.NoError, "")
	c.dirty()
	c.endIfIdle()
}

// endIfIdle ends a connection that takes no further streams and has none. The lock is held.
func (c *Conn) endIfIdle() {
	if c.away && c.opened == 0 {
		c.end(io.EOF)
	}
}

// closeFor is how long Close waits for what is left to be sent.
const closeFor = time.Second

// Close ends the connection: no task uses a stream of it any more. GOAWAY and what is gathered is
// sent, within a second. lingers: the peer was told of an error, and may be sending still; only
// our side was closed, and the caller reads over what comes before it closes the stream.
func (c *Conn) Close() (lingers bool) {
	c.lock.Lock()
	by := c.rt.Now() + closeFor
	var bad *http2.Error
	told := errors.As(c.err, &bad)
	c.end(engine.ErrClosed)
	if !c.said && c.preface && !c.broken {
		c.sayLast(http2.NoError, "")
	}
	c.closing = true
	c.stream.SetWriteDeadline(by)
	for c.busy {
		c.lock.Unlock()
		if c.flushed.Wait(by) != nil {
			c.stream.Interrupt(engine.ErrClosed)
			by = 0
		}
		c.lock.Lock()
	}
	c.busy = true
	c.lock.Unlock()
	c.write()
	c.giveBuffers()
	if told && !c.broken && c.stream.CloseWrite() == nil {
		return true
	}
	c.stream.Close()
	return false
}
