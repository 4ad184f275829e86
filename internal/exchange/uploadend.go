package exchange

// How an upload ends, when the attempt has what it wanted or has failed. The forked task may be
// waiting for the client or for the endpoint then, and is never just left behind: the next user
// of the call or of the client's content comes after join.
//
//	who ends it     when                                        the client's content
//	finishUpload    the response was read to its end            is stopped, unless all has arrived
//	endUpload       the attempt failed, no other follows        is stopped
//	handOver        the attempt failed, another one follows     goes on
//
// What was stopped on the way cannot be sent again: the client's stream does not say where it
// stands. So it is decided first whether another attempt follows (continues, secures).

import (
	"errors"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// finishUpload ends the upload after the response was read to its end, and reports whether the
// request was sent completely, so that the connection can be used again. If the response came
// first, the rest of the content is of no use (RFC 9112 §9.6) and the task is stopped, unless all
// of it has arrived and sending it saves the connection. It waits for the forked task.
func (a *attempt) finishUpload() (whole bool) {
	p := &a.upload
	if p.task == nil {
		return p.state == sent && p.err == nil && p.fault.Load() == nil
	}
	if !p.ended.Load() && (!a.x.client.ContentRead() || !a.call.Persists()) {
		a.stopUpload()
	}
	a.join()
	return p.ended.Load()
}

// endUpload ends the upload of an attempt that is over, with fault or, if nil, without: when it
// returns no other task uses the call or the client's content. It returns the fault of the
// attempt, which is the client's if the client failed meanwhile.
func (a *attempt) endUpload(fault *Error) *Error {
	p := &a.upload
	if p.task == nil {
		return fault
	}
	if p.ended.Load() || p.stopping.Load() {
		a.join()
		return fault
	}
	if !a.continues(fault) {
		a.stopUpload()
		a.join()
		return fault
	}
	a.handOver()
	if f := p.fault.Load(); f != nil {
		return f
	}
	return fault
}

// secures makes sure that the content stays complete for the next attempt, and reports whether
// that has succeeded. Without it the forked task could lose content between the decision to
// repeat the request and its own end. Content whose length is known to be too large is not
// secured: it may be spliced, and then nothing of it is kept.
func (a *attempt) secures() bool {
	p, q := &a.upload, &a.x.Request
	if p.task != nil && !p.ended.Load() && q.Body == message.Length && q.Length > limits.ReplayBytesMax {
		return false
	}
	return a.goesOn() && a.x.content.secure()
}

// continues reports whether another attempt may need the content that the client is still
// sending. Then the forked task must not be stopped in the middle of a read (stopUpload), after
// which the client's stream has no defined position, but by handOver.
func (a *attempt) continues(fault *Error) bool {
	x := a.x
	if fault == nil || x.content.lost() || a.upload.fault.Load() != nil || !a.goesOn() {
		return false
	}
	if x.Request.Body == message.Length && x.Request.Length > limits.ReplayBytesMax {
		return false
	}
	if fault.Class.decided() {
		return true // it is decided that there is one
	}
	if a.call.Stale() && a.replaces(fault) {
		return true
	}
	return x.mayRepeat(fault)
}

// handOver ends the forked task, so that the next attempt goes on with the client's content. A
// wait for the client is ended where its protocol can do that without losing the place. Where it
// cannot, below net/http, the task ends with the next piece that comes, which is kept; handOver waits
// for that piece, and a client that sends nothing meets its stall limit.
func (a *attempt) handOver() {
	p := &a.upload
	p.stopping.Store(true)
	a.call.Interrupt(errStopped)
	if c := pauser(a.x.client.RequestContent); c != nil { // a client may wait for an answer before it sends more
		p.paused.Store(true)
		c.Pause(true)
		defer func() { c.Pause(false); p.paused.Store(false) }()
	}
	a.join()
	p.stopping.Store(false)
}

// pauser is the Pauser of a client's content, also behind transforms; nil: its protocol has none.
func pauser(c downstream.RequestContent) downstream.Pauser {
	if t, ok := c.(*transformedContent); ok {
		c = t.RequestContent
	}
	p, _ := c.(downstream.Pauser)
	return p
}

// errStopped is the error of a call that was interrupted because the attempt is over.
var errStopped = errors.New("the exchange is over")

// stopUpload makes the forked task end at once, also if it waits for the client or the
// endpoint. The content cannot be sent again, unless all of it has been read. Does not wait.
func (a *attempt) stopUpload() {
	p, client := &a.upload, &a.x.client
	p.stopping.Store(true)
	if !client.ContentRead() {
		p.cut.Store(true)
		client.StopContent()
	}
	a.call.Interrupt(errStopped)
}

// join waits for the forked task to end, and declares the content lost if stopUpload has stopped
// a read of it.
func (a *attempt) join() {
	p := &a.upload
	p.task.Wait()
	p.task = nil
	if p.cut.Load() && !a.x.client.ContentRead() {
		a.x.content.lose()
	}
}
