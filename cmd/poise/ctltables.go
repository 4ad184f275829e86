package main

// The tables of poise ctl.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

// A table writes rows with aligned columns.
type table struct{ *tabwriter.Writer }

func (c *ctl) table(heads ...string) table {
	t := table{tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)}
	t.row(heads...)
	return t
}

func (t table) row(cells ...string) {
	fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

func (c *ctl) status() error {
	var o admin.Overview
	if show, err := c.get("/api/v1/status", &o); !show {
		return err
	}
	say(c.stdout, "poise %s, %s, engine %s, up %s\n", o.Version, o.Go, o.Engine, since(o.Started))
	say(c.stdout, "generation %d of %s, applied %s ago: %s, %s\n", o.Generation, o.Origin, since(o.Applied), counted(o.Services, "service"), counted(o.Routes, "route"))
	say(c.stdout, "%d client connections of %d, %d to endpoints\n", o.Load.Clients, o.Load.ClientsLimit, o.Load.Endpoints)
	if o.Draining {
		say(c.stdout, "it is draining\n")
	}
	for _, p := range o.Problems {
		mark := map[bool]string{true: "!!", false: "! "}[p.Severity > 1]
		line := mark + " "
		if p.Service != "" {
			line += p.Service + ": "
		}
		if line += p.Text; !p.Since.IsZero() {
			line += " for " + since(p.Since)
		}
		if p.Detail != "" {
			line += " (" + p.Detail + ")"
		}
		say(c.stdout, "%s\n", line)
	}
	if len(o.Problems) == 0 {
		say(c.stdout, "all is well\n")
	}
	return nil
}

func (c *ctl) routes() error {
	var all struct{ Routes []admin.RouteView }
	if show, err := c.get("/api/v1/routes", &all); !show {
		return err
	}
	t := c.table("ROUTE", "HOST", "PATH", "METHODS", "SERVICE", "REQUESTS", "ERRORS", "P50", "P99")
	for _, r := range all.Routes {
		t.row(r.Name, r.Host, r.Path, strings.Join(r.Methods, ","), r.Service, number(r.Requests), number(r.Errors), seconds(r.P50), seconds(r.P99))
	}
	return t.Flush()
}

func (c *ctl) config() error {
	var all struct{ Values []admin.ConfigValue }
	if show, err := c.get("/api/v1/config", &all); !show {
		return err
	}
	t := c.table("KEY", "VALUE", "FROM")
	for _, v := range all.Values {
		t.row(v.Path, v.Value, v.Origin)
	}
	return t.Flush()
}

func (c *ctl) overrides() error {
	var all struct {
		Overrides []poise.Override
		YAML      string
	}
	yaml := c.output == "yaml"
	if yaml {
		c.output = "text"
	}
	if show, err := c.get("/api/v1/overrides", &all); !show {
		return err
	}
	if yaml {
		say(c.stdout, "%s", all.YAML)
		return nil
	}
	t := c.table("SERVICE", "ENDPOINT", "OVERRIDE", "BY", "SINCE", "ENDS IN", "WHY")
	for _, o := range all.Overrides {
		kind, ends := o.Kind, "-"
		if o.Kind == "weight" {
			kind += fmt.Sprintf(" %g", o.Weight)
		}
		if !o.Until.IsZero() {
			ends = brief(time.Until(o.Until))
		}
		t.row(o.Service, o.Endpoint, kind, o.Who, since(o.Made), ends, o.Why)
	}
	return t.Flush()
}

// events writes what has happened, and what happens if follow is set, until Ctrl-C.
func (c *ctl) events(service string, follow bool) error {
	var all struct{ Events []poise.Event }
	path := "/api/v1/events?service=" + url.QueryEscape(service)
	if show, err := c.get(path, &all); !show && (err != nil || !follow) {
		return err
	}
	last := uint64(0)
	for _, e := range all.Events {
		last = e.ID
		c.event(&e)
	}
	if !follow {
		return nil
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := c.follow(ctx, last, func(data []byte) error {
		var e poise.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if service != "" && e.Service != service {
			return nil
		}
		if c.output == "json" {
			_, err := fmt.Fprintf(c.stdout, "%s\n", data)
			return err
		}
		c.event(&e)
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// event writes one line.
func (c *ctl) event(e *poise.Event) {
	line := e.At.Local().Format("15:04:05.000") + "  " + fmt.Sprintf("%-5s", e.Level) + "  " + e.Text
	for _, w := range []string{e.Service, e.Endpoint} {
		if w != "" {
			line += "  " + w
		}
	}
	for _, name := range []string{"why", "error", "generation"} {
		if v := e.Details[name]; v != "" {
			line += "  " + name + "=" + v
		}
	}
	say(c.stdout, "%s\n", line)
}

// since is how long ago t was, "-" for never.
func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return brief(time.Since(t))
}

// brief is a duration in one or two units.
func brief(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// seconds is a time in seconds with its unit, "-" for none.
func seconds(s float64) string {
	if s == 0 {
		return "-"
	}
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond).String()
}

func percent(part float64) string { return fmt.Sprintf("%.1f %%", part*100) }

// number has a comma between thousands.
func number(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
