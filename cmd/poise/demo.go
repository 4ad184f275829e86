package main

// poise demo: three small services, a proxy in front of them, a load, and a service that fails
// now and then, all in one process, with a table that shows what the proxy makes of it.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/poise-lb/poise/cmd/poise/internal/demo"
	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/config"
)

const (
	demoPort     = 8080
	adminPort    = 9900
	demoPortsMax = 100 // how many are tried from one of these on
	demoRate     = 50  // requests per second
)

type demoFlags struct {
	policy string
	admin  string
	noLoad bool
	length time.Duration
}

func newDemo(s streams) *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "See Poise balance three built-in services",
		Long: `Start three small services on this machine and balance them. One is slow, one
stops answering for a while and comes back. A light load keeps things moving; on a
terminal a small table shows what becomes of it. Ctrl-C ends it.`,
		Example: `  poise demo
  poise demo --policy round_robin      # the slow service then gets a third of the requests`,
		RunE: func(*cobra.Command, []string) error { return f.run(s) },
	}
	c.Flags().StringVar(&f.policy, "policy", "least_time", "how an endpoint is chosen")
	c.Flags().StringVar(&f.admin, "admin", "auto", "address of the admin API and its page; auto: the first free port of this machine from 9900 on; none: none")
	c.Flags().BoolVar(&f.noLoad, "no-load", false, "send no requests")
	c.Flags().DurationVar(&f.length, "for", 0, "end after this time; 0: at Ctrl-C")
	completeWords(c, "policy", policies())
	return c
}

// A show is one running demonstration.
type show struct {
	streams
	samples []*demo.Sample
	in      *instance
	load    *demo.Load // nil with --no-load
	began   time.Time
	states  map[string]string // last seen, by name
}

func (f demoFlags) run(s streams) error {
	samples := demo.Samples()
	for _, sample := range samples {
		defer sample.Close()
		if err := sample.Start(); err != nil {
			return err
		}
	}
	listen, err := freeAddress(demoPort)
	if err != nil {
		return err
	}
	c := demoConfig(listen, f.policy, samples)
	if c.Admin.Address, err = f.adminAddress(); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return asFlags(err)
	}
	engine, err := serve.Auto.Resolve()
	if err != nil {
		return err
	}
	in, served, err := start(s, c, &origin{name: "the demo"}, engine)
	if err != nil || !served {
		return asFlags(err)
	}
	sh := &show{streams: s, samples: samples, in: in, began: time.Now(), states: map[string]string{}}
	sh.introduce(f.policy)
	return sh.play(f)
}

// demoConfig balances the samples twice: by the policy, and with a home for each user.
func demoConfig(listen, policy string, samples []*demo.Sample) config.Config {
	service := config.Service{
		Policy: config.Policy{Type: policy},
		Health: &config.Health{Check: "HEAD /health", Interval: 500 * time.Millisecond, Timeout: 300 * time.Millisecond, UnhealthyAfter: 2},
	}
	for _, sample := range samples {
		service.Endpoints = append(service.Endpoints, config.Endpoint{URL: sample.URL()})
	}
	sticky := service
	sticky.Policy = config.Policy{Type: "consistent_hash", Key: "query(user) | client_ip"}
	return config.Config{
		Listen:   []config.Listen{{Address: listen}},
		Log:      config.Log{Level: "error"}, // the table says it better
		Services: map[string]config.Service{serviceName: service, "sticky": sticky},
		Routes:   []config.Route{{Service: serviceName}, {Match: config.Match{Path: "/sticky/**"}, Service: "sticky"}},
	}
}

// adminAddress is that of the admin API; "": there is none.
func (f demoFlags) adminAddress() (string, error) {
	switch f.admin {
	case "auto":
		return freeAddress(adminPort)
	case "none":
		return "", nil
	}
	return f.admin, nil
}

// freeAddress finds a port that is free, from the given one on.
func freeAddress(from int) (string, error) {
	for port := from; port < from+demoPortsMax; port++ {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address, nil
		}
	}
	return "", fmt.Errorf("no free port from %d to %d", from, from+demoPortsMax-1)
}

