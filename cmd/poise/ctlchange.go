package main

// The commands of poise ctl that change something: overrides, a configuration, the process. Each names
// the generation that it was decided on.

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/internal/nearest"
)

// changer makes a command that overrides an endpoint.
func (c *ctl) changer(kind, short string, lasts bool) *cobra.Command {
	var change admin.Change
	var length time.Duration
	use, n := kind+" SERVICE ENDPOINT", 2
	if kind == "weight" {
		use, n = use+" WEIGHT", 3
	}
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly(n)}
	c.completeNames(cmd, 2)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		change.Kind = kind
		if length > 0 {
			change.For = length.String()
		}
		if kind == "weight" {
			if _, err := fmt.Sscanf(args[2], "%g", &change.Weight); err != nil {
				return usage(fmt.Errorf("poise: %q is no weight", args[2]))
			}
		}
		return c.change(args[0], args[1], change)
	}
	cmd.Flags().StringVar(&change.Why, "why", "", "why, for the log and the page")
	if lasts {
		cmd.Flags().DurationVar(&length, "for", 0, "how long; 0: until it is removed")
	}
	return cmd
}

// change overrides an endpoint, and says what is in force then.
func (c *ctl) change(service, endpoint string, what admin.Change) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	now, err := c.overview()
	if err != nil {
		return err
	}
	var done poise.Override
	if err := c.post(overridePath(service, endpoint), what, now.Generation, ctlTimeout, &done); err != nil {
		return err
	}
	if c.output == "json" {
		return writeJSON(c.streams, done)
	}
	return c.endpoints(service)
}

func overridePath(service, endpoint string) string {
	return "/api/v1/services/" + url.PathEscape(service) + "/endpoints/" + url.PathEscape(endpoint) + "/override"
}

// remover makes the command that ends an override.
func (c *ctl) remover() *cobra.Command {
	kinds := []string{"drain", "eject", "weight"}
	cmd := &cobra.Command{
		Use: "remove SERVICE ENDPOINT KIND", Short: "End an override: drain, eject or weight", Args: exactly(3),
		Example: "  poise ctl overrides remove users 10.0.0.1:8080 weight",
		RunE: func(_ *cobra.Command, args []string) error {
			if kind := args[2]; !slices.Contains(kinds, kind) {
				err := fmt.Errorf("poise: %q is no kind of override: it is %s", kind, strings.Join(kinds, ", "))
				if near := nearest.Word(kind, kinds); near != "" {
					err = fmt.Errorf("%w, did you mean %s?", err, near)
				}
				return usage(err)
			}
			return c.remove(args[0], args[1], args[2])
		},
	}
	c.completeNames(cmd, 3, kinds...)
	return cmd
}

// remove ends an override, and lists those that are left.
func (c *ctl) remove(service, endpoint, kind string) error {
	now, err := c.overview()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	res, err := c.do(ctx, http.MethodDelete, overridePath(service, endpoint)+"?kind="+kind, nil, now.Generation)
	if err != nil {
		return err
	}
	res.Body.Close()
	return c.overrides()
}

// ctlUpgradeFor is how long the outcome of an upgrade may take: until the new process was given up
// and has ended.
const ctlUpgradeFor = upgradeFor + 15*time.Second

// upgrader makes the command for an upgrade.
func (c *ctl) upgrader() *cobra.Command {
	return &cobra.Command{
		Use: "upgrade", Short: "Have the binary that is in place now take over, and say what became of it", Args: noArguments,
		Long: `Start an upgrade, as SIGUSR2 does, and wait for its outcome. The running process starts
the binary at the path by which it was started itself; the new process gets the
listeners and what is known of endpoints, and serves when it is ready. Then the old one
drains and ends.

Exits with 1 if that does not work: the message says why, with the last words of the new
process, and the old one goes on as before.`,
		Example: `  install -m 755 poise-new /usr/bin/poise && poise ctl upgrade`,
		RunE:    func(*cobra.Command, []string) error { return c.upgrade() },
	}
}

func (c *ctl) upgrade() error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	now, err := c.overview()
	if err != nil {
		return err
	}
	var done admin.Upgraded
	if err := c.post("/api/v1/upgrade", nil, now.Generation, ctlUpgradeFor, &done); err != nil {
		return err
	}
	if c.output == "json" {
		return writeJSON(c.streams, done)
	}
	say(c.stdout, "process %d serves; the one before it drains and ends\n", done.PID)
	return nil
}
