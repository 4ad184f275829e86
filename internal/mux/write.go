package mux

// Writing. All tasks append frames to one buffer, and one task writes it: it is started when
// something is to leave, behind all tasks that are ready, and goes on until nothing is left.
//
// The order of frames is fair in this way. Control frames, heads, and the first 16 KiB of each
// stream are appended at once, as long as fewer than fullBytes wait. Further content stands in
// line for turns, of 16 KiB or, where no other stream waits, of 64 KiB; as many streams get a
// turn as there is room for, and who gets none keeps its place. So a small response beside eight
// downloads waits for one turn of each at most, and LowWater keeps the kernel from holding more.
//
//	line        A B C                       out: empty
//	grant       A, B, C, 16 KiB each        they append, and stand in line again behind
//	flush       one write of 48 KiB
//
// A stream whose window is empty stands in no line: it waits for WINDOW_UPDATE. Where the
// connection's window is empty, streams wait in starved.

import (
	"errors"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
)

const (
	outMost   = 64 << 10  // bytes gathered above which content waits for a turn
	fullBytes = 128 << 10 // bytes gathered above which heads and the first content of streams wait
	turnBytes = 16 << 10
	turnAlone = 64 << 10 // where no other stream waits
	lowWater  = 16 << 10 // bytes that the kernel holds unsent above which it takes no more
)

// A lowWaterer is a Stream that can tell the kernel not to hold much that is unsent, so that what
// comes later can overtake content that is still here.
type lowWaterer interface{ LowWater(n int) }

// writing is the writing side of a Conn. The lock guards it.
type writing struct {
	encoder http2.Encoder
	home    *[]byte // the array of out; nil: there is none
	out     []byte  // gathered
	turn    uint32  // counts the buffers that were written: see Stream.mark
	answers int     // to SETTINGS and PING, in out or being written
	window  int64   // the connection's: content we may send

	line    []*Stream // streams that wait for a turn, the longest first
	starved []*Stream // that wait for the connection's window
	openers []*Stream // that wait for room to send their head
	busy    bool      // the writing task runs, or has been started
	closing bool      // Close writes what is left
	broken  bool      // a write has failed: nothing is sent any more

	flushTask func() // flush, made once
	flushed   engine.Wakeup
}

// Room for what is appended: a frame without content, and a head of ordinary size. Longer ones
// make the array grow.
const (
	frameRoom = 256
	headRoom  = 2 << 10
)

// room makes sure that n bytes can be appended to out: more than fit into a small array go on in a
// large one.
func (c *Conn) room(n int) {
	switch {
	case c.home == nil && n <= outBytes:
		c.home = c.worker.outs.take()
		c.out = (*c.home)[:0]
	case c.home == nil:
		c.home = bigs.Get().(*[]byte)
		c.out = (*c.home)[:0]
	case cap(c.out)-len(c.out) < n && cap(c.out) < bigBytes:
		big := bigs.Get().(*[]byte)
		out := append((*big)[:0], c.out...)
		*c.home = c.out
		c.worker.giveOut(c.home)
		c.home, c.out = big, out
	}
}

// dirty has what is gathered written. The lock is held.
func (c *Conn) dirty() {
	if !c.busy && !c.closing {
		c.busy = true
		c.rt.Start(c.flushTask)
	}
}

// flush is the writing task.
func (c *Conn) flush() {
	c.write()
	c.lock.Lock()
	closing := c.closing
	if c.opened == 0 {
		c.giveOut()
	}
	c.lock.Unlock()
	if closing {
		c.flushed.Set()
	}
}

// write writes what is gathered, and what is gathered meanwhile, and then lets go of busy.
func (c *Conn) write() {
	c.lock.Lock()
	for {
		c.grant()
		if len(c.out) == 0 || c.broken {
			c.busy = false
			c.lock.Unlock()
			return
		}
		c.writeOnce()
	}
}

// writeOnce writes what is gathered. The lock is held, and let go of meanwhile; busy is set.
func (c *Conn) writeOnce() {
	home, out := c.home, c.out
	c.home, c.out = nil, nil
	c.turn++
	answers := c.answers
	if c.timeouts.Stall > 0 && !c.closing {
		c.stream.SetWriteDeadline(c.rt.Now() + c.timeouts.Stall)
	}
	c.lock.Unlock()
	_, err := c.stream.Write(out)
	c.lock.Lock()
	*home = out
	c.keepOut(home)
	c.answers -= answers
	if err != nil {
		c.writeFailed(err)
	}
}

