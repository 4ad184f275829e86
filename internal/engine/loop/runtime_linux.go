package loop

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// What a loop offers to its tasks beside the scheduler's part: connecting, watching and
// splicing. Only here do plain streams and those under TLS meet; streams know of TLS no
// more than that something above them may have bytes to send.

var (
	_ engine.Runtime = (*loop)(nil)
	_ engine.Splicer = (*loop)(nil)
)

// Dial connects to an address and, if asked, performs the TLS handshake.
func (l *loop) Dial(d *engine.Dial) (engine.Stream, error) {
	s, err := l.dial(d)
	if err != nil {
		return nil, dialError(d, err)
	}
	if len(d.Preface) > 0 {
		s.SetWriteDeadline(d.By)
		if _, err := s.Write(d.Preface); err != nil {
			s.Close()
			return nil, dialError(d, err)
		}
		s.SetWriteDeadline(0)
	}
	if d.TLS == nil {
		return s, nil
	}
	t, err := secureTo(s, d.TLS, d.By)
	if err != nil {
		return nil, dialError(d, err)
	}
	return t, nil
}

// Watch has events of client interrupt up; one stream at a time watches a client.
func (l *loop) Watch(client engine.Stream, up engine.Interrupter) {
	if c := below(client); c != nil {
		c.flags &^= patient
		c.watch(up, gone)
	}
}

// WatchReset leaves a FIN alone, unless TLS is spoken: a client of that says that it ends
// before it sends one.
func (l *loop) WatchReset(client engine.Stream, up engine.Interrupter) {
	c, plain := client.(*stream)
	if !plain {
		l.Watch(client, up)
		return
	}
	c.flags |= patient
	c.watch(up, broken)
}

// Unwatch ends Watch.
func (l *loop) Unwatch(client engine.Stream, up engine.Interrupter) {
	if c := below(client); c != nil && c.up == up {
		c.up = nil
	}
}

// Splice moves bytes by way of a pipe. Two streams of this package on one loop can have
// that; after urgent data, which a pipe cannot pass, they cannot.
func (l *loop) Splice(dst, src engine.Stream, n int64, stall, by time.Duration) engine.Moved {
	to, toOK := dst.(*stream)
	from, fromOK := src.(*stream)
	if !toOK || !fromOK || to.loop != l || from.loop != l || to.above != nil || from.above != nil {
		return engine.Moved{}
	}
	return l.splice(to, from, n, stall, by)
}

// below is the stream on which s is spoken, which may be s; nil: another driver's.
func below(s engine.Stream) *stream {
	switch s := s.(type) {
	case *stream:
		return s
	case *secure:
		return s.s
	}
	return nil
}
