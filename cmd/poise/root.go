package main

// The command line: its commands, its exit codes, and its streams, which tests replace.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// streams are what connects a command with the world.
type streams struct {
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	signals <-chan os.Signal
	// catch has signals come by that channel. Until a command calls it they do what they do to any
	// program: most commands just end.
	catch func()
}

// A usageError is a mistake in flags or configuration: exit code 2. It is printed as it
// is, so that the lines begin with file:line:column.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "poise",
		Short: "A load balancer and reverse proxy",
		Long: `Poise balances HTTP services: as this program, or mounted in a Go program.

Exit codes: 0 after an orderly end, 1 for failures such as a port in use,
2 for flags or a configuration that cannot be used, 4 from plan if something would
change.`,
		Example: `  # see it work, nothing to install
  poise demo

  # balance two services, no file needed
  poise proxy --listen 127.0.0.1:8080 --to http://127.0.0.1:9001,http://127.0.0.1:9002

  # look a configuration over, then run it
  poise check -c poise.yaml
  poise run -c poise.yaml`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,

		SuggestionsMinimumDistance: 2, // letters that a mistyped command may differ by

		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(s.stdin)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(errors.New("poise: " + err.Error() + "; see " + c.CommandPath() + " --help"))
	})
	root.AddCommand(newDemo(s), newRun(s), newProxy(s), newCheck(s), newExplain(s), newPlan(s), newSimulate(s), newReplay(s), newCtl(s), newAdmin(s), newRegister(s), newSchema(s), newMan(), newVersion(s))
	for _, c := range root.Commands() {
		if !strings.Contains(c.Use, "'") { // an argument in quotes
			c.Args = noArguments
		}
	}
	return root
}

// noArguments refuses words that are not flags, among them mistyped commands.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	what := "poise: unknown argument " + args[0]
	if c.HasSubCommands() {
		what = "poise: unknown command " + args[0]
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			what += ", did you mean " + near[0] + "?"
		}
	}
	return usage(errors.New(what + "; see " + c.CommandPath() + " --help"))
}

// exactly wants n words behind a command, whose usage names them.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if _, words, _ := strings.Cut(c.Use, " "); words != "" {
			return usage(fmt.Errorf("poise: %s needs %s, %d given; see %[1]s --help", c.CommandPath(), words, len(args)))
		}
		return noArguments(c, args)
	}
}
