package loop

import (
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// How a stream under TLS ends. The end of content is a message (close_notify), so that no
// third party can cut content short by a FIN. What a peer sees of it:
//
//	Close          close_notify behind all that was written, then FIN
//	CloseWrite     close_notify; the other direction stays open
//	Abort          a reset
//	Close during a Write that did not end    FIN alone: content was cut off

// CloseWrite says that nothing follows (close_notify, RFC 8446 §6.1). FIN would say so
// too, and a peer may take a FIN for the end of both ways: there is none.
func (t *secure) CloseWrite() error {
	if t.s.flags&closed != 0 {
		return engine.ErrClosed
	}
	err := t.conn.CloseWrite()
	t.push()
	return errors.Join(err, t.sendErr)
}

// lingerTime is how long it may take after Close to send what is encrypted.
const lingerTime = 5 * time.Second

// Close says that nothing follows, and does not wait: if the kernel does not take that at
// once, a task waits for room and sends it. After a Write that was cut off nothing is said:
// the peer must not take what it has for all there was.
func (t *secure) Close() error {
	s := t.s
	if s.flags&closed != 0 {
		return nil
	}
	t.forget()
	if !t.writing {
		t.conn.CloseWrite()
		t.push()
	}
	if t.writing || t.out == nil || s.why != nil || s.loop.Stopping() {
		t.drop()
		return s.Close()
	}
	rest, out := s.handOver(), t.out[t.sent:]
	t.out = nil // the task has it
	s.loop.StartFor(rest, func() {
		rest.SetWriteDeadline(rest.loop.Instant() + lingerTime)
		rest.Write(out)
		rest.Close()
	})
	return nil
}

// Abort resets the connection below, without close_notify: the peer sees that the content did
// not end. What is encrypted and not sent is dropped.
func (t *secure) Abort() {
	t.drop()
	t.forget()
	t.s.Abort()
}
