package core

// The bounds on the services of a directory, whose names come from requests: how many there are
// at once (max), and how many begin in a second (start_rate). A client that makes up names must
// not harm the services that other clients use. With max 100 and start_rate 5:
//
//	100 names of real services are in use; a client asks for made-up names
//	  a made-up name      takes the place of an idle service: of one that its registry does not
//	                      know, if there is one, else of the one that was not used for longest
//	  the next ones       take each other's place, since their registry does not know them
//	  too many of them    after 50 at once (10 s of start_rate) 5 per second; more than 16 that
//	                      are still ending also refuse new ones: 503 too-many-services

import (
	"cmp"
	"time"
)

// scanMost is how many services room looks at to choose the one that has to go.
const scanMost = 1000

// room reports whether one more service may begin, and retires one if there are max already. Only
// a service without exchanges is retired. It also refuses while more than a tenth of max, or 16 if
// that is more, are still ending, so that a flood of names cannot start sources faster than they
// end. Called with mu held.
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

// worth compares the cost of forgetting a and b: unknown to the registry before known, then
// unused for longer before used lately. Negative: a goes first.
func worth(a, b *discovered) int {
	switch known := b.Known(); {
	case a.Known() == known:
		return cmp.Or(cmp.Compare(a.uses.Last(), b.uses.Last()), cmp.Compare(a.name, b.name))
	case known:
		return -1
	}
	return 1
}

// drop removes a service from the directory and retires it. Called with mu held.
func (d *directory) drop(e *discovered) {
	delete(d.live, e.name)
	e.liveService.plan = e.plan
	d.proxy.retire(e.liveService)
	d.note(change{e: e, gone: true})
}

// A pace is a rate limit: rate times a second, and up to burst seconds' worth at once. due is the
// instant until which the rate is used up. The zero value has used up nothing.
type pace struct{ due time.Duration }

// burst is how many seconds' worth of a pace may be taken at once.
const burst = 10

// take reports whether one more may begin at the instant now, and counts it if so. rate is per
// second, above 0.
func (p *pace) take(now time.Duration, rate int) bool {
	p.due = max(p.due, now)
	if p.due-now > burst*time.Second-time.Second/time.Duration(rate) {
		return false
	}
	p.due += time.Second / time.Duration(rate)
	return true
}
