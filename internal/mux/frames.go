package mux

// What each frame does. Errors that end the connection are returned; those that end one stream
// are dealt with here, by RST_STREAM. All of it runs in the task that reads, with the lock held.

import "github.com/poise-lb/poise/internal/http2"

// frame handles f. fault is that of its stream, found by package http2; nil: none was. It returns
// the stream that the frame has opened, of which the head is in Stream.Request; nil: none.
func (c *Conn) frame(f *http2.Frame, fault error) (*Stream, *http2.Error) {
	switch {
	case c.fragments > 0 && (f.Type != http2.FrameContinuation || f.Stream != c.blockOf.Stream):
		return nil, errContinuation
	case !c.settled && (f.Type != http2.FrameSettings || f.Ack()):
		return nil, errUnsettled
	case fault != nil:
		return nil, c.faulty(f, fault)
	}
	switch f.Type {
	case http2.FrameData:
		c.mute = false
		return nil, c.data(f)
	case http2.FrameHeaders:
		c.mute = false
		if !f.EndHeaders() {
			c.block, c.blockOf, c.fragments = append(c.block[:0], f.Payload...), *f, 1
			return nil, nil
		}
		return c.head(f, f.Payload)
	case http2.FrameContinuation:
		return c.continued(f)
	case http2.FrameReset:
		return nil, c.reset(f)
	case http2.FrameSettings:
		return nil, c.settings(f)
	case http2.FramePing:
		return nil, c.ping(f)
	case http2.FrameGoAway:
		return nil, c.goAway(f)
	case http2.FrameWindowUpdate:
		return nil, c.update(f)
	}
	return nil, c.control() // PRIORITY, and types that are not known (RFC 9113 §4.1)
}

// faultCost is what a frame costs that breaks a rule and ends a stream only.
const faultCost = 10

// faulty answers a frame of which package http2 has found that it ends its stream.
func (c *Conn) faulty(f *http2.Frame, fault error) *http2.Error {
	if c.idle(f.Stream) {
		return errIdleStream
	}
	c.refuse(f.Stream, faultOf(fault).Code)
	return c.charge(faultCost)
}

// refuse resets a stream whatever its state.
func (c *Conn) refuse(id uint32, code http2.Code) {
	if s := c.streams.of(id); s != nil {
		s.reset(code, ErrReset)
		return
	}
	c.appendReset(id, code)
}

// appendReset gathers RST_STREAM.
func (c *Conn) appendReset(id uint32, code http2.Code) {
	c.resets.add(id)
	c.room(frameRoom)
	c.out = http2.AppendReset(c.out, id, code)
	c.dirty()
}

// idle reports whether the stream has never been opened (RFC 9113 §5.1). Only clients open streams,
// which have odd numbers.
func (c *Conn) idle(id uint32) bool {
	return id&1 == 0 || id > c.last
}

// data handles content.
func (c *Conn) data(f *http2.Frame) *http2.Error {
	if c.idle(f.Stream) {
		return errIdleStream
	}
	if c.taken += f.Size; c.taken >= windowCredit {
		c.appendUpdate(0, c.taken)
		c.taken = 0
	}
	s := c.streams.of(f.Stream)
	switch {
	case s == nil && c.resets.has(f.Stream), s != nil && s.err != nil && !s.left:
		return nil // it was on its way when the stream ended
	case s == nil && f.EndStream() && len(f.Payload) == 0:
		return c.control() // it changes nothing, and may be late: see Stream.Close
	case s == nil, s.left:
		c.appendReset(f.Stream, http2.StreamClosed)
		return c.charge(faultCost)
	case s.readEnd:
		s.reset(http2.StreamClosed, ErrReset)
		return c.charge(faultCost)
	}
	if !c.server && !s.headed {
		s.reset(http2.ProtocolError, errEarlyData)
		return c.charge(faultCost)
	}
	if err := s.received(f); err != nil {
		s.reset(err.Code, err)
		return c.charge(faultCost)
	}
	s.keep(f.Payload)
	s.readEnd = f.EndStream()
	switch {
	case s.readEnd:
	case len(f.Payload) == 0:
		if err := c.control(); err != nil {
			return err
		}
	default:
		s.grow()
	}
	s.ledger()
	s.readable.Set()
	return nil
}

