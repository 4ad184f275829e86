package sources

// Sources run on goroutines of their own. Their code may be an embedder's: it may not end
// when it is asked to, or go on publishing afterwards. Neither stops the proxy, and what is
// published late does not reach a service that has another source by now. (recover.go has
// what panics.)

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// stopFor is how long a source may take to end before it is left behind.
const stopFor = time.Second

// A runningSource is one call of a source's Run.
type runningSource struct {
	set     *Set
	source  discovery.Source
	publish func(discovery.Update)
	cancel  context.CancelFunc
	over    atomic.Bool   // stop was called: what is published goes nowhere
	mu      sync.Mutex    // held while publish runs
	ended   chan struct{} // closed when Run has returned
}

// Start runs a source on a goroutine. stop ends it: it waits for the end, but no longer
// than stopFor. In any case nothing is published any more when stop returns, except by a
// call of publish that had begun before.
func (s *Set) Start(src discovery.Source, publish func(discovery.Update)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningSource{set: s, source: src, publish: publish, cancel: cancel, ended: make(chan struct{})}
	go r.run(ctx)
	return r.stop
}

func (r *runningSource) run(ctx context.Context) {
	defer close(r.ended)
	if err := r.source.Run(ctx, r.pass); err != nil && ctx.Err() == nil {
		r.pass(discovery.Update{Err: err})
	}
}

// pass publishes what the source says, until stop.
func (r *runningSource) pass(u discovery.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over.Load() {
		r.publish(u)
	}
}

func (r *runningSource) stop() {
	r.over.Store(true)
	r.cancel()
	most := time.NewTimer(stopFor)
	defer most.Stop()
	select {
	case <-r.ended:
		return
	case <-most.C:
	}
	r.set.strays.Add(1)
	r.set.log().Error("a source does not end although its context is done: it is left behind", "source", fmt.Sprintf("%T", r.source))
	go func() {
		<-r.ended
		r.set.strays.Add(-1)
	}()
}

// Strays is how many sources have been stopped and have not ended.
func (s *Set) Strays() int64 { return s.strays.Load() }
