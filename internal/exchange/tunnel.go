package exchange

// Tunnels: after 101 (Switching Protocols) the two connections carry bytes both ways, and the
// exchange waits for the end of both directions.
//
//	client ──up──► endpoint     carried by the exchange's own task
//	client ◄─down─ endpoint     carried by a forked task, or by a pump
//
// Each direction ends by itself. A FIN is passed on as a FIN and the other direction goes on;
// any other failure interrupts the other side, so both end. A pump is for streams that can wait
// without a task (engine.Rester): most tunnels are silent most of the time.
//
// A WebSocket that the client closes:
//
//	client sends FIN     up: CloseWrite towards the endpoint; up ends
//	endpoint sends more  down goes on
//	endpoint sends FIN   down: CloseWrite towards the client; down ends, the exchange is over

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// tunnel passes the 101 head on and then carries bytes both ways until both directions have
// ended, one has failed, or nothing has moved for Table.Tunnel. It is an error (502) if the client
// did not ask for the protocol or the call cannot become a tunnel. The request's slices are not
// valid afterwards, except those that keepNames copies.
func (a *attempt) tunnel() *Error {
	x, r := a.x, &a.response
	call, can := a.call.(upstream.Tunneler)
	if !can || !offered(x.Request.Upgrade, r.Upgrade) {
		return errUnasked
	}
	a.endUpload(nil)
	x.client.Unwatch(a.call)
	message.DropHopByHop(r.Fields)
	x.answerID(r)
	x.route.Rules.Response(r)
	a.stick(r)
	if x.route.Filters != nil {
		x.filterResponse(r)
	}
	x.logHead(r)
	x.keepNames()
	client, early, err := x.client.Upgrade(r)
	if err != nil {
		return clientError(err)
	}
	server, late := call.Tunnel()
	x.Request.Fields, r.Fields, a.named = nil, nil, nil // a tunnel may last for days
	var l *life
	if x.table.Tunnel > 0 {
		l = newLife(x.rt, x.table.Tunnel, client, server)
	}
	up := carrier{dst: server, src: client, life: l}
	down := carrier{dst: client, src: server, life: l}
	if _, ok := server.(engine.Rester); ok {
		p := pump{carrier: &down, ended: x.rt.NewSignal()}
		p.begin(late)
		up.carry(early)
		p.wait()
	} else {
		task := x.rt.Fork(func() { down.carry(late) })
		up.carry(early)
		task.Wait()
	}
	x.content.bytes += up.moved
	x.log.BytesOut = down.moved
	if l.over() {
		x.log.Reason = errIdle.Reason
	}
	return nil
}

// keepNames copies what the access log needs of the request's head: Upgrade gives the buffer of
// the head back.
func (x *Exchange) keepNames() {
	text := slices.Concat(x.Request.Method, x.asked.host, x.asked.path)
	m := len(x.Request.Method)
	h := m + len(x.asked.host)
	x.Request.Method, x.asked.host, x.asked.path = text[:m:m], text[m:h:h], text[h:]
	x.asked.query, x.forward.norm = bytes.Clone(x.asked.query), bytes.Clone(x.forward.norm)
}

// offered reports whether every protocol in chosen, the Upgrade field of the 101, is named in
// asked, that of the request: an endpoint may choose no other (RFC 9110 §7.8). nil: no field.
func offered(asked, chosen []byte) bool {
	protocol, rest := message.NextToken(chosen)
	for ; protocol != nil; protocol, rest = message.NextToken(rest) {
		if !message.HasToken(asked, string(protocol)) {
			return false
		}
	}
	return asked != nil && chosen != nil
}

// A carrier is one direction of a tunnel: it copies from src to dst. One task at a time uses it.
type carrier struct {
	dst, src engine.Stream
	life     *life // the idle limit, shared by both directions; nil: none
	moved    int64 // bytes written to dst
}

// carry writes first, which was read already and may be empty, and then copies until the
// direction ends. It waits in the calling task.
func (c *carrier) carry(first []byte) {
	b := buffer.Reader{Stream: c.src}
	defer b.Drop()
	for ok := c.write(first); ok; ok = c.step(&b) {
		b.Release()
	}
}

// step waits for data and writes it; false: the direction has ended, which step has passed on.
func (c *carrier) step(b *buffer.Reader) bool {
	switch err := b.Fill(); {
	case err == io.EOF:
		c.dst.CloseWrite()
		return false
	case errors.Is(err, engine.ErrTimeout) && c.life.goesOn(c.src):
		return true
	case err != nil:
		c.dst.Interrupt(err)
		return false
	}
	data := b.Buffered()
	b.Advance(len(data))
	return c.write(data)
}

// write writes data to dst; false: that failed, and src was interrupted.
func (c *carrier) write(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	c.life.moving(c.dst)
	if _, err := c.dst.Write(data); err != nil {
		c.life.blocked(err)
		c.src.Interrupt(err)
		return false
	}
	c.moved += int64(len(data))
	return true
}

// A pump runs a carrier in tasks that exist only while there is data to copy. Its src is an
// engine.Rester. All its tasks belong to one worker, so over needs no lock.
type pump struct {
	*carrier
	ended engine.Signal // set when over becomes true
	over  bool          // the direction has ended
}

// begin writes first, which was read already, and starts the pump. It does not wait for src.
func (p *pump) begin(first []byte) {
	if p.over = !p.write(first); !p.over {
		p.rest()
	}
}

// rest has the next task started when src has data, or has failed.
func (p *pump) rest() { p.src.(engine.Rester).WhenReady(p.run) }

// wait waits until the direction has ended.
func (p *pump) wait() {
	for !p.over {
		p.ended.Wait(0)
	}
}

// run is one task of the pump: it copies what has arrived and ends when src is quiet.
func (p *pump) run() {
	b := buffer.Reader{Stream: p.src}
	rests := false
	defer func() {
		b.Drop()
		if rests {
			p.rest()
			return
		}
		p.over = true
		p.ended.Set()
	}()
	for p.step(&b) {
		if rests = p.src.Quiet(); rests {
			return
		}
	}
}
