package core

// The end of a service that the configuration does not name any more, or that its directory
// forgets. It takes steps, so that exchanges under way are served and a service that is named
// again soon loses nothing:
//
//	0 s    retired      as before: source, probes and endpoints go on
//	       named again before 5 s: revived, with the state of its endpoints
//	5 s    emptied      the source is stopped, the endpoints drain (a second at least)
//	then   ended        no endpoint is left: its tasks are stopped, its connections closed
//
// The housekeeper looks once a second, so each step may come up to a second later.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/compile"
)

// retireAfter is how long a retired service is kept as it was, for exchanges that began under an
// older table, and in case it is named again.
const retireAfter = 5 * time.Second

// retire starts the end of a service. One that never had an endpoint is emptied at the next look:
// there is nothing to keep.
func (p *Proxy) retire(r *liveService) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.retiredAt = p.rt.Now()
	if !r.Known() {
		r.retiredAt -= retireAfter
	}
	p.retired = append(p.retired, r)
}

// revive takes back the retired service of that name, unless it was emptied; nil: there is none. of
// is the directory that asks for it, nil for the configuration itself; a service of a directory is
// taken back only if it was configured by the same plan, as it is not configured again.
func (p *Proxy) revive(name string, of *directory, plan *compile.DirectoryPlan) *liveService {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.retired {
		if r.Name() == name && !r.emptied && r.directory == of && r.plan == plan {
			p.retired = slices.Delete(p.retired, i, i+1)
			return r
		}
	}
	return nil
}

// leaving is the number of services of a directory that were retired and have not ended yet.
func (p *Proxy) leaving(of *directory) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.retired {
		if r.directory == of {
			n++
		}
	}
	for r, ending := range p.live {
		if ending && r.directory == of {
			n++
		}
	}
	return n
}

// stopRetired takes the steps that are due at the instant now: it empties retired services and ends
// emptied ones. The housekeeper calls it; it does not wait.
func (p *Proxy) stopRetired(now time.Duration) {
	var empty, done []*liveService
	p.mu.Lock()
	p.retired = slices.DeleteFunc(p.retired, func(r *liveService) bool {
		switch {
		case !r.emptied && now-r.retiredAt >= retireAfter:
			r.emptied = true
			empty = append(empty, r)
		case r.emptied && len(r.Snapshot()) == 0:
			done = append(done, r)
			return true
		}
		return false
	})
	p.mu.Unlock()
	for _, r := range empty {
		p.rt.Fork(func() { // stopping a source, or a policy, may take long
			r.unfeed()
			r.Update(nil)
		})
	}
	for _, r := range done {
		p.end(r)
	}
}
