package compile

import (
	"context"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

type (
	pointed struct {
		_ map[string]int
		_ func()
	}
	plain  struct{ name string }
	holds  struct{ f func() }
	boxed  struct{ inner any }
	mapped map[string]int
	listed []string
	called func()
)

func (*pointed) Run(context.Context, func(discovery.Update)) error { return nil }
func (plain) Run(context.Context, func(discovery.Update)) error    { return nil }
func (holds) Run(context.Context, func(discovery.Update)) error    { return nil }
func (boxed) Run(context.Context, func(discovery.Update)) error    { return nil }
func (mapped) Run(context.Context, func(discovery.Update)) error   { return nil }
func (listed) Run(context.Context, func(discovery.Update)) error   { return nil }
func (called) Run(context.Context, func(discovery.Update)) error   { return nil }

func TestWhichCustomSourcesAreTheSame(t *testing.T) {
	p, m, l := &pointed{}, mapped{}, listed{"a"}
	h := holds{func() {}}
	f := called(func() {})
	spec := func(a string) discovery.Static {
		return discovery.Static{{ID: endpoint.ID{Scheme: "http", Address: a}}}
	}
	for _, test := range []struct {
		what string
		a, b discovery.Source
		same bool
	}{
		{"nothing", nil, nil, true},
		{"nothing and one", nil, p, false},
		{"one pointer", p, p, true},
		{"two pointers", p, &pointed{}, false},
		{"equal values", plain{"a"}, plain{"a"}, true},
		{"other values", plain{"a"}, plain{"b"}, false},
		{"other types", plain{"a"}, boxed{"a"}, false},
		{"a function within", h, h, false},
		{"a map within an interface", boxed{m}, boxed{m}, false},
		{"a pointer within an interface", boxed{p}, boxed{p}, true},
		{"one map", m, m, true},
		{"two maps", m, mapped{}, false},
		{"one slice", l, l, true},
		{"two slices", l, listed{"a"}, false},
		{"a function", f, f, false},
		{"equal lists", spec("a:1"), spec("a:1"), true},
		{"other lists", spec("a:1"), spec("a:2"), false},
		{"a list and another type", spec("a:1"), p, false},
	} {
		if got := sameCustom(test.a, test.b); got != test.same {
			t.Errorf("%s: %v", test.what, got)
		}
		part := func(s discovery.Source) *config.Source {
			return &config.Source{Merge: []config.SourcePart{{Source: config.Source{Custom: s}}, {Source: config.Source{File: &config.FileSource{Path: "x"}}}}}
		}
		if got := SameSource(part(test.a), part(test.b)); got != test.same {
			t.Errorf("%s, as a part of a merge: %v", test.what, got)
		}
	}
	file := func(path string) *config.Source { return &config.Source{File: &config.FileSource{Path: path}} }
	if !SameSource(file("a"), file("a")) || SameSource(file("a"), file("b")) || SameSource(file("a"), nil) || !SameSource(nil, nil) {
		t.Error("what a configuration says is compared by value")
	}
}