// writeFailed is called when a write has failed: nothing is sent any more. What an endpoint has sent
// before it closed or reset the connection may be here, unread, such as the end of the responses whose
// last WINDOW_UPDATE it did not wait for. So its connection goes on as one that takes no further
// streams, until the task that reads meets the end. Where the peer takes nothing for too long
// (Timeouts.Stall), has said nothing yet, or is a client, there is nothing to wait for. The lock is
// held.
func (c *Conn) writeFailed(err error) {
	c.broken = true
	if c.server || !c.settled || c.err != nil || errors.Is(err, engine.ErrTimeout) {
		c.end(err)
		return
	}
	c.away = true
	for _, s := range c.streams {
		s.enough = true
		s.writable.Set()
	}
	c.wakeLines()
	c.endIfIdle()
}

// keepOut uses the array that was written again if it is a small one, and there is no other by now.
func (c *Conn) keepOut(home *[]byte) {
	if c.home == nil && cap(*home) == outBytes {
		c.home, c.out = home, (*home)[:0]
		return
	}
	c.worker.giveOut(home)
}

// giveOut gives the buffer back if nothing is in it. The lock is held.
func (c *Conn) giveOut() {
	if c.home != nil && len(c.out) == 0 {
		c.worker.giveOut(c.home)
		c.home, c.out = nil, nil
	}
}

// giveBuffers gives all buffers back: nothing is read or written any more.
func (c *Conn) giveBuffers() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.out = c.out[:0]
	c.giveOut()
	c.giveIn()
}

// giveIn gives the read buffer back, whatever is in it.
func (c *Conn) giveIn() {
	if c.in != nil {
		c.worker.ins.put(c.in)
	}
	c.in, c.r, c.w = nil, 0, 0
}

// Flush has what is gathered written. It does not wait. Any task of the worker may call it.
func (c *Conn) Flush() {
	c.lock.Lock()
	if len(c.out) > 0 {
		c.dirty()
	}
	c.lock.Unlock()
}

// Sending reports whether something is gathered, or being written, that can still be sent. Any task
// of the worker may call it.
func (c *Conn) Sending() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return (c.busy || len(c.out) > 0) && !c.broken // also when it is over: Close waits for that, too
}

// grant gives turns to the streams that wait longest, as many as there is room for.
func (c *Conn) grant() {
	if len(c.out) < fullBytes/2 && len(c.openers) > 0 {
		c.wakeOpeners()
	}
	if len(c.line) == 0 {
		return
	}
	turn := turnBytes
	if len(c.line) == 1 {
		turn = turnAlone
	}
	n := 0
	for room := outMost - len(c.out); room > 0 && n < len(c.line); room -= turn {
		s := c.line[n]
		s.inLine, s.turn = false, turn
		s.writable.Set()
		n++
	}
	c.line = slices.Delete(c.line, 0, n)
}

// stand has s wait in a line. The lock is held.
func (s *Stream) stand(line *[]*Stream) {
	if !s.inLine {
		s.inLine = true
		*line = append(*line, s)
	}
}

// step takes s out of every line.
func (s *Stream) step() {
	if !s.inLine {
		return
	}
	s.inLine = false
	c := s.c
	for _, line := range []*[]*Stream{&c.line, &c.starved, &c.openers} {
		if i := slices.Index(*line, s); i >= 0 {
			*line = slices.Delete(*line, i, i+1)
		}
	}
}

func wakeAll(line *[]*Stream) {
	for _, s := range *line {
		s.inLine = false
		s.writable.Set()
	}
	clear(*line)
	*line = (*line)[:0]
}

func (c *Conn) wakeStarved() { wakeAll(&c.starved) }
func (c *Conn) wakeOpeners() { wakeAll(&c.openers) }

// wakeLines wakes all who wait: the connection is over.
func (c *Conn) wakeLines() {
	wakeAll(&c.line)
	wakeAll(&c.starved)
	wakeAll(&c.openers)
}

// wait waits for s to be woken. The lock is held, and let go of meanwhile. What is gathered
// leaves first, as the wait may be for the answer to it.
func (s *Stream) wait(w engine.Wakeup, by time.Duration) error {
	c := s.c
	if len(c.out) > 0 {
		c.dirty()
	}
	c.lock.Unlock()
	err := w.Wait(by)
	c.lock.Lock()
	return err
}
