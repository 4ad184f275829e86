package core

import (
	"cmp"
	"time"
)

// What bounds the services of a directory, whose names come from requests: how many there
// are at once, and how many begin in a second. A client that makes names up must not cost the
// services that others use.

// scanMost bounds the services among which one is chosen to make room.
const scanMost = 1000

// room makes room for one more service and reports whether there is some. Those that the
// registry does not know go first, then the ones not used for longest: a flood of made-up
// names costs the others little. Services that are still being stopped count as far as
// they are more than a tenth, so that the flood cannot start sources faster than they end.
// Called with mu held.
func (d *directory) room() bool {
	most := d.plan.Config.Max
	if d.proxy.leaving(d) > max(16, most/10) {
		return false
	}
	if len(d.live) < most {
		return true
	}
	var first *discovered
	seen := 0
	for _, e := range d.live {
		if e.uses.Idle() && (first == nil || worth(e, first) < 0) {
			first = e
		}
		if seen++; seen == scanMost {
			break
		}
	}
	if first == nil || !first.uses.Forget() {
		return false
	}
	d.drop(first)
	return true
}

// worth orders services by how much it would cost to forget them.
func worth(a, b *discovered) int {
	switch known := b.Known(); {
	case a.Known() == known:
		return cmp.Or(cmp.Compare(a.uses.Last(), b.uses.Last()), cmp.Compare(a.name, b.name))
	case known:
		return -1
	}
	return 1
}

// drop retires a service. Called with mu held.
func (d *directory) drop(e *discovered) {
	delete(d.live, e.name)
	e.liveService.plan = e.plan
	d.proxy.retire(e.liveService)
	d.note(change{e: e, gone: true})
}

// A pace bounds how often something begins: rate times a second, and burst seconds' worth
// at once. The zero value has not begun anything.
type pace struct{ due time.Duration }

// burst is for how many seconds a pace may be used up at once.
const burst = 10

// take reports whether one more may begin now.
func (p *pace) take(now time.Duration, rate int) bool {
	p.due = max(p.due, now)
	if p.due-now > burst*time.Second-time.Second/time.Duration(rate) {
		return false
	}
	p.due += time.Second / time.Duration(rate)
	return true
}
