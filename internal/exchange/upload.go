package exchange

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// uploadState is how far the request has been sent on the present connection.
type uploadState uint8

const (
	sent    uploadState = iota // to its end
	held                       // the head; the content waits for 100 (Continue)
	running                    // a forked task sends the content
)

// upload is the way of the request's content to the endpoint. What has arrived with the
// head is sent with the head; for the rest a task is forked, so that a response may come
// before the content has ended.
type upload struct {
	state uploadState
	begun bool        // content has been taken from the client
	lost  atomic.Bool // kept is not all of it

	task engine.Join // of the forked task, nil if there is none
	kept []byte      // all content so far, so that an attempt can be repeated
	err  error       // sending failed; the response may come all the same

	bytes    int64
	ended    atomic.Bool // the forked task has sent everything
	stopping atomic.Bool // the forked task is to end
	cut      atomic.Bool // reading from the client was stopped on the way
	fault    atomic.Pointer[Error]

	over    atomic.Int64                  // when the forked task ended; 0: it sends
	waiting atomic.Int64                  // since when it waits for the client; 0: it does not
	spliced atomic.Pointer[engine.Stream] // what it splices from meanwhile, which waits by itself
}

// sentAt is when the content ended, or nothing more of it could be sent; over false: it is
// still being sent.
func (p *upload) sentAt() (at time.Duration, over bool) {
	at = time.Duration(p.over.Load())
	return at, at != 0
}

// starved reports whether the forked task waits for content that the client does not send,
// and for how long already at the least.
func (p *upload) starved(now time.Duration) (since time.Duration, yes bool) {
	at := time.Duration(p.waiting.Load())
	if p.task == nil || p.over.Load() != 0 || at == 0 {
		return 0, false
	}
	if from := p.spliced.Load(); from != nil && !(*from).Quiet() {
		return 0, false
	}
	return now - at, true
}

func (p *upload) reset() {
	p.state, p.task, p.begun, p.err, p.bytes = sent, nil, false, nil, 0
	p.lost.Store(false)
	p.kept = p.kept[:0]
	p.ended.Store(false)
	p.stopping.Store(false)
	p.cut.Store(false)
	p.fault.Store(nil)
	p.over.Store(0)
}

// send sends the head and what has arrived of the content. Its errors are not the
// attempt's yet: an endpoint that stops reading may have answered before.
func (x *Exchange) send(u *upstream.Conn) {
	p := &x.upload
	p.state, p.err = sent, nil
	u.Head(&x.Request)
	if x.Request.Body == message.NoBody {
		p.err = u.Flush()
		return
	}
	if len(p.kept) > 0 {
		p.err = u.Write(p.kept)
	}
	if x.sendArrived(u) {
		return
	}
	if err := u.Flush(); err != nil {
		p.err = err
	}
	if x.Request.ExpectContinue && !p.begun {
		p.state = held
		return
	}
	x.startUpload(u)
}

// sendArrived sends what has arrived of the content and reports whether that was all, or
// all there will be.
func (x *Exchange) sendArrived(u *upstream.Conn) (over bool) {
	p := &x.upload
	for {
		data, err := x.client.Content(false)
		switch {
		case err == io.EOF:
			if e := u.End(x.client.Trailers()); e != nil {
				p.err = e
			}
			return true
		case err != nil:
			x.breakOff(u, err)
			return true
		case data == nil:
			return false
		}
		x.keep(data)
		if e := u.Write(data); e != nil {
			p.err = e
		}
	}
}

func (x *Exchange) startUpload(u *upstream.Conn) {
	p := &x.upload
	p.state = running
	p.ended.Store(false)
	p.over.Store(0)
	p.task = x.rt.Fork(func() {
		defer func() { p.over.Store(int64(x.rt.Now())) }()
		x.runUpload(u)
	})
}

// runUpload is the forked task. It ends at the end of the content, when the client fails,
// when the endpoint takes no more, or when it is stopped.
func (x *Exchange) runUpload(u *upstream.Conn) {
	p := &x.upload
	copying := x.Request.Body != message.Length
	for p.err == nil && !p.stopping.Load() {
		if !copying {
			var over bool
			if copying, over = x.spliceUp(u); over {
				return
			}
		}
		p.waiting.Store(int64(x.rt.Now()))
		data, err := x.client.Content(true)
		p.waiting.Store(0)
		switch {
		case err == io.EOF:
			p.err = u.End(x.client.Trailers())
			p.ended.Store(p.err == nil)
			return
		case err != nil && p.cut.Load():
			return
		case err != nil:
			x.breakOff(u, err)
			return
		}
		x.keep(data)
		if p.stopping.Load() {
			return // see handOver
		}
		if p.err = u.Write(data); p.err != nil {
			return
		}
		if x.sendArrived(u) {
			p.ended.Store(p.err == nil && p.fault.Load() == nil)
			return
		}
		p.err = u.Flush()
	}
}

