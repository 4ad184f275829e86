//go:build linux

package stage

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A client is one connection of an open loop.
type client struct {
	*task
	due time.Time // of the request under way; zero: none
}

// connection is one of an open loop.
func (ld *load) connection(t *task) error {
	c := &client{task: t}
	ld.clients = append(ld.clients, c)
	err := ld.open(c)
	c.due = time.Time{} // what is lost makes the turn void
	return err
}

// open is a connection on which requests are sent when they are due.
func (ld *load) open(c *client) error {
	rw, _, err := ld.connect(c.task)
	if err != nil {
		return err
	}
	buf := make([]byte, headMax)
	for {
		c.due = time.Time{}
		if len(ld.queue) > 0 {
			c.due = ld.queue[0]
			ld.queue = ld.queue[1:]
		} else {
			ld.free = append(ld.free, c)
			if err := c.await(unix.EPOLLIN); err != nil {
				return err
			}
			if c.due.IsZero() {
				ld.forget(c)
				return errors.New("an idle connection was ended")
			}
		}
		if err := ld.do(rw, buf); err != nil {
			return err
		}
		ld.latency.add(time.Since(c.due))
	}
}

// send has a free connection send the request that is due now.
func (ld *load) send(now time.Time) {
	if len(ld.free) == 0 {
		ld.queue = append(ld.queue, ld.due)
		return
	}
	c := ld.free[len(ld.free)-1]
	ld.free = ld.free[:len(ld.free)-1]
	c.due = ld.due
	ld.late.add(now.Sub(ld.due))
	c.next()
}

// forget takes a connection out of those that are free.
func (ld *load) forget(c *client) {
	ld.free = slices.DeleteFunc(ld.free, func(f *client) bool { return f == c })
}

// unanswered counts requests that were due and are not answered, with what they have waited
// so far: left out, they would make a proxy that stalls look quick.
func (ld *load) unanswered() {
	now := time.Now()
	for _, due := range ld.queue {
		ld.latency.add(now.Sub(due))
	}
	for _, c := range ld.clients {
		if !c.due.IsZero() {
			ld.latency.add(now.Sub(c.due))
		}
	}
}
