package main

// A running proxy of the commands run, proxy and demo: what it is made of, and what it says. It is
// started in start.go, reacts to signals in loop.go, and ends in stop.go; reload.go has another
// configuration take effect, upgrade.go another process take the place of this one.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/cmd/poise/internal/operate"
	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/cmd/poise/internal/systemd"
	"github.com/poise-lb/poise/cmd/poise/internal/upgrade"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/asynclog"
)

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

	applying sync.Mutex // held while another configuration takes effect

	program upgrade.Program      // by which the next process is started
	given   *sockets.Set         // listeners that this process was started with
	before  *upgrade.Predecessor // whose place this process takes; nil: there is none
	notify  *systemd.Notifier
	wishes  chan wish     // for an upgrade, by the admin API
	ending  chan struct{} // closed when it stops
	left    bool          // another process serves in its place; written before stop
}

// config is the configuration in force, with defaults. It is not modified.
func (in *instance) config() *config.Config { return in.conf.Load() }

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

// closeLog writes what is left of the log, if that can be written.
func (in *instance) closeLog() {
	ctx, cancel := context.WithTimeout(context.Background(), writeFor)
	defer cancel()
	in.lines.Close(ctx)
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
