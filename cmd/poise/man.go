package main

// poise man: writes manual pages, one for each command, from the commands themselves. It is
// for those who make packages and hidden from the list of commands. Cobra has a generator, by
// way of Markdown and two more modules; the pages need a dozen macros of man(7).

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "man --dir DIR",
		Short: "Write the manual pages into a folder",
		Example: `  poise man --dir man
  man -l man/poise-run.1`,
		Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usage(fmt.Errorf("poise: --dir is missing: the folder for the manual pages"))
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return writeManual(c.Root(), dir)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder for the pages; it is made if it does not exist")
	return c
}

// writeManual writes the pages of c and of the commands below it.
func writeManual(c *cobra.Command, dir string) error {
	var page bytes.Buffer
	manPage(&page, c)
	if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), page.Bytes(), 0o644); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "help" {
			continue
		}
		if err := writeManual(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

// manName is the name of a command's page: poise-ctl-drain for poise ctl drain.
func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage writes the page of one command. It bears no date, so that two builds of the same
// source are the same.
func manPage(w io.Writer, c *cobra.Command) {
	c.InitDefaultHelpFlag()
	fmt.Fprintf(w, ".TH %q 1 \"\" \"Poise\" \"User Commands\"\n", strings.ToUpper(manName(c)))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	use := strings.TrimPrefix(c.UseLine(), c.CommandPath())
	if c.HasAvailableSubCommands() {
		use = " COMMAND" + use
	}
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B %s\n%s\n", roff(c.CommandPath()), roff(strings.TrimSpace(use)))
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintln(w, ".SH DESCRIPTION")
	manText(w, text)
	if c.HasAvailableSubCommands() {
		fmt.Fprintln(w, ".SH COMMANDS")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				fmt.Fprintf(w, ".TP\n.B %s\n%s. See\n.BR %s (1).\n", roff(sub.Name()), roff(strings.TrimSuffix(sub.Short, ".")), roff(manName(sub)))
			}
		}
	}
	manFlags(w, "OPTIONS", c.NonInheritedFlags())
	manFlags(w, "OPTIONS OF THE COMMANDS ABOVE", c.InheritedFlags())
	if c.Example != "" {
		fmt.Fprintf(w, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roffLines(c.Example))
	}
	if parent := c.Parent(); parent != nil {
		fmt.Fprintf(w, ".SH SEE ALSO\n.BR %s (1)\n", roff(manName(parent)))
	}
}

// manText writes paragraphs as they are filled by the reader's terminal; lines that are set in
// by hand keep their form.
func manText(w io.Writer, text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			fmt.Fprintln(w, ".PP")
		}
		if strings.HasPrefix(paragraph, " ") || strings.HasPrefix(paragraph, "\t") {
			fmt.Fprintf(w, ".nf\n%s\n.fi\n", roffLines(paragraph))
		} else {
			fmt.Fprintln(w, roffLines(paragraph))
		}
	}
}

func manFlags(w io.Writer, heading string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", roff(heading))
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		names := `\fB` + roff("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			names = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + names
		}
		if kind != "" {
			names += ` \fI` + roff(kind) + `\fR`
		}
		fmt.Fprintf(w, ".TP\n%s\n%s", names, roffLines(usage))
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			fmt.Fprintf(w, " (default %s)", roff(f.DefValue))
		}
		fmt.Fprintln(w)
	})
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff escapes text within a line.
func roff(s string) string { return roffEscapes.Replace(s) }

// roffLines escapes lines, of which none may be taken for a request.
func roffLines(s string) string {
	lines := strings.Split(roff(s), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