// reset handles RST_STREAM.
func (c *Conn) reset(f *http2.Frame) *http2.Error {
	if c.idle(f.Stream) {
		return errIdleStream
	}
	s := c.streams.of(f.Stream)
	if s == nil || s.left || s.err != nil && s.known {
		return c.control()
	}
	code := f.Code()
	s.left = code != http2.NoError
	switch {
	case code == http2.RefusedStream:
		s.fail(ErrRefused)
	case code == http2.NoError && s.readEnd:
		s.enough = true // the response is whole, the rest of our content is not wanted
		s.writable.Set()
		return nil
	default:
		s.fail(ErrReset)
	}
	if c.server {
		return c.charge(1)
	}
	return nil
}

// settings takes the peer's settings, and says so.
func (c *Conn) settings(f *http2.Frame) *http2.Error {
	if f.Ack() {
		if c.unacked > 0 {
			c.acknowledged()
			return nil
		}
		return c.control()
	}
	if c.settled {
		if err := c.control(); err != nil {
			return err
		}
	}
	c.settled = true
	before := c.peer.Window
	if err := c.peer.Apply(f.Payload, !c.server); err != nil {
		return connectionFault(err)
	}
	c.encoder.SetTableSize(c.peer.TableLeast)
	c.encoder.SetTableSize(c.peer.TableSize)
	if d := int64(c.peer.Window) - int64(before); d != 0 {
		for _, s := range c.streams {
			if s.window += d; s.window > http2.WindowMax {
				return errFlow
			}
			s.writable.Set()
		}
	}
	c.room(frameRoom)
	c.out = http2.AppendSettingsAck(c.out)
	c.dirty()
	c.wakeOpeners()
	return c.answered()
}

// ping answers a PING, or takes the answer to ours.
func (c *Conn) ping(f *http2.Frame) *http2.Error {
	if f.Ack() {
		switch {
		case c.leaving && string(f.Payload) == string(leavePing[:]):
			c.left()
			return nil
		case c.asked > 0 && string(f.Payload) == string(earlyPing[:]):
			c.seenEarly()
			return nil
		case !c.server && string(f.Payload) == string(asks[:]):
			c.mute = true
		}
		return c.control() // also if we have not asked
	}
	if err := c.control(); err != nil {
		return err
	}
	c.appendPing(f.Payload, true)
	return c.answered()
}

// answered counts an answer that the peer has not taken: a peer that asks and does not read would
// have them pile up.
func (c *Conn) answered() *http2.Error {
	if c.answers++; c.answers > answersMost {
		return errCalm
	}
	return nil
}

// goAway has an endpoint's connection take no further streams. Those above the last that the
// endpoint names were not processed. That of a client means nothing: it opens the streams.
func (c *Conn) goAway(f *http2.Frame) *http2.Error {
	if c.server {
		return c.control()
	}
	last, _, _ := f.Last()
	c.away = true
	for _, s := range c.streams {
		if s.id > last {
			s.fail(ErrRefused)
		}
	}
	c.wakeOpeners()
	c.endIfIdle()
	return c.control()
}

// update handles WINDOW_UPDATE.
func (c *Conn) update(f *http2.Frame) *http2.Error {
	n := int64(f.Increment())
	if f.Stream == 0 {
		before := c.window
		if c.window += n; c.window > http2.WindowMax {
			return errFlow
		}
		if before <= 0 {
			c.wakeStarved()
		} else if n < smallUpdate && before > smallUpdate {
			return c.small()
		}
		return nil
	}
	if c.idle(f.Stream) {
		return errIdleStream
	}
	s := c.streams.of(f.Stream)
	if s == nil || s.err != nil {
		return c.control()
	}
	if s.window += n; s.window > http2.WindowMax {
		s.reset(http2.FlowControlError, ErrReset)
		return c.charge(faultCost)
	}
	if n < smallUpdate && s.window > smallUpdate { // it lets nothing through that was held
		if err := c.small(); err != nil {
			return err
		}
	}
	s.writable.Set()
	return nil
}
