package main

// How an instance begins: proxy, listeners, first verdicts of health checks, and only then requests.
// A signal that asks for the end is heard all the time.

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/cmd/poise/internal/operate"
	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/cmd/poise/internal/systemd"
	"github.com/poise-lb/poise/cmd/poise/internal/upgrade"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/sources"
	"github.com/poise-lb/poise/tracing"
)

// readyTimeMax bounds the wait for the first verdicts of the health checks: then traffic
// is served with what is known.
const readyTimeMax = 10 * time.Second

// An origin is where the configuration is from, for people.
type origin struct {
	name string
	file atomic.Pointer[configfile.File] // the one in force; nil: it is from no file
}

// place is where a value of the configuration is written; "": nowhere.
func (o *origin) place(path string) string {
	if f := o.file.Load(); f != nil {
		return f.Place(path)
	}
	return ""
}

// start makes a proxy of c and binds its listeners. from says where c is from; served is false if a signal came before
// it was ready.
func start(s streams, c config.Config, from *origin, e serve.Engine) (in *instance, served bool, err error) {
	s.catch()
	signal.Ignore(syscall.SIGPIPE) // standard output that is not read any more is an error of the log
	c = c.WithDefaults()
	in = &instance{streams: s, level: &slog.LevelVar{}, engine: e, origin: from, program: upgrade.Self(), notify: systemd.New(), wishes: make(chan wish), ending: make(chan struct{})}
	in.level.Set(levelOf(c.Log))
	in.log, in.lines = newLogger(c.Log.Format, in.level, s.stderr)
	c.Logger, c.Engine, c.Sources, c.Spans = in.log, e.Own(), sources.All(), tracing.OTLP()
	in.conf.Store(&c)
	reopens := in.catchReopens()
	var listeners *serve.Change
	signalled, ended, err := s.unlessSignalled(func() (err error) {
		listeners, err = in.open(c)
		return err
	})
	switch {
	case signalled && !ended: // what hangs is left to the end of the process
		in.closeLog()
		return in, false, nil
	case err != nil:
		in.closeLog()
		return nil, false, err
	case signalled || !in.awaitReady():
		listeners.Cancel()
		return in, false, in.stop()
	}
	signalled, _, err = s.unlessSignalled(in.takeOver)
	if signalled || err != nil {
		listeners.Cancel()
		return in, false, errors.Join(err, in.stop())
	}
	listeners.Commit()
	in.reopenAt(reopens)
	in.begun()
	return in, true, nil
}

// open makes the proxy and binds the listeners.
func (in *instance) open(c config.Config) (_ *serve.Change, err error) {
	if err := in.inherit(&c); err != nil {
		return nil, err
	}
	if in.proxy, err = poise.New(c); err != nil {
		return nil, err
	}
	in.server = serve.New(in.proxy, in.engine, in.log)
	in.server.Given = in.given
	place := in.origin.place
	if in.origin.file.Load() == nil {
		place = nil // flags have no places
	}
	in.side = operate.New(in.proxy, in.log)
	in.side.Given = in.given
	in.side.Options = admin.Options{Origin: in.origin.name, Place: place, Apply: in.put, Adapt: in.adapt, Upgrade: in.wishUpgrade}
	listeners, err := in.server.Prepare(c)
	if err == nil && in.before == nil {
		if err = in.side.Apply(&c); err != nil { // now: readiness is asked for before it is there
			listeners.Cancel()
		}
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), breakTimeMax)
		defer cancel()
		in.proxy.Close(ctx)
	}
	return listeners, err
}

// awaitReady waits for the first verdicts, and reports false if a signal ended the wait.
func (in *instance) awaitReady() bool {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeMax)
	defer cancel()
	signalled, _, err := in.unlessSignalled(func() error { return in.proxy.Ready(ctx) })
	if err != nil {
		in.log.Warn("serving before every health check has answered", "error", err)
	}
	return !signalled
}
