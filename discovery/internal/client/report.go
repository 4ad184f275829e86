package client

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// repeatEvery is the time between two different errors of one outage: several servers that
// fail take turns, and each has an error of its own.
const repeatEvery = 30 * time.Second

// An outage remembers which error was published last, and when.
type outage struct {
	text string // "" while all is well
	at   time.Time
}

// note reports whether err is to be published: it is the first of an outage, or another
// one than the last after a while.
func (o *outage) note(err error) bool {
	text := err.Error()
	if text == o.text || o.text != "" && time.Since(o.at) < repeatEvery {
		return false
	}
	o.text, o.at = text, time.Now()
	return true
}

// A history is what was published last. The zero value: nothing was.
type history struct {
	last   discovery.Update
	fresh  bool // last was published, and no error since
	outage outage
}

// set reports whether u is to be published: it is another set than the last, or the first
// one after an error, which says that the set is not stale any more.
func (h *history) set(u discovery.Update) bool {
	if h.fresh && slices.EqualFunc(h.last.Endpoints, u.Endpoints, endpoint.Spec.Equal) && slices.Equal(h.last.Rejected, u.Rejected) {
		return false
	}
	h.last, h.fresh, h.outage = u, true, outage{}
	return true
}

// fail reports whether err is to be published. It also ends freshness where it is not: the
// next set is published even if it is the last one again.
func (h *history) fail(err error) bool {
	h.fresh = false
	return h.outage.note(err)
}

// A Reporter publishes what differs from what it published last. It belongs to one
// goroutine, that of the source's Run.
type Reporter struct {
	Publish func(discovery.Update)
	history history
}

// Set publishes a set, unless it was published last, and reports whether it did. The lists
// in it must not be changed afterwards.
func (r *Reporter) Set(u discovery.Update) bool {
	if !r.history.set(u) {
		return false
	}
	r.Publish(u)
	return true
}

// Fail publishes an error, unless this outage's error is known.
func (r *Reporter) Fail(err error) {
	if r.history.fail(err) {
		r.Publish(discovery.Update{Err: err})
	}
}
