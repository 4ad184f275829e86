package exchange

// Splicing: the kernel moves content from one connection to the other through a pipe, and this
// process never sees it (engine.Splicer; Linux has it for plain TCP). It is used for content of
// 64 KiB and more that is on the wire exactly as it is, and that no filter looks at:
//
//	GET of 1 GiB, both sides HTTP/1.1 without TLS    spliced
//	the same over TLS, or chunked, or with HTTP/2    copied
//	PUT of 64 KiB                                    copied: it can be kept for another attempt
//	PUT of 100 KiB                                   spliced: it is too large to be kept

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// spliceMin is how many bytes must be left for a splice to cost less than copying.
const spliceMin = 64 << 10

// A spliceSource is an upstream.Call or a downstream.RequestContent whose content is on its
// stream unchanged, as that of HTTP/1.1 with a length is. Protocols that cut content into frames
// do not implement it, nor does content that filters see.
type spliceSource interface {
	// Source returns the stream and how many of its next bytes are content; 0: its next
	// bytes are not content, or some content is still buffered.
	Source() (from engine.Stream, left int64)
	// Taken reports that n of these bytes were taken from the stream, and the error that
	// ended it; nil: there was none.
	Taken(n int64, why error)
}

// A spliceSink is an upstream.Call or a downstream.ResponseWriter that takes such content: those
// of HTTP/1.1.
type spliceSink interface {
	// Sink returns the stream to which content can be written unchanged; nil: none, at the
	// moment or at all.
	Sink() engine.Stream
}

// splice moves content from from to to within the kernel, if the engine and both sides can do
// that and at least least bytes are left. The caller must have flushed what is buffered. by is
// the deadline of reading; 0: none. Each wait is also bounded by Table.Stall. The calling task
// waits. What is left afterwards must be copied; if Moved.Taken is 0, the caller should not try
// again.
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
