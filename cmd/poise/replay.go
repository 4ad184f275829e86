package main

// poise replay: what other policies would have done with the requests of an access log.

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/internal/accesslines"
	"github.com/poise-lb/poise/internal/simulate"
)

type replayFlags struct {
	simulateFlags
	scenario string
	workers  int
	speed    float64
}

func newReplay(s streams) *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay 'LOG'... --policy X[,Y]",
		Short: "Say what other policies would have done with the requests of an access log",
		Long: `Say what other policies would have done with the requests of an access log: they come
again at the instants of the log, under a virtual clock, and each takes as long as the
log says, more or less by how fast its endpoint was in general. Nothing is sent.

Logs are those of Poise (json, combined), nginx (combined, also with rt=, urt= and
uaddr= behind), Envoy (default format) and Traefik (JSON); those that end in .gz are
unpacked, and - is the standard input. Without a configuration the endpoints are those
that the log names. Where a log has no times they are drawn as a scenario says.`,
		Example: `  poise replay /var/log/poise/access.log --policy p2c,peak_ewma
  poise replay access.log.1.gz access.log -c poise.yaml --service users --without largest`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(errors.New("poise: replay needs an access log; see poise replay --help"))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return f.run(s, args) },
	}
	c.Flags().StringVar(&f.scenario, "scenario", "", "file (YAML) with a scenario: its load is that of the log")
	c.Flags().IntVar(&f.workers, "workers", 0, "requests that an endpoint works on at once; 0: what the log shows")
	c.Flags().Float64Var(&f.speed, "speed", 1, "so many times as fast as in the log")
	f.add(c)
	return c
}

func (f *replayFlags) run(s streams, logs []string) error {
	if f.workers < 0 || !(f.speed >= 0.001 && f.speed <= 1000) {
		return usage(errors.New("poise: --workers is not below 0, and --speed from 0.001 to 1000"))
	}
	one := trial{subject: simulate.Default()}
	var err error
	if f.scenario != "" {
		if one.scenario, err = readScenario(f.scenario, nil); err != nil {
			return err
		}
	}
	if f.file != "" {
		if one.subject, err = f.subject(); err != nil {
			return err
		}
	}
	if f.workers > 0 {
		one.scenario.Workers = f.workers
	}
	one.scenario.Load.Speed = f.speed
	if one.scenario.Name == "" {
		one.scenario.Name = "replay"
	}
	notes, err := f.record(s, &one, logs)
	if err != nil {
		return err
	}
	if err := f.complete(&one); err != nil {
		return err
	}
	return f.show(s, []trial{one}, "What other policies would have done", notes)
}

// record makes the requests of logs those of a trial; without a configuration its endpoints are
// those that the logs name. notes say what could not be read.
func (f *simulateFlags) record(s streams, one *trial, logs []string) (notes []string, err error) {
	log := simulate.NewRecorded()
	for _, path := range logs {
		more, err := readLog(s.stdin, path, log)
		if err != nil {
			return nil, err
		}
		notes = append(notes, more...)
	}
	full := one.scenario.WithDefaults()
	if err := log.Finish(full.Seed, &full.Time); err != nil {
		return nil, usage(fmt.Errorf("poise: %s: %w", logs[0], err))
	}
	subject := *one.subject
	if f.file == "" {
		subject = *simulate.FromLog(log)
	}
	subject.Recorded = log
	one.subject = &subject
	one.scenario.Load.Log = logs[0]
	if one.scenario.Workers == 0 {
		one.scenario.Workers = log.AtOnce()
	}
	return notes, nil
}

// readLog adds the requests of a log; notes say what could not be read.
func readLog(stdin io.Reader, path string, log *simulate.Recorded) (notes []string, err error) {
	from := stdin
	if path != "-" {
		file, err := os.Open(path)
		var missing *fs.PathError
		if errors.As(err, &missing) {
			return nil, usage(fmt.Errorf("poise: %s: %w", missing.Path, missing.Err))
		}
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	if strings.HasSuffix(path, ".gz") {
		if from, err = gzip.NewReader(from); err != nil {
			return nil, usage(fmt.Errorf("poise: %s: %w", path, err))
		}
	}
	sum, err := accesslines.Read(from, log.Add)
	if err != nil {
		return nil, usage(fmt.Errorf("poise: %s: %w", path, err))
	}
	if sum.Skipped > 0 {
		notes = append(notes, fmt.Sprintf("%s: %s could not be read, the first in line %d: %s", path, counted(sum.Skipped, "line"), sum.First[0].Line, sum.First[0].Reason))
	}
	if sum.Coarse {
		notes = append(notes, path+": the log has whole seconds only; requests are spread over them")
	}
	return notes, nil
}
