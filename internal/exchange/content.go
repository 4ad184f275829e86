package exchange

import (
	"sync/atomic"

	"github.com/poise-lb/poise/internal/limits"
)

// content is what has been taken of the request's content. All attempts of an exchange
// share it: the client sends it once, and what is kept of it can be sent again. One task at
// a time takes content: the exchange's own, or the one that its attempt has forked.
type content struct {
	begun bool         // some has been taken from the client
	fate  atomic.Int32 // keeping, secured or lost
	kept  []byte       // all content so far, until lost
	bytes int64        // how much was taken
}

// What becomes of content that was taken.
const (
	keeping int32 = iota // as long as it fits
	secured              // also what does not fit: another attempt is certain to send it
	lost                 // kept is not all of it: the request cannot be sent again
)

func (c *content) lost() bool { return c.fate.Load() == lost }

// secure has all content kept that is taken until the next attempt begins; false: some is
// lost already. The task that takes content must be about to end, so that there is little.
func (c *content) secure() bool {
	return c.fate.CompareAndSwap(keeping, secured) || c.fate.Load() == secured
}

// resume begins another attempt, which keeps content as long as it fits.
func (c *content) resume() { c.fate.CompareAndSwap(secured, keeping) }

func (c *content) reset() {
	c.begun, c.bytes = false, 0
	c.kept = c.kept[:0]
	c.fate.Store(keeping)
}

// lose forgets what was kept.
func (c *content) lose() {
	c.kept = c.kept[:0]
	c.fate.Store(lost)
}

// take notes data that was taken from the client, and keeps it for another attempt if keep
// says so and it fits with what was kept before.
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

// passed notes n bytes that went from the client to the endpoint without being seen.
func (c *content) passed(n int64) {
	if n == 0 {
		return
	}
	c.begun = true
	c.bytes += n
	c.lose()
}

// room is how much more can be kept; negative: none of it is.
func (c *content) room() int {
	if c.lost() {
		return -1
	}
	return limits.ReplayBytesMax - len(c.kept)
}
