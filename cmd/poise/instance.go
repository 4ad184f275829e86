package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/config"
)

// readyTimeMax bounds the wait for the first verdicts of the health checks: then traffic
// is served with what is known.
const readyTimeMax = 10 * time.Second

// breakTimeMax bounds the end of exchanges that are being cut short.
const breakTimeMax = 3 * time.Second

// An instance is a running proxy with its listeners. One goroutine uses it: its run.
type instance struct {
	streams
	log    *slog.Logger
	level  *slog.LevelVar
	config config.Config // in force, with defaults
	proxy  *poise.Proxy
	server *serve.Server
	engine serve.Engine
}

// start makes a proxy of c and binds its listeners; served is false, and nothing is left
// running, if a signal came before it was ready.
func start(s streams, c config.Config, e serve.Engine) (in *instance, served bool, err error) {
	c = c.WithDefaults()
	in = &instance{streams: s, level: &slog.LevelVar{}, config: c, engine: e}
	in.level.Set(levelOf(c.Log))
	in.log = newLogger(c.Log.Format, in.level, s.stderr)
	in.config.Logger = in.log
	in.config.Engine = e.Own()
	c = in.config
	if in.proxy, err = poise.New(c); err != nil {
		return nil, false, err
	}
	in.server = serve.New(in.proxy, e, in.log)
	listeners, err := in.server.Prepare(c)
	if err != nil {
		in.stop()
		return nil, false, err
	}
	if !in.awaitReady() {
		listeners.Cancel()
		in.stop()
		return in, false, nil
	}
	listeners.Commit()
	return in, true, nil
}

// awaitReady waits for the first verdicts, and reports false if a signal ended the wait.
func (in *instance) awaitReady() bool {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeMax)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- in.proxy.Ready(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				in.log.Warn("serving before every health check has answered", "error", err)
			}
			return true
		case sig := <-in.signals:
			if sig == syscall.SIGHUP {
				continue // what is being read is new enough
			}
			cancel()
			<-done
			return false
		}
	}
}

// events are what a running instance reacts to beside signals.
type events struct {
	reload  func(why string) // nil: there is nothing to reload
	changed <-chan struct{}  // asks for a reload
	over    <-chan struct{}  // asks for the end
	first   func()           // at a signal to end: asks for over, which is waited for; may be nil
}

// run serves until a signal, an event or a failing listener ends it.
func (in *instance) run(ev events) error {
	for {
		select {
		case sig := <-in.signals:
			if sig != syscall.SIGHUP {
				in.log.Info("stopping", "signal", sig.String(), "drain", in.config.Timeouts.Drain)
				if ev.first != nil {
					ev.first()
					<-ev.over
				}
				in.stop()
				return nil
			}
			if ev.reload == nil {
				in.log.Info("nothing to reload: everything is in the flags")
				continue
			}
			ev.reload("SIGHUP")
		case <-ev.changed:
			ev.reload("the file changed")
		case <-ev.over:
			in.stop()
			return nil
		case err := <-in.server.Failed():
			in.stop()
			return err
		}
	}
}

// apply puts c in the place of the configuration in force, or fails and changes nothing.
func (in *instance) apply(c config.Config) error {
	c = c.WithDefaults()
	c.Logger = in.log
	listeners, err := in.server.Prepare(c)
	if err != nil {
		return err
	}
	if err := in.proxy.Apply(c); err != nil {
		listeners.Cancel()
		return err
	}
	listeners.Commit()
	in.level.Set(levelOf(c.Log))
	if c.Log.Format != in.config.Log.Format {
		in.log.Warn("log.format takes effect at the next start")
	}
	in.config = c
	return nil
}

// stop accepts nothing more, lets open exchanges end, and closes the proxy. After the
// drain time, or at a second signal, it cuts short what is still open.
func (in *instance) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), in.config.Timeouts.Drain)
	watched := make(chan struct{})
	go func() { // ends with the cancel below
		defer close(watched)
		for {
			select {
			case sig := <-in.signals:
				if sig != syscall.SIGHUP {
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	in.server.Stop(ctx)
	in.close(ctx)
	cancel()
	<-watched
}

// close closes the proxy. Whatever holds an exchange may not hold the process: a while
// after ctx is done it gives up waiting, and the end of the process ends the rest.
func (in *instance) close(ctx context.Context) {
	closed := make(chan error, 1)
	go func() { closed <- in.proxy.Close(ctx) }()
	var err error
	select {
	case err = <-closed:
	case <-ctx.Done():
		select {
		case err = <-closed:
		case <-time.After(breakTimeMax):
			in.log.Warn("some exchanges did not end")
			return
		}
	}
	if err != nil {
		in.log.Warn("some exchanges were cut short", "error", err)
	}
	in.server.Wait()
}

// ready writes the one line that says so. It goes to standard output, or to standard
// error if the access log has the former.
func (in *instance) ready(about string) {
	out := in.stdout
	if in.config.AccessLog.Path == "-" {
		out = in.stderr
	}
	where := strings.Join(in.server.URLs(in.config.Listen), " and ")
	if where == "" {
		where = "no address"
	}
	fmt.Fprintf(out, "poise: ready on %s, %s, engine %s\n", where, about, in.engine)
}

func newLogger(format string, level slog.Leveler, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func levelOf(c config.Log) slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration; else info
	return level
}

// setWorkers bounds the processors that run the proxy; 0 leaves it to the Go runtime.
func setWorkers(n int) error {
	if n < 0 {
		return fmt.Errorf("poise: --workers %d: 0 or more", n)
	}
	if n > 0 {
		runtime.GOMAXPROCS(n)
	}
	return nil
}

// counted is "1 route", "2 routes".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}
