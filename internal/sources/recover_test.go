package sources

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// flaky panics in its first runs.
type flaky struct{ runs, bad int }

func (f *flaky) Run(ctx context.Context, publish func(discovery.Update)) error {
	f.runs++
	if f.runs <= f.bad {
		panic("no such thing")
	}
	publish(discovery.Update{Endpoints: []endpoint.Spec{{ID: endpoint.ID{Scheme: "http", Address: "192.0.2.1:80"}}}})
	<-ctx.Done()
	return nil
}

func TestASourceThatPanicsIsRunAgain(t *testing.T) {
	for _, merged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			set := Set{Log: slog.New(slog.NewTextHandler(&log, nil))}
			bad := &flaky{bad: 3}
			c := &config.Source{Custom: bad}
			if merged {
				c = &config.Source{Merge: []config.SourcePart{{Source: *c}, {Source: config.Source{Custom: &flaky{}}}}}
			}
			_, src, err := set.Of("services.web", config.Service{Source: c})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var errs, sets int
			done := make(chan error, 1)
			go func() {
				done <- src.Run(ctx, func(u discovery.Update) {
					if errors.Is(u.Err, errPanicked) {
						errs++
					} else if u.Err == nil {
						sets++
					}
				})
			}()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if bad.runs != 4 || errs < 3 || sets == 0 {
				t.Errorf("merged %v: %d runs, %d errors and %d sets published, want 4, 3 and some", merged, bad.runs, errs, sets)
			}
			if text := log.String(); strings.Count(text, "panic in a source") != 3 || !strings.Contains(text, "flaky).Run") {
				t.Errorf("merged %v: the log has not three panics with their stacks:\n%s", merged, text)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
