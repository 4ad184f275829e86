package main

// poise simulate: says what clients would wait with each policy, under a virtual clock.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/internal/simulate"
)

// simulateFlags are those of simulate, and those that replay has in common with it.
type simulateFlags struct {
	file, service string
	scenarios     []string
	policies      []string
	without       []string
	losses        bool
	rate          float64
	duration      time.Duration
	seed          int
	html          string
	output        string
}

func newSimulate(s streams) *cobra.Command {
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate [-c FILE]",
		Short: "Say what clients would wait with each policy",
		Long: `Say what clients would wait with each policy: the service of a configuration, with
its policies, breaker, probes, slow start and retries, runs under a virtual clock
against endpoints that are queues. Nothing is sent; a million requests take seconds,
and the same seed gives the same result.

What the configuration does not say is in a scenario: the load, how long endpoints
work, what goes wrong. Those built in are ` + strings.Join(scenarioNames(), ", ") + `
and all; a file has one of your own. Without a configuration there are eight endpoints
with the default settings.`,
		Example: `  poise simulate --scenario slow,stall
  poise simulate -c poise.yaml --policy p2c,least_connections --losses
  poise simulate -c poise.yaml --scenario monday.yaml --without zone:b --html page.html`,
		RunE: func(*cobra.Command, []string) error { return f.run(s) },
	}
	c.Flags().StringSliceVar(&f.scenarios, "scenario", []string{"even"}, "scenarios by name, all, or a file (YAML)")
	c.Flags().Float64Var(&f.rate, "rate", 0, "requests a second, in place of the scenario's load")
	c.Flags().DurationVar(&f.duration, "duration", 0, "for which requests come, in place of the scenario's")
	f.add(c)
	completeWords(c, "scenario", append(scenarioNames(), "all"))
	return c
}

// add adds the flags that simulate and replay have in common.
func (f *simulateFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (YAML); absent: default settings")
	c.Flags().StringVar(&f.service, "service", "", "service of the configuration; may be left out if there is one")
	c.Flags().StringSliceVar(&f.policies, "policy", []string{"all"}, "policies to compare: all, or "+strings.Join(policies(), ", "))
	c.Flags().StringSliceVar(&f.without, "without", nil, "endpoints that die after a third of the time: numbers from 1, URLs, zone:NAME, largest")
	c.Flags().BoolVar(&f.losses, "losses", false, "say as well what happens if the largest endpoint or a zone dies")
	c.Flags().IntVar(&f.seed, "seed", 0, "of the random numbers; 0: the scenario's, which is 1 by default")
	c.Flags().StringVar(&f.html, "html", "", "write a page with pictures to this file")
	addOutput(c, &f.output)
	completeFile(c)
	completeWords(c, "policy", append(policies(), "all"))
}

// scenarioNames are those of the scenarios built in.
func scenarioNames() (names []string) {
	for _, sc := range simulate.Builtin() {
		names = append(names, sc.Name)
	}
	return names
}

func (f *simulateFlags) run(s streams) error {
	subject, err := f.subject()
	if err != nil {
		return err
	}
	var trials []trial
	var notes []string
	for _, word := range f.scenarios {
		found, err := scenariosOf(word, subject)
		if err != nil {
			return err
		}
		for _, sc := range found {
			one := trial{sc, subject}
			if sc.Load.Log != "" {
				more, err := f.record(s, &one, []string{sc.Load.Log})
				if err != nil {
					return err
				}
				notes = append(notes, more...)
			}
			if f.rate > 0 {
				one.scenario.Load.Rate = f.rate
			}
			if f.duration > 0 {
				one.scenario.Load.Duration = f.duration
			}
			if err := f.complete(&one); err != nil {
				return err
			}
			trials = append(trials, one)
		}
	}
	return f.show(s, trials, "Policies of "+subject.Name+", simulated", notes)
}

// A trial is a scenario and what is simulated in it.
type trial struct {
	scenario simulate.Scenario
	subject  *simulate.Subject
}

// subject is the service of the configuration, or the default one.
func (f *simulateFlags) subject() (*simulate.Subject, error) {
	if f.file == "" {
		if f.service != "" {
			return nil, usage(errors.New("poise: --service is one of a configuration: say which file with -c FILE"))
		}
		return simulate.Default(), nil
	}
	file, err := readFile(f.file)
	if err != nil {
		return nil, err
	}
	subject, err := simulate.New(&file.Config, f.service)
	if err != nil {
		if err = located(file, err); !errors.As(err, new(*usageError)) {
			err = usage(fmt.Errorf("poise: %s: %w", f.file, err))
		}
	}
	return subject, err
}

