package exchange

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// uploadState is how far an attempt has sent the request.
type uploadState uint8

const (
	sent    uploadState = iota // to its end
	held                       // the head; the content waits for 100 (Continue)
	running                    // a forked task sends the content
)

// upload is how far an attempt has sent the request. Content that has arrived with the head
// is sent with the head; for the rest a task is forked, so that a response may come before
// the content has ended. Fields that are atomic are used by both tasks.
type upload struct {
	state uploadState
	task  engine.Join // of the forked task, nil if there is none
	err   error       // sending failed; the response may come all the same

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
	p.state, p.task, p.err = sent, nil, nil
	p.ended.Store(false)
	p.stopping.Store(false)
	p.cut.Store(false)
	p.fault.Store(nil)
	p.over.Store(0)
}

// send sends the head and what has arrived of the content. Its errors are not the
// attempt's yet: an endpoint that stops reading may have answered before.
func (a *attempt) send() {
	p, c := &a.upload, &a.x.content
	c.resume()
	q := a.request()
	p.state, p.err = sent, nil
	a.call.Head(q)
	if q.Body == message.NoBody {
		p.err = a.call.Flush()
		return
	}
	if len(c.kept) > 0 {
		p.err = a.call.Write(c.kept)
	}
	if a.sendArrived() {
		return
	}
	if err := a.call.Flush(); err != nil {
		p.err = err
	}
	if q.ExpectContinue && !c.begun {
		p.state = held
		return
	}
	a.startUpload()
}

// sendArrived sends what has arrived of the content and reports whether that was all, or
// all there will be.
func (a *attempt) sendArrived() (over bool) {
	p, client := &a.upload, &a.x.client
	for !p.stopping.Load() {
		data, err := client.Content(false)
		switch {
		case err == io.EOF:
			if e := a.call.End(client.Trailers()); e != nil {
				p.err = e
			}
			return true
		case err != nil:
			a.breakOff(err)
			return true
		case data == nil:
			return false
		}
		a.x.content.take(data, a.keeps())
		if e := a.call.Write(data); e != nil {
			p.err = e
		}
	}
	return false
}

// keeps reports whether content is kept because another attempt may send it again: that of
// an idempotent request, and that of any request which the endpoint may decline.
func (a *attempt) keeps() bool { return idempotent(a.x.Request.Method) || a.call.Refusable() }

func (a *attempt) startUpload() {
	p, rt := &a.upload, a.x.rt
	p.state = running
	p.ended.Store(false)
	p.over.Store(0)
	p.task = rt.Fork(func() {
		defer func() { p.over.Store(int64(rt.Now())) }()
		a.runUpload()
	})
}

// runUpload is the forked task. It ends at the end of the content, when the client fails,
// when the endpoint takes no more, or when it is stopped.
func (a *attempt) runUpload() {
	p, x := &a.upload, a.x
	copying := x.Request.Body != message.Length
	for p.err == nil && !p.stopping.Load() {
		if !copying {
			var over bool
			if copying, over = a.spliceUp(); over {
				return
			}
		}
		p.waiting.Store(int64(x.rt.Now()))
		data, err := x.client.Content(true)
		p.waiting.Store(0)
		switch {
		case err == io.EOF:
			p.err = a.call.End(x.client.Trailers())
			p.ended.Store(p.err == nil)
			return
		case err != nil && p.cut.Load():
			return
		case err != nil:
			a.breakOff(err)
			return
		}
		x.content.take(data, a.keeps())
		if p.stopping.Load() {
			return // see handOver
		}
		if p.err = a.call.Write(data); p.err != nil {
			return
		}
		if a.sendArrived() {
			p.ended.Store(p.err == nil && p.fault.Load() == nil)
			return
		}
		p.err = a.call.Flush()
	}
}

// spliceUp has content go past the relay: it cannot be sent again. useless says that none
// does, over that the upload has failed.
func (a *attempt) spliceUp() (useless, over bool) {
	p, c := &a.upload, &a.x.content
	least := int64(spliceMin)
	if room := c.room(); room >= 0 && a.keeps() { // what fits is kept, for another attempt
		least = max(least, int64(room)+1)
	}
	m := a.splice(a.call, a.x.client.RequestContent, least, 0)
	c.passed(m.Taken)
	p.err = m.WriteErr
	if m.ReadErr != nil && !p.cut.Load() {
		a.breakOff(m.ReadErr)
	}
	return m.Taken == 0, m.ReadErr != nil || m.WriteErr != nil
}

// breakOff notes that the client's content failed, and ends the wait for the endpoint,
// which will never see a whole request.
func (a *attempt) breakOff(err error) {
	a.upload.fault.Store(clientError(err))
	a.call.Interrupt(err)
}

// finishUpload ends the upload after a response was read to its end, and reports whether
// the request went out whole. A response that came before the end of the content makes
// the rest of no use (RFC 9112 §9.6).
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

// endUpload makes sure that no task uses the call or the client's content any more. It
// returns the fault of the attempt: if the client failed meanwhile, that one.
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

// secures has the content kept for a further attempt whatever its size, and reports whether
// that has succeeded: from then on no failure of this attempt's endpoint can take it away.
// Content that is known to be too large goes on past the relay, and cannot be held back.
func (a *attempt) secures() bool {
	p, q := &a.upload, &a.x.Request
	if p.task != nil && !p.ended.Load() && q.Body == message.Length && q.Length > limits.ReplayBytesMax {
		return false
	}
	return a.x.content.secure()
}

// continues reports whether a further attempt may need the content that the client is
// still sending. Then its reading is not stopped: what was stopped cannot be sent again.
func (a *attempt) continues(fault *Error) bool {
	x := a.x
	if fault == nil || x.content.lost() || a.upload.fault.Load() != nil {
		return false
	}
	if x.Request.Body == message.Length && x.Request.Length > limits.ReplayBytesMax {
		return false
	}
	if fault.Class == Status || fault.Class == Ejected {
		return true // it is decided that there is one
	}
	if a.call.Stale() && a.replaces(fault) {
		return true
	}
	return x.mayRepeat(fault)
}

// handOver ends the task that sends the content with the next piece that comes from the
// client, and keeps that for the next attempt, which could not end before it either. A
// client that sends none meets the limit of a stall.
func (a *attempt) handOver() {
	a.upload.stopping.Store(true)
	a.call.Interrupt(errStopped)
	a.join()
	a.upload.stopping.Store(false)
}

var errStopped = errors.New("the exchange is over")

func (a *attempt) stopUpload() {
	p, client := &a.upload, &a.x.client
	p.stopping.Store(true)
	if !client.ContentRead() {
		p.cut.Store(true)
		client.StopContent()
	}
	a.call.Interrupt(errStopped)
}

// join waits for the forked task. Content whose reading was stopped on the way cannot be
// sent again: the client's stream does not say where it stands.
func (a *attempt) join() {
	p := &a.upload
	p.task.Wait()
	p.task = nil
	if p.cut.Load() && !a.x.client.ContentRead() {
		a.x.content.lose()
	}
}
