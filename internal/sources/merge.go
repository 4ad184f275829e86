package sources

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/tags"
)

// merge is the union of the parts of a source that are not shadows, compared with those that are.
func (s *Set) merge(path string, of []config.SourcePart) (discovery.Source, error) {
	c := &compared{log: s.log().With("source", path)}
	var live []discovery.Source
	var all parts
	for i, part := range of {
		at := config.Index(path, i)
		src, err := s.source(at, &part.Source)
		if err != nil {
			return nil, err
		}
		if part.Shadow {
			c.shadows = append(c.shadows, shadow{name: kind(&part.Source), source: src})
		} else {
			live = append(live, all.add(kind(&part.Source), src))
		}
	}
	c.live = discovery.Merge(live...)
	if all.Source = c; len(c.shadows) == 0 {
		all.Source = c.live
	}
	return &all, nil
}

// kind is the key of the field that is given; empty if none is.
func kind(s *config.Source) string {
	v := reflect.ValueOf(*s)
	for _, f := range make(tags.Model).Of(v.Type()) {
		if f.Name != "" && !v.FieldByIndex(f.Index).IsNil() {
			return f.Name
		}
	}
	if s.Custom != nil {
		return "custom"
	}
	return ""
}

const (
	// A change arrives through two registries at two times. Only what still differs when
	// nothing has changed for this long is worth a line, or when it has gone on for settleMax.
	settle    = 2 * time.Second
	settleMax = 10 * time.Second

	namesMax = 10 // endpoints named in a line; the rest are counted
)

// compared is a source that runs shadows beside it and reports how they differ from it.
type compared struct {
	live    discovery.Source
	shadows []shadow
	log     *slog.Logger
}

type shadow struct {
	name   string
	source discovery.Source
}

// Run runs the live source on its own goroutine, as if there were no shadows, and returns
// what it returns once the shadows have ended, too.
func (c *compared) Run(ctx context.Context, publish func(discovery.Update)) error {
	ctx, cancel := context.WithCancel(ctx)
	seen := &sightings{sets: make([][]endpoint.Spec, len(c.shadows)+1), changed: make(chan struct{}, 1)}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i, sh := range c.shadows {
		running.Go(func() { c.follow(ctx, sh, func(set []endpoint.Spec) { seen.saw(i, set) }) })
	}
	running.Go(func() { c.compare(ctx, seen) })
	return c.live.Run(ctx, func(u discovery.Update) {
		publish(u)
		if u.Err == nil {
			seen.saw(len(c.shadows), u.Endpoints)
		}
	})
}

// follow runs one shadow. That it is stale is reported once, and so is the end of that.
func (c *compared) follow(ctx context.Context, sh shadow, saw func([]endpoint.Spec)) {
	stale := false
	err := sh.source.Run(ctx, func(u discovery.Update) {
		switch {
		case u.Err == nil:
			stale = false
			saw(u.Endpoints)
		case !stale:
			stale = true
			c.log.Warn("shadow is stale", "shadow", sh.name, "error", u.Err)
		}
	})
	if err != nil && ctx.Err() == nil {
		c.log.Error("shadow has ended", "shadow", sh.name, "error", err)
	}
}

// compare reports every difference that lasts, once, and of its end.
func (c *compared) compare(ctx context.Context, seen *sightings) {
	told := make([]string, len(c.shadows))
	for seen.settled(ctx) {
		for i, sh := range c.shadows {
			inUse, inShadow, known := seen.differences(i)
			text := fmt.Sprint(inUse, inShadow)
			if !known || text == told[i] {
				continue
			}
			if told[i] = text; len(inUse)+len(inShadow) == 0 {
				c.log.Info("shadow agrees", "shadow", sh.name)
				continue
			}
			c.log.Warn("shadow differs", "shadow", sh.name, "only_in_use", bounded(inUse), "only_in_shadow", bounded(inShadow),
				"only_in_use_count", len(inUse), "only_in_shadow_count", len(inShadow))
		}
	}
}

// sightings are the sets that were published last: those of the shadows, then the one that
// is used. Sources do not change a set they have published.
type sightings struct {
	changed chan struct{}

	mu   sync.Mutex
	sets [][]endpoint.Spec // nil: not known
}

func (s *sightings) saw(i int, set []endpoint.Spec) {
	if set == nil {
		set = []endpoint.Spec{}
	}
	s.mu.Lock()
	s.sets[i] = set
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// settled waits for a change and then for a while without one. It is false at the end.
func (s *sightings) settled(ctx context.Context) bool {
	select {
	case <-s.changed:
	case <-ctx.Done():
		return false
	}
	latest := time.NewTimer(settleMax)
	defer latest.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-s.changed:
			quiet.Reset(settle)
		case <-quiet.C:
			return true
		case <-latest.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// differences compares shadow i with what is used. known is false while one is not.
func (s *sightings) differences(i int) (inUse, inShadow []string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used, shadow := s.sets[len(s.sets)-1], s.sets[i]
	if used == nil || shadow == nil {
		return nil, nil, false
	}
	return without(used, shadow), without(shadow, used), true
}

// without are the URLs of a that b has not, in order.
func without(a, b []endpoint.Spec) []string {
	has := make(map[endpoint.ID]bool, len(b))
	for _, s := range b {
		has[s.ID] = true
	}
	var out []string
	for _, s := range a {
		if !has[s.ID] {
			has[s.ID] = true // named once
			out = append(out, s.URL())
		}
	}
	slices.Sort(out)
	return out
}

// bounded names some and counts the rest.
func bounded(names []string) string {
	if len(names) <= namesMax {
		return strings.Join(names, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namesMax], " "), len(names)-namesMax)
}
