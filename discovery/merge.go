package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/poise-lb/poise/endpoint"
)

// Merge returns a source whose set is the union of those of its parts. It publishes once
// every part has published or failed once, and then whenever a part does. A part that
// fails keeps its last set, of which there may be none; the failures of all parts that
// are failing are published after the set, as one error. An endpoint that several parts
// name is that of the first; what any of them rejects is rejected. Without parts it is the empty Static set.
func Merge(sources ...Source) Source {
	switch len(sources) {
	case 0:
		return Static(nil)
	case 1:
		return sources[0]
	}
	return merge(slices.Clone(sources))
}

type merge []Source

// Run runs every part in a goroutine of its own and returns when all have returned. A
// part that can never succeed does not end the others, unless they all give up.
func (m merge) Run(ctx context.Context, publish func(Update)) error {
	s := &merged{parts: make([]part, len(m)), publish: publish}
	errs := make([]error, len(m))
	var running sync.WaitGroup
	for i, source := range m {
		running.Go(func() {
			errs[i] = source.Run(ctx, func(u Update) { s.update(i, u) })
			if errs[i] != nil && ctx.Err() == nil {
				s.update(i, Update{Err: errs[i]})
			}
		})
	}
	running.Wait()
	if slices.Contains(errs, nil) || ctx.Err() != nil {
		return nil
	}
	return errors.Join(errs...)
}

// merged is what the parts have said so far.
type merged struct {
	mu       sync.Mutex // also makes publish be called one at a time
	parts    []part
	complete bool // every part has been heard
	publish  func(Update)
}

type part struct {
	heard bool // published or failed at least once
	known bool // published at least once
	set   []endpoint.Spec
	left  []Reject // of the last set
	err   error    // of the last update
}

func (m *merged) update(i int, u Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &m.parts[i]
	p.heard, p.err = true, u.Err
	if u.Err == nil {
		p.known, p.set, p.left = true, u.Endpoints, u.Rejected
	}
	known := false
	var errs []error
	for _, p := range m.parts {
		if !p.heard {
			return
		}
		known = known || p.known
		errs = append(errs, p.err)
	}
	if known && (u.Err == nil || !m.complete) {
		m.publish(m.union())
	}
	m.complete = true
	if err := errors.Join(errs...); err != nil {
		m.publish(Update{Err: err})
	}
}

func (m *merged) union() Update {
	var out Update
	seen := make(map[endpoint.ID]bool)
	for _, p := range m.parts {
		for _, s := range p.set {
			if !seen[s.ID] {
				seen[s.ID] = true
				out.Endpoints = append(out.Endpoints, s)
			}
		}
		out.Rejected = append(out.Rejected, p.left...)
	}
	return out
}
