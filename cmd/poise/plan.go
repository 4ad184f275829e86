package main

// poise plan: says what a new configuration would change, without applying it.

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/sources"
)

// exitChanges is the exit code of poise plan if something would change.
const exitChanges = 4

// errChanges ends poise plan with exitChanges, without a message.
var errChanges = errors.New("there are changes")

func newPlan(s streams) *cobra.Command {
	var output string
	var live bool
	running := ctl{streams: s}
	c := &cobra.Command{
		Use:   "plan 'NEW.yaml' ['OLD.yaml']",
		Short: "Say what a new configuration would change",
		Long: `Say what applying a new configuration file would change, compared with an old one:
routes, services and settings key by key, endpoints that come, go, stay and are
probed anew, the share of keys of consistent hashing that move, listeners, and what
needs a restart. Without an old file everything is new. Nothing is applied, and
nothing is asked: endpoints are those of static lists.

With --live a running poise says it, of the configuration in force and of the endpoints
that it has. poise ctl apply takes the hash of such a plan.

Exits 0 if nothing changes, 4 if something does, 2 if the new file cannot be used.`,
		Example: `  poise plan poise.yaml.new poise.yaml
  poise plan poise.yaml.new --live
  git show HEAD:poise.yaml > old.yaml; poise plan poise.yaml old.yaml -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage(errors.New("poise: plan needs the new file, and the old one behind it; see poise plan --help"))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if !live {
				return plan(s, args, output)
			}
			if len(args) > 1 {
				return usage(errors.New("poise: plan --live compares with what a running poise has: leave out " + args[1]))
			}
			running.output = output
			return running.plan(args[0])
		},
	}
	addLive(c, &live, &running, "compare with what a running poise has, by its admin API")
	addOutput(c, &output)
	return c
}

func plan(s streams, args []string, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	next, err := readFile(args[0])
	if err != nil {
		return err
	}
	if err := located(next, checkAll(next)); err != nil {
		return usage(err)
	}
	var old poise.Config
	if len(args) == 2 {
		file, err := readFile(args[1])
		if err != nil {
			return err
		}
		old = file.Config
	}
	c := next.Config
	c.Sources = sources.All()
	p, err := poise.PlanChange(old, c)
	if err != nil {
		if err = located(next, err); !errors.As(err, new(*usageError)) {
			err = usage(fmt.Errorf("poise: %w", err))
		}
		return err
	}
	return showPlan(s, &p, output)
}

// showPlan writes a plan; the error is errChanges if something would change.
func showPlan(s streams, p *poise.Plan, output string) (err error) {
	if output == "json" {
		err = writeJSON(s, p)
	} else {
		err = p.WriteText(s.stdout)
	}
	if err == nil && p.Changes {
		return errChanges
	}
	return err
}
