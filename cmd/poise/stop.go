package main

// How an instance ends: it drains, closes its listeners, lets open exchanges end, and cuts short what
// is left. A second signal does that at once.

import (
	"context"
	"errors"
	"time"
)

// breakTimeMax bounds the end of what is being cut short.
const breakTimeMax = time.Second

// errTwice is the end by a second signal.
var errTwice = errors.New("ended by a second signal: what was under way was broken off")

// stop drains, accepts nothing more, lets open exchanges end, and closes the proxy. After
// the drain time it cuts short what is still open. At a second signal it does so at once,
// and returns errTwice.
func (in *instance) stop() error {
	close(in.ending)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !in.left { // else the service goes on
		in.notified(in.notify.Stopping())
	}
	in.proxy.Drain()
	alive, halt := in.pulse()
	defer halt()
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.shut(ctx)
	}()
	defer in.closeLog()
	for {
		select {
		case <-done:
			return nil
		case <-alive:
			in.notified(in.notify.Alive())
		case sig := <-in.signals:
			if !ends(sig) {
				continue
			}
			cancel()
			if !within(breakTimeMax, func() { <-done }) {
				in.log.Warn("not everything ended")
			}
			return errTwice
		}
	}
}

// shut is the work of stop, until ctx is done. What holds an exchange may not hold the
// process: each step gives up in the end, and the end of the process ends the rest.
func (in *instance) shut(ctx context.Context) {
	times := in.config().Timeouts
	if in.left { // nothing is accepted any more: idle connections may use the delay
		times.Drain += times.DrainDelay
	} else {
		pause(ctx, times.DrainDelay)
	}
	ctx, cancel := context.WithTimeout(ctx, times.Drain)
	defer cancel()
	within(times.Drain+breakTimeMax, func() { in.server.Stop(ctx) })
	if err := in.proxy.Close(ctx); err != nil {
		in.log.Warn("some exchanges were cut short, or something did not end", "error", err)
	}
	within(breakTimeMax, in.server.Wait)
	in.side.Close() // last: until now it says that the proxy drains
}
