package sources

import (
	"context"
	"fmt"
	"slices"

	"github.com/poise-lb/poise/discovery"
)

// parts is a source that is made of several, each of which has a name: its kind, and from the second
// one of a kind on a number behind it, as in consul, nacos, consul-2. It is a compile.Parts.
type parts struct {
	discovery.Source // the union
	all              []*part
}

// A part is a source that tells by its name what it publishes.
type part struct {
	name   string
	source discovery.Source
	hear   func(name string, u discovery.Update) // nil: it is not listened to
}

// add makes a part of a source of that kind.
func (p *parts) add(kind string, src discovery.Source) *part {
	name := kind
	for n := 2; slices.ContainsFunc(p.all, func(o *part) bool { return o.name == name }); n++ {
		name = fmt.Sprint(kind, "-", n)
	}
	one := &part{name: name, source: src}
	p.all = append(p.all, one)
	return one
}

// Tap has hear called with what each part publishes, and returns their names. It is called before
// Run.
func (p *parts) Tap(hear func(name string, u discovery.Update)) (names []string) {
	for _, one := range p.all {
		one.hear = hear
		names = append(names, one.name)
	}
	return names
}

// Run runs the source. That it gives up is the last that is heard of it.
func (p *part) Run(ctx context.Context, publish func(discovery.Update)) error {
	if p.hear == nil {
		return p.source.Run(ctx, publish)
	}
	err := p.source.Run(ctx, func(u discovery.Update) {
		p.hear(p.name, u)
		publish(u)
	})
	if err != nil && ctx.Err() == nil {
		p.hear(p.name, discovery.Update{Err: err})
	}
	return err
}
