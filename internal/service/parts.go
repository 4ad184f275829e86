package service

// The parts of a source that is made of several (merge). The service works with their union; here is
// only what each part has said, so that an operator sees which of them fails:
//
//	consul   a set, a set            2 applied
//	nacos    a set, an error         1 applied, 1 failed, stale since the error
//
// The counters belong to the name of a part and outlive Renew; the rest is forgotten by it.

import (
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A part is the state of one part. It is guarded by Service.mu.
type part struct {
	counts  SourceCounts
	from    time.Duration // instant since which it fails; 0: it does not
	rejects int           // entries of its latest set
}

// A PartStatus is the state of one part of a source at one moment.
type PartStatus struct {
	Name    string        // the kind of the source, with a number behind if there are several of it
	Age     time.Duration // for how long its last set may have been out of date; 0: it is not
	Rejects int           // entries of its latest set that were rejected
	Counts  SourceCounts  // Held is 0: sets are guarded as a whole
}

// parts are those of the source in use, by name, and the state of all that there ever were. The zero
// value is a source without parts. It is guarded by Service.mu.
type parts struct {
	names []string
	all   map[string]*part
}

// SetParts says of which parts the source consists that names the sets from now on; none: it is one.
// Any goroutine may call it.
func (s *Service) SetParts(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts.names = names
	for _, name := range names {
		p := s.parts.all[name]
		if p == nil {
			if s.parts.all == nil {
				s.parts.all = make(map[string]*part)
			}
			p = new(part)
			s.parts.all[name] = p
		}
		p.from, p.rejects = 0, 0
	}
}

// HearPart records what one part has published. It does not change the set in use: Take does. Any
// goroutine may call it.
func (s *Service) HearPart(name string, u discovery.Update) {
	now := s.rt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts.all[name]
	switch {
	case p == nil:
	case u.Err == nil:
		p.counts.Applied++
		p.from, p.rejects = 0, len(u.Rejected)
	default:
		p.counts.Failed++
		if p.from == 0 {
			p.from = now
		}
	}
}

// status of the parts in use. Called with mu held.
func (p *parts) status(now time.Duration) []PartStatus {
	var out []PartStatus
	for _, name := range p.names {
		one := p.all[name]
		s := PartStatus{Name: name, Rejects: one.rejects, Counts: one.counts}
		if one.from > 0 {
			s.Age = now - one.from
		}
		out = append(out, s)
	}
	return out
}
