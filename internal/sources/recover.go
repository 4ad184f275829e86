package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// errPanicked is wrapped by the error of a source that panicked.
var errPanicked = errors.New("the source panicked")

// recovered is a source whose panics end neither the process nor the source: each one is
// logged with its stack and published as an error, so that the last set stays in use, and
// the source is run again after a growing pause. Sources may be the embedder's code, and
// every source reads what a server on the network says.
type recovered struct {
	source  discovery.Source
	path    string // in the configuration, for the log
	log     *slog.Logger
	backoff discovery.Backoff // as at the beginning of a Run
}

// Run runs the source until it returns or ctx is done.
func (r *recovered) Run(ctx context.Context, publish func(discovery.Update)) error {
	pause := r.backoff
	for {
		err := r.once(ctx, func(u discovery.Update) {
			if u.Err == nil {
				pause.Reset()
			}
			publish(u)
		})
		if !errors.Is(err, errPanicked) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		publish(discovery.Update{Err: err})
		timer := time.NewTimer(pause.Next())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Tap implements compile.Parts for a source that has parts.
func (r *recovered) Tap(hear func(name string, u discovery.Update)) []string {
	if p, ok := r.source.(*parts); ok {
		return p.Tap(hear)
	}
	return nil
}

// once is one run of the source; its panic becomes an error.
func (r *recovered) once(ctx context.Context, publish func(discovery.Update)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
			r.log.Error("panic in a source: it is run again", "source", r.path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return r.source.Run(ctx, publish)
}
