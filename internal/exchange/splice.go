package exchange

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// spliceMin is how much content must be left for it to be worth a pipe.
const spliceMin = 64 << 10

// A spliceSource is content that may pass without being looked at: of an upstream.Call or a
// downstream.RequestContent whose content is on its stream as it is. That of HTTP/1.1 is; a
// protocol that cuts content into frames has none.
type spliceSource interface {
	// Source is the stream whose next bytes are content as it is, and how many of them;
	// zero: they are not.
	Source() (from engine.Stream, left int64)
	// Taken says that n of them were taken, and why no more can be, if so.
	Taken(n int64, why error)
}

// A spliceSink is where such content may go: an upstream.Call or a downstream.ResponseWriter
// of HTTP/1.1.
type spliceSink interface {
	// Sink is the stream that takes content as it is; nil: there is none.
	Sink() engine.Stream
}

// splice moves content from one side to the other past this program, if the engine can do
// that with these two, and at least so much of it is left. What was buffered must be gone.
// by bounds the reading, zero: not at all. What is left then goes by copying; if nothing
// was moved, everything should.
func (a *attempt) splice(to, from any, least int64, by time.Duration) engine.Moved {
	x := a.x
	rt, can := x.rt.(engine.Splicer)
	source, has := from.(spliceSource)
	sink, takes := to.(spliceSink)
	if !can || !has || !takes {
		return engine.Moved{}
	}
	src, left := source.Source()
	dst := sink.Sink()
	if left < least || dst == nil {
		return engine.Moved{}
	}
	if from == any(x.client.RequestContent) {
		p := &a.upload
		p.spliced.Store(&src)
		p.waiting.Store(int64(x.rt.Now()))
		defer p.spliced.Store(nil)
		defer p.waiting.Store(0)
	}
	m := rt.Splice(dst, src, left, x.table.Stall, by)
	if m.Taken > 0 || m.ReadErr != nil {
		source.Taken(m.Taken, m.ReadErr)
	}
	return m
}
