package loop

import "github.com/poise-lb/poise/internal/invariants"

const (
	// buffersMax bounds the buffers that are kept for later: few are in use between two
	// waits.
	buffersMax = 16
	// bufferBytes is the size of a new buffer. It grows by appending, and keeps that.
	bufferBytes = 4 << 10
)

// buffers are those of a loop, for bytes that are not sent yet. An idle connection has none.
type buffers struct{ spare [][]byte }

// take returns an empty buffer.
func (b *buffers) take() []byte {
	if n := len(b.spare); n > 0 {
		got := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return got
	}
	return make([]byte, 0, bufferBytes)
}

// give takes back a buffer; nil is none.
func (b *buffers) give(back []byte) {
	if back == nil {
		return
	}
	if invariants.Enabled {
		invariants.Poison(back)
	}
	if len(b.spare) < buffersMax {
		b.spare = append(b.spare, back[:0])
	}
}
