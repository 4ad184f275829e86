package exchange

import (
	"sync/atomic"

	"github.com/poise-lb/poise/internal/limits"
)

// content is what has been taken of the request's content. All attempts of an exchange
// share it: the client sends it once, and what is kept of it can be sent again. One task at
// a time takes content: the exchange's own, or the one that its attempt has forked.
type content struct {
	begun bool        // some has been taken from the client
	lost  atomic.Bool // kept is not all of it: the request cannot be sent again
	kept  []byte      // all content so far, until lost
	bytes int64       // how much was taken
}

func (c *content) reset() {
	c.begun, c.bytes = false, 0
	c.drop(false)
}

// drop forgets what was kept. lost says that something was.
func (c *content) drop(lost bool) {
	c.kept = c.kept[:0]
	c.lost.Store(lost)
}

// take notes data that was taken from the client, and keeps it for another attempt if keep
// says so and it fits with what was kept before.
func (c *content) take(data []byte, keep bool) {
	c.begun = true
	c.bytes += int64(len(data))
	if c.lost.Load() || !keep || len(c.kept)+len(data) > limits.ReplayBytesMax {
		c.drop(true)
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
	c.drop(true)
}

// room is how much more can be kept; negative: none of it is.
func (c *content) room() int {
	if c.lost.Load() {
		return -1
	}
	return limits.ReplayBytesMax - len(c.kept)
}
