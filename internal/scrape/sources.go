package scrape

// The families of sources.

import (
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/metric"
)

// ofSources visits the families of sources. Of a source that is made of several each part has series
// of its own, by its name; removals are held of their union only, whose name is merge.
func (s *scrape) ofSources(each func(*metric.Family, func(*serviceFigures))) {
	parts := func(f *serviceFigures, visit func(p *service.PartStatus)) {
		for i := range f.source.Parts {
			visit(&f.source.Parts[i])
		}
		if f.source.Parts == nil {
			visit(&service.PartStatus{Name: f.kind, Age: f.source.Age, Rejects: f.source.Rejects, Counts: f.source.Counts})
		}
	}
	each(&metric.SourceStale, func(f *serviceFigures) {
		parts(f, func(p *service.PartStatus) { s.value(p.Age.Seconds(), 0, f.name, p.Name) })
	})
	each(&metric.SourceHeld, func(f *serviceFigures) { s.value(float64(f.held), 0, f.name, f.kind) })
	each(&metric.SourceRejected, func(f *serviceFigures) {
		parts(f, func(p *service.PartStatus) { s.value(float64(p.Rejects), 0, f.name, p.Name) })
	})
	each(&metric.SourceUpdates, func(f *serviceFigures) {
		parts(f, func(p *service.PartStatus) {
			s.value(float64(p.Counts.Applied), 0, f.name, p.Name, "applied")
			s.value(float64(p.Counts.Failed), 0, f.name, p.Name, "failed")
		})
		s.value(float64(f.source.Counts.Held), 0, f.name, f.kind, "held")
	})
}

// SourceKind is the word for the source of a service in a configuration, which is the value of the
// label source: its key, or list for endpoints that the configuration lists. A service that a request
// has named has that of its discover entry.
func SourceKind(c *config.Config, name string) string {
	from := c.Services[name].Source
	if entry, _, discovered := strings.Cut(name, "/"); discovered {
		d := c.Discover[entry]
		from = &d.Source
	}
	if from == nil {
		return "list"
	}
	return from.Kind()
}
