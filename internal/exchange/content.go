package exchange

// The request's content as an exchange keeps it, so that a failed attempt can be repeated. The
// client sends content once; attempts after the first need a copy of what was taken from it. The
// copy has at most limits.ReplayBytesMax (64 KiB). What becomes of it:
//
//	keeping ──more than 64 KiB, or spliced──► lost       the request cannot be sent again
//	   │ ▲                                      ▲
//	secure resume (the next attempt)            │ lose: a read was stopped, or content spliced
//	   ▼ │                                      │
//	secured ────────────────────────────────────┘
//
// secured means: it is decided that there is another attempt, and the copy stays complete
// whatever its size. Example of what that prevents, a PUT of which 60 KiB are kept:
//
//	own task       the endpoint answers 503; another attempt is possible: secure
//	forked task    has just read 8 KiB, which make 68: kept, because secured; it ends
//	next attempt   sends 68 KiB, then goes on with the client's content, keeping no more
//
// Without it the forked task would have lost the copy after the 503 was discarded.

import (
	"sync/atomic"

	"github.com/poise-lb/poise/internal/limits"
)

// content is what all attempts of an exchange know of the request's content. One task at a
// time takes content: the exchange's own, or the one that its attempt has forked. Only fate may
// be read and secured by the exchange's task while the forked one runs. Use reset first.
type content struct {
	begun bool         // some content has been taken from the client
	fate  atomic.Int32 // keeping, secured or lost
	kept  []byte       // all content taken so far; empty when lost
	bytes int64        // number of bytes taken, kept or not
	ended atomic.Int64 // instant at which it ended; 0: it has not, or nothing asks: see requestEnded
}

// Values of content.fate.
const (
	keeping int32 = iota // content is kept as long as it fits
	secured              // content is kept whatever its size
	lost                 // kept is incomplete: the request cannot be sent again
)

// lost reports whether the request cannot be sent again. Any task of the exchange may call it.
func (c *content) lost() bool { return c.fate.Load() == lost }

// secure has all content kept that is taken until resume, and reports true; false: some is lost
// already. The caller must then end the task that takes content, so that not much is added.
func (c *content) secure() bool {
	return c.fate.CompareAndSwap(keeping, secured) || c.fate.Load() == secured
}

// resume ends secure when the next attempt begins: from then on content is kept if it fits.
func (c *content) resume() {
	if c.fate.Load() == secured {
		c.fate.CompareAndSwap(secured, keeping)
	}
}

// reset prepares c for another request. The buffer of kept is used again.
func (c *content) reset() {
	c.begun, c.bytes = false, 0
	c.kept = c.kept[:0]
	if c.fate.Load() != keeping { // a store costs much more than a load
		c.fate.Store(keeping)
	}
	if c.ended.Load() != 0 {
		c.ended.Store(0)
	}
}

// lose drops the copy and declares the content lost.
func (c *content) lose() {
	c.kept = c.kept[:0]
	c.fate.Store(lost)
}

// take records data that was taken from the client. It keeps a copy if keep is set and the copy
// fits, or is secured; otherwise the content is lost. data itself is not retained.
func (c *content) take(data []byte, keep bool) {
	c.begun = true
	c.bytes += int64(len(data))
	fits := len(c.kept)+len(data) <= limits.ReplayBytesMax
	if c.lost() || !keep || !fits && c.fate.CompareAndSwap(keeping, lost) {
		c.lose()
		return
	}
	c.kept = append(c.kept, data...)
}

// passed records n bytes that were spliced: there is no copy of them. n may be 0.
func (c *content) passed(n int64) {
	if n == 0 {
		return
	}
	c.begun = true
	c.bytes += n
	c.lose()
}

// room is how many more bytes can be kept; -1: the content is lost.
func (c *content) room() int {
	if c.lost() {
		return -1
	}
	return limits.ReplayBytesMax - len(c.kept)
}
