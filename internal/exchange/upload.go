package exchange

// Sending the request of an attempt. The head leaves together with the content that has arrived;
// the rest is sent by a forked task, so that the attempt's own task can wait for the response
// meanwhile: an endpoint may answer before the content has ended, as with 413.
//
// The states of an upload, and how each is left:
//
//	sent      the request has no more content, or sending has failed
//	held      the head is out, with Expect: 100-continue; no content was sent
//	            endpoint sends 100, or 1 s passes  -> running (the client gets 100)
//	            endpoint sends a final head        the content is never asked for
//	running   the forked task sends; it ends in one of these ways:
//	            end of content                     by itself; ended
//	            client fails or stalls             by itself: breakOff interrupts the call
//	            endpoint takes no more             by itself; the response may still come
//	            response complete                  finishUpload stops it
//	            attempt failed, no other follows   endUpload stops it
//	            attempt failed, another follows    endUpload lets it keep its next piece, or
//	                                               ends its wait: handOver
//
// Content of an idempotent request is kept up to limits.ReplayBytesMax (64 KiB), so that another
// attempt can send it again; content.go has the rules. A PUT of 40 KiB that is retried:
//
//	attempt 1   sends 30 KiB as it arrives; the endpoint answers 503
//	            secures: what arrives from now on is kept; handOver ends the task with the next
//	            piece: 32 KiB are kept
//	attempt 2   sends the 32 KiB that were kept, then goes on with the client's content

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// uploadState is how far an attempt has sent the request: see the table above.
type uploadState uint8

const (
	sent    uploadState = iota // to its end, or to a failure
	held                       // the head only: the content waits for 100 (Continue)
	running                    // a forked task was started for the content
)

// upload is the state of sending one attempt's request. Atomic fields are used by the attempt's
// task and by the forked one. The forked task alone writes err while it runs; the attempt's
// task reads it after join.
type upload struct {
	state uploadState
	task  engine.Join // of the forked task, nil if there is none
	err   error       // sending failed; the endpoint may have answered all the same
	used  bool        // fields below may have been set: most requests have no content, and set none

	ended    atomic.Bool           // the forked task has sent everything
	stopping atomic.Bool           // the forked task must end
	cut      atomic.Bool           // StopContent was called: the client's content is incomplete
	paused   atomic.Bool           // its wait for the client is ended: the content goes on later
	fault    atomic.Pointer[Error] // the client failed; nil: it did not

	over    atomic.Int64                  // instant at which the forked task ended; 0: it runs
	waiting atomic.Int64                  // instant since which it waits for the client; 0: it does not
	spliced atomic.Pointer[engine.Stream] // the stream it splices from; nil: it does not splice
}

// sentAt is the instant at which the forked task ended; over false: it is still sending.
func (p *upload) sentAt() (at time.Duration, over bool) {
	at = time.Duration(p.over.Load())
	return at, at != 0
}

// starved reports whether the forked task waits for content that the client does not send, and
// for how long at least. It is false when no forked task exists or sends.
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

// reset prepares p for a new attempt. No forked task may exist.
func (p *upload) reset() {
	if p.used {
		*p = upload{}
		return
	}
	p.state, p.err = sent, nil
}

// send sends the head and what has arrived of the content, and starts the forked task for the
// rest. It does not wait for the client. An error of sending is kept in upload.err rather than
// returned: an endpoint that stops reading may have answered before.
func (a *attempt) send() {
	p, c := &a.upload, &a.x.content
	c.resume()
	if a.x.rpc.timed && a.x.rpc.is {
		a.sendTimeout()
	}
	q := a.request()
	p.state, p.err = sent, nil
	a.call.Head(q)
	if a.race != nil && q.Body != message.NoBody {
		a.sendKept()
		return
	}
	if q.Body == message.NoBody {
		a.x.requestEnded()
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

// sendArrived sends what has arrived of the content, without waiting for more. It returns true
// at the end of the content, and when the client has failed. It is called by the task that
// sends at the moment.
func (a *attempt) sendArrived() (over bool) {
	p, client := &a.upload, &a.x.client
	for !p.stopping.Load() {
		data, err := client.Content(false)
		switch {
		case err == io.EOF:
			a.x.requestEnded()
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

// keeps reports whether content is kept for another attempt: that of an idempotent request or of one that may be hedged, that
// of any request if the endpoint's protocol can decline requests unprocessed, and that of a call of
// gRPC if it may be repeated.
func (a *attempt) keeps() bool {
	x := a.x
	return idempotent(x.Request.Method) || x.hedgeable || a.call.Refusable() || x.rpc.is && x.service.Retry.Unavailable
}

// startUpload forks the task that sends the content. The caller must see to it that join
// follows: endUpload or finishUpload.
func (a *attempt) startUpload() {
	p, rt := &a.upload, a.x.rt
	p.state, p.used = running, true
	p.ended.Store(false)
	p.over.Store(0)
	p.task = rt.Fork(func() {
		defer func() { p.over.Store(int64(rt.Now())) }()
		a.runUpload()
	})
}

// runUpload is the forked task. Each wait for content has the stall limit of the client's side,
// each write that of the call.
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
			x.requestEnded()
			p.err = a.call.End(x.client.Trailers())
			p.ended.Store(p.err == nil)
			return
		case err != nil && p.cut.Load():
			return
		case err != nil && p.paused.Load() && errors.Is(err, engine.ErrTimeout):
			return // see handOver
		case err != nil && x.rpc.is && x.waitsOn(err):
			continue
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

// spliceUp moves content to the endpoint without copying it through this process (splice.go);
// such content cannot be sent again. useless: nothing was moved, so the caller copies from now
// on. over: the upload has failed.
func (a *attempt) spliceUp() (useless, over bool) {
	p, c := &a.upload, &a.x.content
	least := int64(spliceMin)
	if room := c.room(); room >= 0 && a.keeps() { // content that fits is copied, and kept
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

// breakOff records that reading the client's content has failed with err, and interrupts the
// call: the endpoint will never see a complete request.
func (a *attempt) breakOff(err error) {
	a.upload.used = true
	a.upload.fault.Store(clientError(err))
	a.call.Interrupt(err)
}
