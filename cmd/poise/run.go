package main

// poise run: serves a configuration file and follows its changes.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/filewatch"
)

type runFlags struct {
	file    string
	engine  string
	workers int
	pid     string
}

func newRun(s streams) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Serve what a configuration file says",
		Long: `Serve what a configuration file says.

SIGHUP or a changed file, also one that ${file:...} names, applies the new configuration
without dropping anything; a file with mistakes is logged and the last good
configuration stays. SIGUSR1 opens the access log again after a rotation. SIGTERM and SIGINT
begin a drain (timeouts.drain_delay), stop accepting, let open exchanges end
(timeouts.drain) and exit 0; a second one breaks everything off and exits 1.
SIGUSR2 starts the binary anew, with the same arguments, to take the place of this
process: it gets the listeners and what is known of endpoints. This process drains when
the new one serves, and goes on if that does not get ready.`,
		Example: `  poise run -c poise.yaml
  kill -HUP $(pidof poise)      # reload
  kill -USR2 $(pidof poise)     # upgrade to the binary that is in place now`,
		RunE: func(*cobra.Command, []string) error { return f.run(s) },
	}
	c.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (YAML)")
	c.Flags().StringVar(&f.engine, "engine", "auto", strings.Join(engines(), ", "))
	c.Flags().IntVar(&f.workers, "workers", 0, "processors to use; 0: all")
	c.Flags().StringVar(&f.pid, "pid-file", "", "file for the number of the process that serves")
	completeFile(c)
	completeWords(c, "engine", engines())
	return c
}

func (f runFlags) run(s streams) error {
	engine, err := serve.Engine(f.engine).Resolve()
	if err != nil {
		return usage(fmt.Errorf("poise: --engine: %w", err))
	}
	if err := setWorkers(f.workers); err != nil {
		return usage(err)
	}
	var file *configfile.File
	signalled, _, err := s.unlessSignalled(func() (err error) {
		file, err = readFile(f.file)
		return err
	})
	if signalled || err != nil {
		return err
	}
	from := &origin{name: filepath.Base(f.file)}
	from.file.Store(file)
	in, served, err := start(s, file.Config, from, engine)
	if err != nil {
		return located(file, err)
	}
	if !served {
		return nil
	}
	pid := pidFile{f.pid}
	if err := pid.write(); err != nil {
		return errors.Join(err, in.stop())
	}
	defer pid.remove()
	in.ready(counted(len(in.config().Services), "service") + ", " + counted(len(in.config().Routes), "route"))

	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	defer within(breakTimeMax, watching.Wait)
	defer cancel()
	changed := make(chan struct{}, 1)
	// A file that is gone is no change: it is expected back.
	w := filewatch.New(true, func() {
		select {
		case changed <- struct{}{}:
		default: // a reload is due already
		}
	})
	w.Follow(file.Files())
	watching.Go(func() { w.Run(ctx) })
	return in.run(events{reload: func(why string) { in.reload(f.file, why, w.Follow) }, changed: changed, upgrade: true})
}

// readFile reads a configuration file; every mistake in it is a usageError.
func readFile(path string) (*configfile.File, error) {
	if path == "" {
		return nil, usage(errors.New("poise: say which file with -c FILE"))
	}
	file, err := configfile.Read(path)
	var missing *fs.PathError
	if errors.As(err, &missing) {
		return nil, usage(fmt.Errorf("poise: %s: %w", missing.Path, missing.Err))
	}
	return file, usage(err)
}

// located gives err the places of the values that it blames; then it is a usageError.
func located(file *configfile.File, err error) error {
	var problems interface{ Problems() []config.Problem }
	if errors.As(err, &problems) {
		return usage(file.Locate(err))
	}
	return err
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
