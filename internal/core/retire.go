package core

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/compile"
)

// retireAfter is how long a service that is not named any more is kept as it was, for
// exchanges that began under an older table, and in case it is named again.
const retireAfter = 5 * time.Second

// retire lets a service go: after retireAfter, or soon if it never had an endpoint.
func (p *Proxy) retire(r *liveService) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.retiredAt = p.rt.Now()
	if !r.Known() {
		r.retiredAt -= retireAfter
	}
	p.retired = append(p.retired, r)
}

// revive takes back the service of that name if it was retired a moment ago, with what
// is known of its endpoints; if a directory had it, only as the plan wants it.
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

// leaving counts the retired services of a directory that are not stopped yet.
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

// dismiss has retired services drain their endpoints, and then stops them.
func (p *Proxy) dismiss(now time.Duration) {
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
		p.rt.Fork(func() { // its source or its policy may take their time
			r.unfeed()
			r.Update(nil)
		})
	}
	for _, r := range done {
		p.end(r)
	}
}
