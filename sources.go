package poise

import (
	"context"
	"sync"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/internal/core"
)

// feed says where a service's endpoints come from.
func (p *Proxy) feed(path string, s Service) (core.Feed, error) {
	static, source, err := p.sources.Of(path, s)
	return core.Feed{Static: static, Source: source}, err
}

// start runs a source on a goroutine; stop ends it and waits for it.
func start(src discovery.Source, publish func(discovery.Update)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := src.Run(ctx, publish); err != nil && ctx.Err() == nil {
			publish(discovery.Update{Err: err})
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
