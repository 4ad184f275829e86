package main

// poise ctl: a client of the admin API of a running poise, with tables for people and JSON for
// programs.

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Where a ctl looks for its server, if no flag says it.
const (
	ctlServer   = "http://127.0.0.1:9900"
	ctlEnv      = "POISE_ADMIN"
	ctlTokenEnv = "POISE_ADMIN_TOKEN"
	ctlTimeout  = 10 * time.Second
)

// A ctl is the client of one admin API.
type ctl struct {
	streams
	server string // http://host:port, https://host:port or unix:/path
	token  string // file with the token; "": the environment, or none
	output string
}

func newCtl(s streams) *cobra.Command {
	c := &ctl{streams: s}
	root := &cobra.Command{
		Use:   "ctl",
		Short: "Look at a running poise, and change it by hand",
		Long: `Look at a running poise, and change it by hand, over its admin API.

The server is --server, or $` + ctlEnv + `, or ` + ctlServer + `; a token is in the file
--token-file or in $` + ctlTokenEnv + `. What is changed by hand stays until its end, its
removal or the end of the process, whatever a source or a reload says; an upgrade hands
it over.`,
		Example: `  poise ctl status
  poise ctl endpoints users
  poise ctl drain users 10.0.0.1:8080 --for 30m --why "new disk"
  poise ctl events -f`,
		Args: noArguments, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.server, "server", "", "admin API: http://host:port, https://host:port or unix:/path")
	flags.StringVar(&c.token, "token-file", "", "file with the token")
	flags.StringVarP(&c.output, "output", "o", "text", strings.Join(outputs, " or "))
	completeWords(root, "output", outputs)
	overrides := c.reader("overrides", "What was changed by hand; as configuration with -o yaml", 0, func([]string) error { return c.overrides() })
	overrides.AddCommand(c.remover())
	root.AddCommand(
		c.reader("status", "What is served, and what is wrong", 0, func([]string) error { return c.status() }),
		c.reader("services", "The services with their figures", 0, func([]string) error { return c.services() }),
		c.reader("endpoints SERVICE", "The endpoints of a service: state, since when, why, share", 1, func(args []string) error { return c.endpoints(args[0]) }),
		c.reader("routes", "The routes with their figures", 0, func([]string) error { return c.routes() }),
		overrides,
		c.reader("config", "The configuration in force: each value, and where it is from", 0, func([]string) error { return c.config() }),
		c.explainer(), c.sender(), c.planner(), c.applier(),
		c.reader("ready", "Exit with 0 if it is ready to serve, as a container's health check", 0, func([]string) error { return c.ready() }),
		c.eventsCommand(),
		c.changer("drain", "Send an endpoint no new requests", true),
		c.changer("undrain", "End drain", false),
		c.changer("eject", "Take an endpoint out of use, whatever its health says", true),
		c.changer("admit", "Take an endpoint back into use at once", false),
		c.changer("weight", "Give an endpoint another weight", true),
		c.upgrader(),
	)
	return root
}

// explainer makes the command explain of ctl.
func (c *ctl) explainer() *cobra.Command {
	f := explainFlags{live: true}
	cmd := &cobra.Command{
		Use: "explain 'METHOD URL'", Short: "Say which route and which endpoints a request would get, as poise explain --live",
		Example: `  poise ctl explain 'GET https://api.example.com/users/42' -H 'X-User-Id: 7'`,
		RunE: func(_ *cobra.Command, args []string) error {
			f.ctl, f.output = *c, c.output
			return f.run(c.streams, args)
		},
	}
	f.addRequest(cmd)
	return cmd
}

// reader makes a command that reads.
func (c *ctl) reader(use, short string, args int, run func(args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly(args),
		RunE: func(_ *cobra.Command, args []string) error { return run(args) },
	}
	c.completeNames(cmd, args)
	return cmd
}

// ready exits with 0 if the server is.
func (c *ctl) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	res, err := c.do(ctx, http.MethodGet, "/readyz", nil, 0)
	if err != nil {
		return err
	}
	res.Body.Close()
	say(c.stdout, "ready\n")
	return nil
}

func (c *ctl) eventsCommand() *cobra.Command {
	var follow bool
	var service string
	cmd := &cobra.Command{
		Use: "events", Short: "What has happened; -f follows it", Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return c.events(service, follow) },
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens, until Ctrl-C")
	cmd.Flags().StringVar(&service, "service", "", "only those of a service")
	return cmd
}