func (sh *show) introduce(policy string) {
	url := "http://" + sh.in.config().Listen[0].Address
	sh.in.ready("policy " + policy + ", " + counted(len(sh.samples), "endpoint"))
	for _, sample := range sh.samples {
		fmt.Fprintf(sh.stdout, "  %-8s %s  answers in %v\n", sample.Name, sample.URL(), sample.Delay)
	}
	fmt.Fprintf(sh.stdout, "\nTry, in another terminal:\n  curl %s/\n  curl -i %s/hello/world      # X-Sample says who answered\n"+
		"  curl '%s/sticky/?user=42'   # a user stays at one endpoint\n\n", url, url, url)
}

// play runs load, outage and table beside the proxy until it ends.
func (sh *show) play(f demoFlags) error {
	ctx, cancel := context.WithCancel(context.Background())
	if f.length > 0 {
		ctx, cancel = context.WithTimeout(ctx, f.length)
	}
	var side sync.WaitGroup
	if !f.noLoad {
		sh.load = &demo.Load{URL: "http://" + sh.in.config().Listen[0].Address, Rate: demoRate}
		side.Go(func() { sh.load.Run(ctx) })
	}
	failing := sh.samples[1]
	side.Go(func() { demo.PlanFor(f.length).Run(ctx, failing.SetDown) })
	side.Go(func() { sh.report(ctx) })

	// The load ends before the proxy does, or its last requests would fail.
	over := make(chan struct{})
	var end sync.WaitGroup
	end.Go(func() {
		defer close(over)
		side.Wait()
	})
	err := sh.in.run(events{over: over, first: cancel})
	cancel()
	within(breakTimeMax, end.Wait) // the terminal may not be read any more
	if sh.load != nil {
		say(sh.stdout, "poise: %d requests answered, %d failed\n", sh.load.OK.Load(), sh.load.Failed.Load())
		if err == nil && sh.load.OK.Load() == 0 {
			err = errors.New("no request was answered")
		}
	}
	return err
}

// report draws the table every second, or, where there is no terminal, writes a line
// whenever an endpoint's state changes.
func (sh *show) report(ctx context.Context) {
	out, isFile := sh.stdout.(*os.File)
	onTerminal := isFile && term.IsTerminal(int(out.Fd()))
	table := demo.Table{Out: sh.stdout, Colour: os.Getenv("NO_COLOR") == ""}
	every := time.Second
	if !onTerminal {
		every = 100 * time.Millisecond // changes are short, and cheap to look for
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if rows := sh.rows(); onTerminal {
			table.Draw(rows, "", sh.summary())
		} else {
			sh.changes(rows)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// rows asks the proxy how its endpoints are.
func (sh *show) rows() []demo.Row {
	var rows []demo.Row
	for _, service := range sh.in.proxy.Status().Services {
		if service.Name != serviceName {
			continue
		}
		for _, sample := range sh.samples {
			for _, e := range service.Endpoints {
				if e.URL == sample.URL() {
					rows = append(rows, demo.Row{Name: sample.Name, State: e.State, Attempts: e.Attempts, InFlight: e.InFlight, Latency: e.Latency})
				}
			}
		}
	}
	return rows
}

func (sh *show) summary() string {
	if sh.load == nil {
		return "  no load: send requests yourself"
	}
	return fmt.Sprintf("  %d requests/s, %d answered, %d failed; Ctrl-C ends", sh.load.Rate, sh.load.OK.Load(), sh.load.Failed.Load())
}

func (sh *show) changes(rows []demo.Row) {
	for _, r := range rows {
		if before := sh.states[r.Name]; before != r.State {
			if before != "" {
				fmt.Fprintf(sh.stdout, "%6.1f s  %s: %s, was %s\n", time.Since(sh.began).Seconds(), r.Name, r.State, before)
			}
			sh.states[r.Name] = r.State
		}
	}
}
