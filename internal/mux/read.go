package mux

// Reading: one task at a time reads bytes and takes frames apart.
//
//	for {
//		s, err := c.Next()       // frames that are here; a server: until one opens a stream
//		if err … break
//		if s != nil { serve s; continue }
//		if c.Rest() { wait without a task, where the stream is an engine.Rester }
//		if c.Fill() != nil { break }
//	}
//
// A frame is handled when all of it has come. It is never longer than http2.FrameSizeMin, since our
// SETTINGS name no other size, so that the buffer holds it.

import (
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
)

// Next handles the frames that are here. A server gets the stream that one of them opens, whose
// head is in Stream.Request; nil: more bytes are needed. After an error, which is the connection's,
// no stream takes or gives anything.
func (c *Conn) Next() (*Stream, error) {
	for {
		if c.in == nil {
			return nil, c.Err()
		}
		if !c.preface {
			ok, err := http2.HasPreface((*c.in)[c.r:c.w])
			if err != nil {
				return nil, c.broke(faultOf(err))
			}
			if !ok {
				return nil, c.Err()
			}
			c.preface = true
			c.r += len(http2.Preface)
		}
		f, n, err := http2.Next((*c.in)[c.r:c.w], http2.FrameSizeMin)
		if e := connectionFault(err); e != nil {
			return nil, c.broke(e)
		}
		if n == 0 {
			return nil, c.Err()
		}
		c.r += n
		c.headBy = 0
		c.lock.Lock()
		s, bad := c.frame(&f, err)
		if bad != nil {
			c.fatal(bad)
		}
		failed := c.err
		c.lock.Unlock()
		if failed != nil {
			return nil, failed
		}
		if s != nil {
			return s, nil
		}
	}
}

// broke is fatal for a task that does not hold the lock, and returns why the connection is over.
func (c *Conn) broke(e *http2.Error) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.fatal(e)
	return c.err
}

// Buffered reports whether something is here that Next would handle.
func (c *Conn) Buffered() bool {
	if c.in == nil {
		return false
	}
	b := (*c.in)[c.r:c.w]
	if !c.preface {
		ok, err := http2.HasPreface(b)
		return ok || err != nil
	}
	_, n, err := http2.Next(b, http2.FrameSizeMin)
	return n > 0 || err != nil
}

// Rest prepares for the wait for more bytes: see Fill. The buffer is given back if nothing is in
// it.
func (c *Conn) Rest() {
	if c.r == c.w {
		c.giveIn()
	}
	c.lock.Lock()
	c.deadline()
	c.lock.Unlock()
}

// Fill waits for bytes and reads once. Next handles them. An error is the connection's; io.EOF
// says that the peer has closed it, or that it was idle for too long, with no stream open.
func (c *Conn) Fill() error {
	if c.in == nil {
		if err := c.stream.Await(); err != nil {
			return c.expired(err)
		}
		c.in = c.worker.ins.take()
		c.r, c.w = 0, 0
	}
	if c.r > 0 {
		c.w = copy(*c.in, (*c.in)[c.r:c.w])
		c.r = 0
	}
	n, err := c.stream.Read((*c.in)[c.w:])
	c.w += n
	if n > 0 {
		c.late = false
		if c.pinged > 0 {
			c.lock.Lock()
			c.pinged = 0
			c.lock.Unlock()
		}
		return nil
	}
	return c.expired(err)
}

// pingFor is how long a peer may take to answer the PING that asks whether it is there, and
// pingsMost how many are sent without an answer. A peer that has answered and sends no head or
// content is asked again after pingAgain: a gRPC server counts pings that come within five
// minutes, forgets them when it sends a head or content, and closes the connection at the third.
const (
	pingFor   = 5 * time.Second
	pingsMost = 2
	pingAgain = 5*time.Minute + 10*time.Second
)

// lateFor is how long a read may take that is to find what has come already.
const lateFor = time.Second

// A wait is what the task that reads waits for.
type wait uint8

const (
	forAnything wait = iota // without a limit
	forHead                 // the rest of a preface, of the first SETTINGS or of a head
	forData                 // the rest of a DATA frame
	forStream               // a stream, since none is open
	forSign                 // of life: streams are open
)

