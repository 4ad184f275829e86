package core

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

// TestAServiceThatDoesNotEnd: a service that does not end delays neither the end of others, nor
// the housekeeper, nor Close, which names it.
func TestAServiceThatDoesNotEnd(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		w := virtual.New(1)
		rt, reg := w.Runtime(), newRegistry()
		reg.set("/stuck", "10.0.0.1:80")
		reg.set("/fine", "10.0.0.2:80")
		reg.set("/stuck/too", "10.0.0.3:80")
		var free []engine.Signal // one for each stop that waits
		startSource := func(src discovery.Source, publish func(discovery.Update)) (stop func()) {
			end := reg.start(src, publish)
			if src.(watching).name == "/fine" {
				return end
			}
			mine := rt.NewSignal()
			free = append(free, mine)
			return func() { mine.Wait(0); end() }
		}
		from := func(path string) config.Service {
			return config.Service{Source: &config.Source{File: &config.FileSource{Path: path}}, Guard: config.Guard{MaxRemoval: -1}}
		}
		w.Go("test", func() {
			c := config.Config{Services: map[string]config.Service{"stuck": from("/stuck"), "fine": from("/fine"), "gone": from("/stuck/too")},
				Routes: []config.Route{{Service: "stuck"}}}
			p, err := New(rt, c, Options{Logger: slog.New(slog.DiscardHandler), Feed: reg.feed, Start: startSource})
			if err != nil {
				t.Error(err)
				return
			}
			delete(c.Services, "gone")
			delete(c.Services, "fine")
			if err := p.Apply(c); err != nil {
				t.Error(err)
			}
			rt.Sleep(rt.Now() + 2*retireAfter)
			if got := reg.names(); !slices.Equal(got, []string{"/stuck", "/stuck/too"}) {
				t.Errorf("watched: %q", got)
			}
			rt.Sleep(rt.Now() + retireAfter) // "fine" has ended, too
			if got := p.Left(); !slices.Equal(got, []string{"gone", "stuck"}) {
				t.Errorf("services at work: %q", got)
			}
			if hurry {
				p.Hurry()
			}
			began := rt.Now()
			p.Close()
			most := endFor
			if hurry {
				most = breakFor
			}
			if took := rt.Now() - began; took > most+time.Second {
				t.Errorf("Close took %v", took)
			}
			if got := p.Left(); !slices.Equal(got, []string{"stuck"}) {
				t.Errorf("left: %q", got)
			}
			for _, f := range free {
				f.Set()
			}
			rt.Sleep(rt.Now() + time.Second)
			if got := p.Left(); len(got) > 0 {
				t.Errorf("left in the end: %q", got)
			}
		})
		if err := w.Run(); err != nil {
			t.Fatal(err)
		}
	}
}