// complete gives a scenario its defaults and what the flags say, and checks it.
func (f *simulateFlags) complete(one *trial) error {
	sc := &one.scenario
	if f.seed != 0 {
		sc.Seed = f.seed
	}
	if sc.Timeout == 0 {
		sc.Timeout = one.subject.Timeout
	}
	err := sc.Validate()
	*sc = sc.WithDefaults()
	if err == nil {
		err = one.subject.Check(sc)
	}
	if err != nil {
		return usage(fmt.Errorf("poise: scenario %s: %w", sc.Name, err))
	}
	if f.without == nil {
		return nil
	}
	*sc = sc.Without(one.subject.Duration(sc), f.without...)
	if err := one.subject.Check(sc); err != nil {
		return usage(fmt.Errorf("poise: --without: %w", firstProblem(err)))
	}
	return nil
}

// scenariosOf are the scenarios that a word means: a name, all, or a file.
func scenariosOf(word string, subject *simulate.Subject) ([]simulate.Scenario, error) {
	all := simulate.Builtin()
	if word == "all" {
		return all, nil
	}
	if i := slices.IndexFunc(all, func(sc simulate.Scenario) bool { return sc.Name == word }); i >= 0 {
		return all[i : i+1], nil
	}
	if !strings.ContainsAny(word, "./\\") {
		known := append(scenarioNames(), "all")
		err := fmt.Errorf("poise: --scenario %s: it is %s, or a file such as %[1]s.yaml", word, strings.Join(known, ", "))
		if near := nearest.Word(word, known); near != "" {
			err = fmt.Errorf("%w; did you mean %s?", err, near)
		}
		return nil, usage(err)
	}
	sc, err := readScenario(word, subject)
	return []simulate.Scenario{sc}, err
}

// readScenario reads a scenario from a file. Which endpoints there are is known unless they are those
// of a log: then subject is nil, or the scenario names the log.
func readScenario(path string, subject *simulate.Subject) (sc simulate.Scenario, err error) {
	err = configfile.ReadInto(path, &sc, func() error {
		if err := sc.Validate(); err != nil || sc.Load.Log != "" || subject == nil {
			return err
		}
		full := sc.WithDefaults()
		return subject.Check(&full)
	})
	var missing *fs.PathError
	if errors.As(err, &missing) {
		return sc, usage(fmt.Errorf("poise: %s: %w", missing.Path, missing.Err))
	}
	if sc.Name == "" {
		sc.Name = path
	}
	return sc, usage(err)
}

// chosenPolicies are those of the flag.
func (f *simulateFlags) chosenPolicies(subject *simulate.Subject) (chosen []string, err error) {
	for _, word := range f.policies {
		switch {
		case word == "all":
			chosen = append(chosen, subject.Policies()...)
		case slices.Contains(policies(), word):
			chosen = append(chosen, word)
		default:
			err := fmt.Errorf("poise: --policy %s: it is all, or one of %s", word, strings.Join(policies(), ", "))
			if near := nearest.Word(word, policies()); near != "" {
				err = fmt.Errorf("%w; did you mean %s?", err, near)
			}
			return nil, usage(err)
		}
	}
	if len(chosen) == 0 {
		return nil, usage(errors.New("poise: --policy names none"))
	}
	return compact(chosen), nil
}

// compact leaves out what has come before.
func compact(words []string) (out []string) {
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// show runs the trials, of which there is one at least, and writes what they show.
func (f *simulateFlags) show(s streams, trials []trial, title string, notes []string) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	subject := trials[0].subject
	chosen, err := f.chosenPolicies(subject)
	if err != nil {
		return err
	}
	if subject.Note != "" {
		notes = append(notes, subject.Note)
	}
	page := simulate.Page{Title: title, Notes: notes, LossesOf: chosen[0]}
	for i := range trials {
		c, err := trials[i].subject.Compare(&trials[i].scenario, chosen)
		if err != nil {
			return err
		}
		page.Comparisons = append(page.Comparisons, c)
	}
	if f.losses {
		if page.Losses, err = subject.Losses(&trials[0].scenario, chosen[0]); err != nil {
			return err
		}
	}
	if f.html != "" {
		if err := writePage(f.html, &page); err != nil {
			return err
		}
	}
	if f.output == "json" {
		return writeJSON(s, page.JSON())
	}
	return page.WriteText(s.stdout)
}

// writePage writes the page to a file.
func writePage(path string, page *simulate.Page) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = page.WriteHTML(file)
	return errors.Join(err, file.Close())
}

// firstProblem is the error of a scenario without its path, which flags have none of.
func firstProblem(err error) error {
	var problems *config.Errors
	if errors.As(err, &problems) && len(problems.List) > 0 {
		return errors.New(problems.List[0].Text())
	}
	return err
}
