package sources

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// sourceFunc is a source made of a function.
type sourceFunc func(ctx context.Context, publish func(discovery.Update)) error

func (f sourceFunc) Run(ctx context.Context, publish func(discovery.Update)) error {
	return f(ctx, publish)
}

// TestASourceThatDoesNotEnd is left behind, and what it publishes from then on goes nowhere.
func TestASourceThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Set{Log: slog.New(slog.DiscardHandler)}
		release := make(chan struct{})
		published := 0
		stop := s.Start(sourceFunc(func(ctx context.Context, publish func(discovery.Update)) error {
			<-release
			publish(discovery.Update{})
			return errors.New("late")
		}), func(discovery.Update) { published++ })
		began := time.Now()
		stop()
		if took := time.Since(began); took != stopFor {
			t.Errorf("stop took %v, want %v", took, stopFor)
		}
		if s.Strays() != 1 {
			t.Error("it is not counted")
		}
		close(release)
		synctest.Wait()
		if published != 0 || s.Strays() != 0 {
			t.Errorf("published %d times, %d left", published, s.Strays())
		}
	})
}