// spliceUp has content go past the relay: it cannot be sent again. useless says that none
// does, over that the upload has failed.
func (x *Exchange) spliceUp(u *upstream.Conn) (useless, over bool) {
	p := &x.upload
	least := int64(spliceMin)
	if !p.lost.Load() && idempotent(x.Request.Method) { // what fits is kept, for another attempt
		least = max(least, int64(limits.ReplayBytesMax-len(p.kept))+1)
	}
	m := x.splice(u, x.client.RequestContent, least, 0)
	p.bytes += m.Taken
	if m.Taken > 0 {
		p.begun, p.kept = true, p.kept[:0]
		p.lost.Store(true)
	}
	p.err = m.WriteErr
	if m.ReadErr != nil && !p.cut.Load() {
		x.breakOff(u, m.ReadErr)
	}
	return m.Taken == 0, m.ReadErr != nil || m.WriteErr != nil
}

// breakOff notes that the client's content failed, and wakes whoever waits for the
// endpoint, which will never see a whole request.
func (x *Exchange) breakOff(u *upstream.Conn, err error) {
	x.upload.fault.Store(clientError(err))
	u.Stream.Interrupt(err)
}

// keep remembers content for another attempt, within bounds.
func (x *Exchange) keep(data []byte) {
	p := &x.upload
	p.begun = true
	p.bytes += int64(len(data))
	if p.lost.Load() || !idempotent(x.Request.Method) || len(p.kept)+len(data) > limits.ReplayBytesMax {
		p.kept = p.kept[:0]
		p.lost.Store(true)
		return
	}
	p.kept = append(p.kept, data...)
}

// finishUpload ends the upload after a response was read to its end, and reports whether
// the request went out whole. A response that came before the end of the content makes
// the rest of no use (RFC 9112 §9.6).
func (x *Exchange) finishUpload(u *upstream.Conn) (whole bool) {
	p := &x.upload
	if p.task == nil {
		return p.state == sent && p.err == nil && p.fault.Load() == nil
	}
	if !p.ended.Load() && (!x.client.ContentRead() || !u.Persists()) {
		x.stopUpload(u)
	}
	x.join()
	return p.ended.Load()
}

// endUpload makes sure that no task uses u or the client's content any more. It returns the
// fault of the attempt: if the client failed meanwhile, that one.
func (x *Exchange) endUpload(u *upstream.Conn, fault *Error) *Error {
	p := &x.upload
	if p.task == nil {
		return fault
	}
	if p.ended.Load() || p.stopping.Load() {
		x.join()
		return fault
	}
	if !x.continues(u, fault) {
		x.stopUpload(u)
		x.join()
		return fault
	}
	x.handOver(u)
	if f := p.fault.Load(); f != nil {
		return f
	}
	return fault
}

// continues reports whether a further attempt may need the content that the client is
// still sending. Then its reading is not stopped: what was stopped cannot be sent again.
func (x *Exchange) continues(u *upstream.Conn, fault *Error) bool {
	if fault == nil || x.upload.lost.Load() || x.upload.fault.Load() != nil {
		return false
	}
	if x.Request.Body == message.Length && x.Request.Length > limits.ReplayBytesMax {
		return false
	}
	if fault.Class == Status || fault.Class == Ejected {
		return true // it is decided that there is one
	}
	if fault.Class == Reset && u.Reused() && !u.Received() && x.repeatable() {
		return true // see converse
	}
	return x.mayRepeat(fault)
}

// handOver ends the task that sends to u with the next piece that comes from the client,
// and keeps that for the next attempt, which could not end before it either. A client that
// sends none meets the limit of a stall.
func (x *Exchange) handOver(u *upstream.Conn) {
	x.upload.stopping.Store(true)
	u.Stream.Interrupt(errStopped)
	x.join()
	x.upload.stopping.Store(false)
}

var errStopped = errors.New("the exchange is over")

func (x *Exchange) stopUpload(u *upstream.Conn) {
	p := &x.upload
	p.stopping.Store(true)
	if !x.client.ContentRead() {
		p.cut.Store(true)
		x.client.StopContent()
	}
	u.Stream.Interrupt(errStopped)
}

// join waits for the forked task. Content whose reading was stopped on the way cannot be
// sent again: the client's stream does not say where it stands.
func (x *Exchange) join() {
	p := &x.upload
	p.task.Wait()
	p.task = nil
	if p.cut.Load() && !x.client.ContentRead() {
		p.lost.Store(true)
	}
}
