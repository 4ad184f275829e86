package exchange

import (
	"errors"
	"io"
	"slices"

	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// tunnel carries bytes both ways after 101 (Switching Protocols), until both sides have
// ended, one has failed, or nothing has moved for Table.Tunnel.
func (a *attempt) tunnel() *Error {
	x, r := a.x, &a.response
	call, can := a.call.(upstream.Tunneler)
	if !can || !offered(x.Request.Upgrade, r.Upgrade) {
		return errUnasked
	}
	a.endUpload(nil)
	x.client.Unwatch(a.call)
	message.DropHopByHop(r.Fields)
	x.route.Rules.Response(r)
	if x.route.Filters != nil {
		x.filterResponse(r)
	}
	x.keepNames()
	client, early, err := x.client.Upgrade(r)
	if err != nil {
		return clientError(err)
	}
	server, late := call.Tunnel()
	x.Request.Fields, r.Fields, a.named = nil, nil, nil // a tunnel may be open for long
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

// keepNames copies what the access log needs of the head, which is given back.
func (x *Exchange) keepNames() {
	text := slices.Concat(x.Request.Method, x.asked.host, x.asked.path)
	m := len(x.Request.Method)
	h := m + len(x.asked.host)
	x.Request.Method, x.asked.host, x.asked.path = text[:m:m], text[m:h:h], text[h:]
}

// offered reports whether the client has asked for the protocol that the endpoint has
// switched to: any other is nobody's to choose (RFC 9110 §7.8).
func offered(asked, chosen []byte) bool {
	protocol, rest := message.NextToken(chosen)
	for ; protocol != nil; protocol, rest = message.NextToken(rest) {
		if !message.HasToken(asked, string(protocol)) {
			return false
		}
	}
	return asked != nil && chosen != nil
}

// A carrier copies from src to dst and passes the end on: a FIN as a FIN, anything else by
// breaking both.
type carrier struct {
	dst, src engine.Stream
	life     *life // nil: it may be silent for any time
	moved    int64
}

// carry copies until the end, first what was read already.
func (c *carrier) carry(first []byte) {
	b := buffer.Reader{Stream: c.src}
	defer b.Drop()
	for ok := c.write(first); ok; ok = c.step(&b) {
		b.Release()
	}
}

// step waits for bytes and copies them; false: that was the end.
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

// A pump has a carrier copy in tasks that exist while there is something to copy: most
// tunnels are silent most of the time.
type pump struct {
	*carrier
	ended engine.Signal
	over  bool
}

// begin writes what was read already; the rest follows by itself.
func (p *pump) begin(first []byte) {
	if p.over = !p.write(first); !p.over {
		p.rest()
	}
}

func (p *pump) rest() { p.src.(engine.Rester).WhenReady(p.run) }

// wait returns when the pump has come to its end.
func (p *pump) wait() {
	for !p.over {
		p.ended.Wait(0)
	}
}

// run copies what there is.
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