// expired handles a read that has failed: nil if the wait is to go on. A peer is not judged while
// something is here that it has sent and that was not read: then this process was too late to run,
// and not the peer to send.
func (c *Conn) expired(err error) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case !errors.Is(err, engine.ErrTimeout):
		c.end(err)
		return c.err
	case c.readBy == 0 || c.rt.Now() < c.readBy: // that deadline does not hold any more
		c.deadline()
		return nil
	case c.due() && c.rt.Now() >= c.timeouts.Leave:
		c.leave()
		c.deadline()
		return nil
	case !c.stream.Quiet() && !(c.broken && c.late): // of what is broken, some are never quiet
		c.late = true
		c.deadline()
		return nil
	}
	switch c.waits {
	case forHead:
		c.fatal(errSlow)
	case forStream:
		if c.opened > 0 {
			c.deadline()
			return nil
		}
		c.away = true
		c.end(io.EOF)
	case forSign:
		if c.pinged < pingsMost {
			c.pinged++
			c.appendPing(asks[:], false)
			c.deadline()
			return nil
		}
		c.end(err)
	default:
		c.end(err)
	}
	return c.err
}

// deadline bounds the next read:
//
//	the preface, SETTINGS or a head is here in part   Timeouts.Head from its beginning
//	a DATA frame is here in part                      Timeouts.Stall
//	no stream is open                                 Timeouts.Idle from the end of the last one
//	streams are open                                  silence
//	and in any case                                   Timeouts.Leave, which calls Leave
//
// The lock is held.
func (c *Conn) deadline() {
	if c.err != nil {
		return // it has passed: see end
	}
	now, t := c.rt.Now(), &c.timeouts
	most := time.Duration(0)
	switch c.waits = c.waitsFor(); c.waits {
	case forHead:
		if c.headBy == 0 {
			c.headBy = now + t.Head
		}
		most = c.headBy - now
	case forData:
		most = t.Stall
	case forStream:
		most = t.Idle - (now - c.since)
	case forSign:
		most = c.silence()
	}
	switch {
	case c.waits == forAnything:
		c.until(0)
	case c.late:
		c.until(now + max(most, lateFor))
	default:
		c.until(now + most)
	}
}

// until has the read under way end at by, and no later than the connection is to be left; 0: without
// a limit. The lock is held.
func (c *Conn) until(by time.Duration) {
	if at := c.timeouts.Leave; c.due() && (by == 0 || at < by) {
		by = at
	}
	c.readBy = by
	c.stream.SetReadDeadline(by)
}

// due reports whether the connection is still to be left by itself. The lock is held.
func (c *Conn) due() bool { return c.timeouts.Leave != 0 && !c.leaving && !c.away }

// silence is how long a peer that has streams may say nothing until it is asked by PING.
func (c *Conn) silence() time.Duration {
	switch {
	case c.pinged > 0:
		return pingFor
	case c.mute:
		return max(pingAgain, c.timeouts.Silence)
	}
	return c.timeouts.Silence
}

// noStream is called by the task of the last stream when it has ended: the task that reads may
// wait without a limit, and then is idle from now on. The lock is held.
func (c *Conn) noStream() {
	if (c.waits == forAnything || c.waits == forSign) && c.timeouts.Idle > 0 && c.err == nil {
		c.waits = forStream
		c.until(c.rt.Now() + c.timeouts.Idle)
	}
}

// firstStream is called when a client opens a stream and has no other: the task that reads may wait
// without a limit, or for a long time, and then is to hear something from now on. The lock is held.
func (c *Conn) firstStream() {
	if (c.waits == forAnything || c.waits == forStream) && c.timeouts.Silence > 0 && c.err == nil {
		c.waits = forSign
		c.until(c.rt.Now() + c.silence())
	}
}

// waitsFor is what the next read waits for, as far as that has a limit.
func (c *Conn) waitsFor() wait {
	t := &c.timeouts
	here := c.w - c.r
	data := c.preface && here >= http2.HeaderLen && http2.FrameType((*c.in)[c.r+3]) == http2.FrameData
	switch {
	case data && t.Stall > 0:
		return forData
	case (!c.preface || c.server && !c.settled || c.fragments > 0 || here > 0 && !data) && t.Head > 0:
		return forHead
	case c.opened == 0 && t.Idle > 0:
		return forStream
	case c.opened > 0 && t.Silence > 0:
		return forSign
	}
	return forAnything
}
