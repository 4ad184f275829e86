package exchange

import (
	"io"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/internal/wire"
)

// tunnel carries bytes both ways after 101 (Switching Protocols), until both sides have
// ended, or one has failed.
func (x *Exchange) tunnel(u *upstream.Conn) *Error {
	r := &x.response
	if !offered(x.Request.Upgrade, r.Upgrade) {
		return errUnasked
	}
	x.endUpload(u)
	x.client.Unwatch(u.Stream)
	message.DropHopByHop(r.Fields)
	x.route.Rules.Response(r)
	x.log.Own()
	client, early, err := x.client.Upgrade(r)
	if err != nil {
		return clientError(err)
	}
	late := u.Early()
	x.Request.Fields, r.Fields = nil, nil // a tunnel may be open for long
	if _, ok := u.Stream.(engine.Rester); ok {
		p := pump{dst: client, src: u.Stream, ended: x.rt.NewSignal()}
		p.begin(late)
		x.upload.bytes += carry(u.Stream, client, early)
		p.wait()
		x.log.BytesOut = p.moved
		return nil
	}
	down := x.rt.Fork(func() { x.log.BytesOut = carry(client, u.Stream, late) })
	x.upload.bytes += carry(u.Stream, client, early)
	down.Wait()
	return nil
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

// carry copies from src to dst, first what was read already, and passes the end on: a
// FIN as a FIN, anything else by breaking both.
func carry(dst, src engine.Stream, first []byte) (n int64) {
	b := wire.Reader{Stream: src}
	defer b.Drop()
	for data := first; ; data = b.Buffered() {
		if len(data) > 0 {
			if _, err := dst.Write(data); err != nil {
				src.Interrupt(err)
				return n
			}
			n += int64(len(data))
		}
		b.Advance(len(b.Buffered()))
		b.Release()
		switch err := b.Fill(); {
		case err == io.EOF:
			dst.CloseWrite()
			return n
		case err != nil:
			dst.Interrupt(err)
			return n
		}
	}
}

// A pump is carry in tasks that exist while there is something to carry: most tunnels are
// silent most of the time.
type pump struct {
	dst, src engine.Stream
	moved    int64

	ended engine.Signal
	over  bool
}

// begin writes what was read already; the rest follows by itself.
func (p *pump) begin(first []byte) {
	if len(first) > 0 && !p.write(first) {
		p.over = true
		return
	}
	p.rest()
}

func (p *pump) rest() { p.src.(engine.Rester).WhenReady(p.run) }

// wait returns when the pump has come to its end.
func (p *pump) wait() {
	for !p.over {
		p.ended.Wait(0)
	}
}

// run carries what there is.
func (p *pump) run() {
	b := wire.Reader{Stream: p.src}
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
	for !rests {
		switch err := b.Fill(); {
		case err == io.EOF:
			p.dst.CloseWrite()
			return
		case err != nil:
			p.dst.Interrupt(err)
			return
		}
		if !p.write(b.Buffered()) {
			return
		}
		b.Advance(len(b.Buffered()))
		rests = p.src.Quiet()
	}
}

func (p *pump) write(data []byte) bool {
	_, err := p.dst.Write(data)
	if err != nil {
		p.src.Interrupt(err)
		return false
	}
	p.moved += int64(len(data))
	return true
}
