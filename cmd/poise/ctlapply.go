package main

// A configuration for a running poise: poise plan --live and poise ctl plan say what it would change,
// poise ctl apply puts it in force as planned. The file is read here, with the variables, the folders
// and the secrets of the user who runs the command; what is sent names none of them.

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/configfile"
)

// applyFor is how long a plan or its application may take: files and sources may be slow.
const applyFor = time.Minute

// planner makes the command plan of ctl.
func (c *ctl) planner() *cobra.Command {
	return &cobra.Command{
		Use: "plan FILE", Short: "Say what a configuration file would change, as poise plan --live", Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error { return c.plan(args[0]) },
	}
}

// applier makes the command apply.
func (c *ctl) applier() *cobra.Command {
	var hash string
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Put a configuration file in force, as planned", Args: exactly(1),
		Long: `Put a configuration file in force in a running poise, and say what that changes.

With --plan HASH only what the plan with that hash says happens: if the file or the
configuration in force is another one by now, nothing does. The file of the running poise
is not written: its next reload, or an upgrade, takes the place of what is applied here.

Exits with 2 if the file cannot be used, and with 1 if it is not applied for another reason.`,
		Example: `  poise ctl plan poise.yaml.new
  poise ctl apply poise.yaml.new --plan 360f35ccf8cf99511411c0a11b993f22`,
		RunE: func(_ *cobra.Command, args []string) error { return c.apply(args[0], hash) },
	}
	cmd.Flags().StringVar(&hash, "plan", "", "hash of the plan that is applied; without it: whatever the file changes now")
	return cmd
}

// plan says what a file would change in the running poise.
func (c *ctl) plan(path string) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	_, _, p, err := c.propose(path)
	if err != nil {
		return err
	}
	return showPlan(c.streams, &p, c.output)
}

// propose reads a file, sends it for its plan, and returns what was sent.
func (c *ctl) propose(path string) (file *configfile.File, q admin.Proposal, p poise.Plan, err error) {
	if file, err = readFile(path); err != nil {
		return nil, q, p, err
	}
	q.Config = string(configfile.Write(&file.Config))
	return file, q, p, relocated(file, c.post("/api/v1/plan", q, 0, applyFor, &p))
}

// apply puts a file in force; hash "": whatever it changes now.
func (c *ctl) apply(path, hash string) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	file, q, p, err := c.propose(path)
	switch {
	case err != nil:
		return err
	case hash != "" && hash != p.Hash:
		return fmt.Errorf("poise: the plan %s is out of date: the file or the configuration in force, generation %d, is another one than it was made for; look again with poise plan %s --live", hash, p.Generation, path)
	case !p.Changes:
		return showPlan(c.streams, &p, c.output)
	}
	q.Hash = p.Hash
	var now admin.Overview
	if err := c.post("/api/v1/apply", q, p.Generation, applyFor, &now); err != nil {
		if s := refused(err); s == http.StatusPreconditionFailed || s == http.StatusConflict {
			err = fmt.Errorf("poise: %w: nothing was applied; look again with poise plan %s --live", err, path)
		}
		return relocated(file, err)
	}
	if c.output == "json" {
		return writeJSON(c.streams, now)
	}
	if err := p.WriteText(c.stdout); err != nil {
		return err
	}
	say(c.stdout, "applied: generation %d. It is in no file of the running poise: its next reload or upgrade takes the place of it\n", now.Generation)
	return nil
}

// placed is a mistake with the place in what was sent.
var placed = regexp.MustCompile(`^config:\d+:\d+: `)

// relocated is err with the places of mistakes in the file; those that the server told are in what it
// was sent. Mistakes are a usageError.
func relocated(file *configfile.File, err error) error {
	r := (*refusal)(nil)
	if !errors.As(err, &r) || len(r.Mistakes.Mistakes) == 0 {
		return err
	}
	var lines []string
	for _, m := range r.Mistakes.Mistakes {
		m = placed.ReplaceAllString(m, "")
		path, _, _ := strings.Cut(m, ": ")
		if at := file.Place(path); at != "" {
			m = at + ": " + m
		}
		lines = append(lines, m)
	}
	return usage(errors.New(strings.Join(lines, "\n")))
}
