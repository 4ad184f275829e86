package main

// A running proxy of the commands run, proxy and demo, from its start to its end.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/cmd/poise/internal/operate"
	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/cmd/poise/internal/systemd"
	"github.com/poise-lb/poise/cmd/poise/internal/upgrade"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/asynclog"
	"github.com/poise-lb/poise/sources"
)

// readyTimeMax bounds the wait for the first verdicts of the health checks: then traffic
// is served with what is known.
const readyTimeMax = 10 * time.Second

// breakTimeMax bounds the end of what is being cut short.
const breakTimeMax = time.Second

// slowReload is when a reload that has not ended is worth a word.
const slowReload = 10 * time.Second

// An instance is a running proxy with its listeners. The goroutine of its run hears
// signals and never waits for anything else: a reload runs beside it, so a disk or a source
// that hangs in one does not keep SIGTERM from being heard.
type instance struct {
	streams
	log    *slog.Logger
	lines  *asynclog.Handler // behind log
	level  *slog.LevelVar
	conf   atomic.Pointer[config.Config]
	proxy  *poise.Proxy
	server *serve.Server
	engine serve.Engine
	origin *origin         // where the configuration is from
	side   *operate.Server // of the operator

	program upgrade.Program      // by which the next process is started
	given   *sockets.Set         // listeners that this process was started with
	before  *upgrade.Predecessor // whose place this process takes; nil: there is none
	notify  *systemd.Notifier
	left    bool // another process serves in its place; written before stop
}

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

// config is the configuration in force, with defaults. It is not modified.
func (in *instance) config() *config.Config { return in.conf.Load() }

