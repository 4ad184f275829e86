package sources

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/internal/compile"
)

// Each part of a merge is heard by its name, what it gives up with included; shadows are not.
func TestPartsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, shadow, other := newTold(), newTold(), newTold()
		var s Set
		_, src, err := s.Of("services.g", config.Service{Source: &config.Source{Merge: []config.SourcePart{
			{Source: config.Source{Custom: one}}, {Source: config.Source{Custom: shadow}, Shadow: true}, {Source: config.Source{Custom: other}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var heard []string
		names := src.(compile.Parts).Tap(func(name string, u discovery.Update) {
			mu.Lock()
			defer mu.Unlock()
			if u.Err != nil {
				name += " " + u.Err.Error()
			}
			heard = append(heard, name)
		})
		if !slices.Equal(names, []string{"custom", "custom-2"}) {
			t.Errorf("the parts are %v", names)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- src.Run(ctx, func(discovery.Update) {}) }()
		shadow.set("x")
		one.set("a")
		synctest.Wait()
		other.updates <- discovery.Update{Err: errors.New("refused")}
		synctest.Wait()
		other.end <- errors.New("never")
		synctest.Wait()
		one.set("b")
		synctest.Wait()
		cancel()
		<-ended
		if want := []string{"custom", "custom-2 refused", "custom-2 never", "custom"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		_, plain, err := s.Of("services.g", config.Service{Source: &config.Source{Custom: one}})
		if err != nil {
			t.Fatal(err)
		}
		if names := plain.(compile.Parts).Tap(nil); names != nil {
			t.Errorf("a source without parts has %v", names)
		}
	})
}
