package demo

// When a service of the demonstration is down.

import (
	"context"
	"time"
)

// An Outage is the plan by which a service stops answering and comes back, again and
// again.
type Outage struct {
	First time.Duration // until the service stops for the first time
	Down  time.Duration // how long it does not answer
	Every time.Duration // from one stop to the next
}

// PlanFor fits the outage into a demonstration of that length; 0 has no end.
func PlanFor(length time.Duration) Outage {
	o := Outage{First: 8 * time.Second, Down: 8 * time.Second, Every: 30 * time.Second}
	if length > 0 && length < o.First+2*o.Down {
		o.First, o.Down, o.Every = length/4, length/4, 2*length
	}
	return o
}

// Run plays the plan until ctx is done, and then leaves the service answering. set is
// called from Run's goroutine.
func (o Outage) Run(ctx context.Context, set func(down bool)) {
	defer set(false)
	for wait := o.First; ; wait = o.Every - o.Down {
		if !sleep(ctx, wait) {
			return
		}
		set(true)
		if !sleep(ctx, o.Down) {
			return
		}
		set(false)
	}
}

// sleep reports false if ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