// start makes a proxy of c and binds its listeners. from says where c is from; served is false if a signal came before
// it was ready.
func start(s streams, c config.Config, from *origin, e serve.Engine) (in *instance, served bool, err error) {
	signal.Ignore(syscall.SIGPIPE) // standard output that is not read any more is an error of the log
	c = c.WithDefaults()
	in = &instance{streams: s, level: &slog.LevelVar{}, engine: e, origin: from, program: upgrade.Self(), notify: systemd.New()}
	in.level.Set(levelOf(c.Log))
	in.log, in.lines = newLogger(c.Log.Format, in.level, s.stderr)
	c.Logger, c.Engine, c.Sources = in.log, e.Own(), sources.All()
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
	in.side = operate.New(in.proxy, in.log, in.origin.name, place)
	in.side.Given = in.given
	in.side.Put = in.put
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

// events are what a running instance reacts to beside signals.
type events struct {
	reload  func(why string) // nil: there is nothing to reload
	changed <-chan struct{}  // asks for a reload
	over    <-chan struct{}  // asks for the end
	upgrade bool             // another process may take the place
	first   func()           // at a signal to end: asks for over, which is waited for; may be nil
}

// run serves until a signal, an event or a failing listener ends it.
func (in *instance) run(ev events) error {
	r, u := reloads{in: in, do: ev.reload}, upgrades{in: in}
	alive, halt := in.pulse()
	defer halt()
	for {
		select {
		case sig := <-in.signals:
			if ends(sig) {
				u.stop()
				return in.end(sig, ev)
			}
			if sig == upgradeSignal {
				if !ev.upgrade {
					in.log.Info("no upgrade: this command is for trying Poise out")
				} else {
					u.ask()
				}
				continue
			}
			if ev.reload == nil {
				in.log.Info("nothing to reload: everything is in the flags")
				continue
			}
			r.ask("SIGHUP")
		case <-ev.changed:
			r.ask("the file changed")
		case <-r.done:
			r.next()
		case <-r.slow:
			in.log.Warn("a reload has not ended yet: a file or a source may hang; traffic is served as before")
		case <-u.done:
			if u.ended() {
				return in.leave(u.pid)
			}
		case <-alive:
			in.notified(in.notify.Alive())
		case <-ev.over:
			u.stop()
			return in.stop()
		case err := <-in.server.Failed():
			u.stop()
			return errors.Join(err, in.stop())
		}
	}
}

// end stops because of a signal.
func (in *instance) end(sig os.Signal, ev events) error {
	times := in.config().Timeouts
	in.log.Info("stopping", "signal", sig.String(), "drain_delay", times.DrainDelay, "drain", times.Drain)
	if ev.first != nil {
		ev.first()
		select {
		case <-ev.over:
		case <-time.After(times.Drain):
		case sig := <-in.signals:
			if ends(sig) {
				return errTwice
			}
		}
	}
	return in.stop()
}

// reloads runs one reload at a time on a goroutine of its own. What is asked for meanwhile
// is one more.
type reloads struct {
	in   *instance
	do   func(why string)
	done chan struct{} // closed at the end of the one under way; nil: there is none
	slow <-chan time.Time
	due  string // why there is to be one more; empty: there is not
}

func (r *reloads) ask(why string) {
	if r.done != nil {
		r.due = why
		return
	}
	done := make(chan struct{})
	r.done, r.slow = done, time.After(slowReload)
	r.in.notified(r.in.notify.Reloading())
	go func() {
		defer close(done)
		r.do(why)
	}()
}

// next is called when one has ended.
func (r *reloads) next() {
	r.done, r.slow = nil, nil
	r.in.notified(r.in.notify.Ready()) // also after one that was refused: it is over
	if why := r.due; why != "" {
		r.due = ""
		r.ask(why)
	}
}

// put is apply for a configuration that came over the admin API. Its listeners may be those of
// the API itself, so they are left as they are: a file says where those are.
func (in *instance) put(c config.Config) error {
	now := in.config()
	c.Admin, c.Status = now.Admin, now.Status
	return in.apply(c)
}

// apply puts c in the place of the configuration in force, or fails and changes nothing.
func (in *instance) apply(c config.Config) error {
	c = c.WithDefaults()
	c.Logger = in.log
	listeners, err := in.server.Prepare(c)
	if err != nil {
		in.proxy.Refused(err)
		return err
	}
	if err := in.proxy.Apply(c); err != nil {
		listeners.Cancel()
		return err
	}
	listeners.Commit()
	if err := in.side.Apply(&c); err != nil {
		in.log.Error("the operator's listeners stay as they were", "error", err)
	}
	in.level.Set(levelOf(c.Log))
	if c.Log.Format != in.config().Log.Format {
		in.log.Warn("log.format takes effect at the next start")
	}
	in.conf.Store(&c)
	return nil
}

// errTwice is the end by a second signal.
var errTwice = errors.New("ended by a second signal: what was under way was broken off")

// stop drains, accepts nothing more, lets open exchanges end, and closes the proxy. After
// the drain time it cuts short what is still open. At a second signal it does so at once,
// and returns errTwice.
func (in *instance) stop() error {
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

// pulse delivers when systemd wants a sign of life; halt ends that.
func (in *instance) pulse() (alive <-chan time.Time, halt func()) {
	every := in.notify.Every()
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// closeLog writes what is left of the log, if that can be written.
func (in *instance) closeLog() {
	ctx, cancel := context.WithTimeout(context.Background(), writeFor)
	defer cancel()
	in.lines.Close(ctx)
}

// ready writes the one line that says so. It goes to standard output, or to standard
// error if the access log has the former.
func (in *instance) ready(about string) {
	out := in.stdout
	if in.config().AccessLog.Path == "-" {
		out = in.stderr
	}
	where := strings.Join(in.server.URLs(in.config().Listen), " and ")
	if where == "" {
		where = "no address"
	}
	say(out, "poise: ready on %s, %s, engine %s\n", where, about, in.engine)
	if url := in.side.URL(); url != "" {
		say(out, "poise: admin on %s\n", url)
	}
}

// newLogger returns a log that makes no caller wait, however w is read.
func newLogger(format string, level slog.Leveler, w io.Writer) (*slog.Logger, *asynclog.Handler) {
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if format == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	lines := asynclog.New(h)
	return slog.New(lines), lines
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
