package explain

// An Explanation as text: a block for each step of the request path, aligned for a terminal of a
// hundred columns. It needs nothing but the Explanation, so one that was decoded from JSON looks
// the same.

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteText writes the Explanation for people.
func (e *Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	e.asked(&b)
	e.routes(&b)
	e.reply(&b)
	if e.Forward != nil {
		e.Forward.write(&b)
	}
	if e.Split != nil {
		e.Split.write(&b)
	}
	if e.Service != nil {
		e.Service.write(&b)
	}
	if e.Retry != nil {
		e.Retry.write(&b)
	}
	table(&b, "limits of time", func(t io.Writer) {
		for _, l := range e.Limits {
			where := cmp.Or(l.Place, l.Key)
			if l.Default {
				where = "default of " + l.Key
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", l.Name, l.Value, l.Means, where)
		}
	})
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes a headline and aligned rows, whose cells end with tabs.
func table(b *strings.Builder, headline string, rows func(t io.Writer)) {
	fmt.Fprintf(b, "\n%s\n", headline)
	var lines strings.Builder
	t := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	rows(t)
	t.Flush()
	for line := range strings.Lines(lines.String()) {
		b.WriteString(strings.TrimRight(line, " \n"))
		b.WriteByte('\n')
	}
}

func (e *Explanation) asked(b *strings.Builder) {
	q := &e.Request
	fmt.Fprintf(b, "%s %s://%s%s  from %s", q.Method, q.Scheme, q.Host, q.Target, q.Client)
	switch {
	case e.Offline:
		b.WriteString("  (by the file alone: nothing was probed, no source asked)")
	case e.Generation > 0:
		fmt.Fprintf(b, "  (generation %d)", e.Generation)
	}
	b.WriteByte('\n')
	switch {
	case e.Path.Normal == "":
	case e.Path.Normal == e.Path.Raw:
		fmt.Fprintf(b, "normal form %s\n", e.Path.Normal)
	default:
		fmt.Fprintf(b, "normal form %s  of %s\n", e.Path.Normal, e.Path.Raw)
	}
}

func (e *Explanation) routes(b *strings.Builder) {
	if len(e.Routes) == 0 {
		return
	}
	table(b, "routes", func(t io.Writer) {
		for i := range e.Routes {
			r := &e.Routes[i]
			mark := "✕"
			if r.Taken {
				mark = "✓"
			}
			fmt.Fprintf(t, "  %s %s\t→ %s\t%s\t%s\t%s\n", mark, r.Name, r.Leads, r.Match, r.Why, cmp.Or(r.Place, r.Key))
		}
	})
	if e.Omitted > 0 {
		fmt.Fprintf(b, "  and %d more, whose host or path differs\n", e.Omitted)
	}
}

func (e *Explanation) reply(b *strings.Builder) {
	r := e.Reply
	if r == nil {
		return
	}
	fmt.Fprintf(b, "\nthe proxy answers by itself\n  %d %s: %s\n", r.Status, r.Reason, r.Message)
	if r.Cause != "" {
		fmt.Fprintf(b, "  because: %s\n", r.Cause)
	}
	if r.Allow != "" {
		fmt.Fprintf(b, "  Allow: %s\n", r.Allow)
	}
}

func (f *Forward) write(b *strings.Builder) {
	target := f.Path
	if f.Query != "" {
		target += "?" + f.Query
	}
	fmt.Fprintf(b, "\nthe endpoint gets\n  %s  Host: %s\n", target, cmp.Or(f.Host, "that of the endpoint"))
	edits := func(list []Edit, of string) {
		for _, one := range list {
			sign := map[string]string{"add": "+", "remove": "-"}[one.Do]
			line := fmt.Sprintf("  %s %s", sign, one.Name)
			if one.Value != "" {
				line += ": " + one.Value
			}
			b.WriteString(line + of + "\n")
		}
	}
	edits(f.Edits, "")
	edits(f.Response, "  (of the response)")
	if len(f.Filters) > 0 {
		fmt.Fprintf(b, "  filters: %s\n", strings.Join(f.Filters, ", "))
	}
}

func (s *Split) write(b *strings.Builder) {
	headline := "split, drawn for each request"
	switch {
	case s.Value != "":
		headline = fmt.Sprintf("split by %s = %q", s.From, s.Value)
	case s.Stuck:
		headline = "split by the cookie of a service"
	case s.From != "":
		headline = fmt.Sprintf("split, drawn: the request has no key (%s)", s.From)
	}
	if s.Place != "" {
		headline += "  " + s.Place
	}
	table(b, headline, func(t io.Writer) {
		for i := range s.Services {
			v := &s.Services[i]
			mark, why := " ", ""
			if v.Name == s.Chosen {
				mark = "→"
			}
			switch {
			case !v.Serves && s.Otherwise == "none":
				why = "no usable endpoint: its requests get 503"
			case !v.Serves:
				why = "no usable endpoint: the others have its share"
			case v.Home && v.Name == s.Chosen:
				why = "the key belongs here"
			case v.Home:
				why = "the key belongs here, but goes elsewhere now"
			}
			fmt.Fprintf(t, "  %s %s\t%.1f %%\t%s\n", mark, v.Name, 100*v.Share, why)
		}
	})
}

func (s *Service) write(b *strings.Builder) {
	headline := fmt.Sprintf("service %s, %s", s.Name, s.Policy)
	if s.Draws > 0 {
		headline += fmt.Sprintf(", %d draws", s.Draws)
	}
	if s.Place != "" {
		headline += "  " + s.Place
	}
	for _, one := range []struct {
		on   bool
		text string
	}{
		{s.Stale, "its source fails: the last set is in use"},
		{s.PanicMode, "panic mode: ejected endpoints are in use"},
		{s.LastResort, "no endpoint is sound: ejected ones are tried"},
	} {
		if one.on {
			headline += "\n  ! " + one.text
		}
	}
	if s.Overload != "" {
		headline += "\n  " + s.Overload
	}
	if len(s.Places) > 0 {
		table(b, headline, func(t io.Writer) {
			for _, p := range s.Places {
				fmt.Fprintf(t, "  %s\t%.1f %%\t%s\n", p.Name, 100*p.Share, p.Why)
			}
		})
		headline = "its endpoints"
	}
	table(b, headline, func(t io.Writer) {
		if len(s.Candidates) == 0 {
			fmt.Fprintln(t, "  no endpoints are known")
			return
		}
		head := "  endpoint\tstate\tweight\tin flight\tlatency\tscore\tdrawn\tby weight"
		if s.Shadow != "" {
			head += "\tby the shadow (" + s.Shadow + ")"
		}
		fmt.Fprintln(t, head)
		for i := range s.Candidates {
			s.Candidates[i].write(t, s.Shadow != "")
		}
		if s.Nothing > 0 {
			fmt.Fprintf(t, "  none\t\t\t\t\t\t%.1f %%\n", 100*float64(s.Nothing)/float64(s.Draws))
		}
	})
	for i := range s.Candidates {
		if e := &s.Candidates[i]; e.Why != "" {
			fmt.Fprintf(b, "  %s is an outlier, %s for %s: it %s\n", e.ID, e.State, e.Since, e.Why)
		}
		if e := &s.Candidates[i]; e.Reported != "" {
			fmt.Fprintf(b, "  %s reports %s\n", e.ID, e.Reported)
		}
	}
	if k := s.Sticky; k != nil {
		fmt.Fprintf(b, "  cookie %s: %s\n", k.Cookie, k.Why)
	}
	if s.Lane != nil {
		s.Lane.write(b)
	}
	if s.HashKey != nil {
		s.HashKey.write(b)
	}
}

func (e *Endpoint) write(t io.Writer, shadow bool) {
	state := e.State
	switch e.Cause {
	case "":
	case "outlier":
		state += " as an outlier"
	default:
		state += " by " + e.Cause
	}
	if e.For != "" {
		state += ", " + e.For + " left"
	}
	if e.Flags != "" {
		state += ", " + e.Flags
	}
	if e.Place != "" {
		state += " (" + e.Place + ")"
	}
	latency, score := "-", "-"
	if e.Latency > 0 {
		latency = fmt.Sprintf("%.1f ms", e.Latency)
	}
	if e.Scored != "" {
		score = fmt.Sprintf("%.3g %s", e.Score, e.Scored)
	}
	inFlight := strconv.FormatInt(e.InFlight, 10)
	if e.Limit > 0 {
		inFlight += fmt.Sprintf(" of %d", e.Limit)
	}
	line := fmt.Sprintf("  %s\t%s\t%g\t%s\t%s\t%s\t%.1f %%\t%.1f %%", e.ID, state, e.Weight, inFlight, latency, score, 100*e.Share, 100*e.Expected)
	if shadow {
		line += fmt.Sprintf("\t%.1f %%", 100*e.Shadowed)
	}
	fmt.Fprintln(t, line)
}

func (l *Lane) write(b *strings.Builder) {
	switch {
	case l.From == "":
		fmt.Fprintf(b, "  labels of the route: %s", strings.Join(l.Labels, ", "))
	case l.Value == "":
		fmt.Fprintf(b, "  the request names no lane (%s)", l.From)
	default:
		fmt.Fprintf(b, "  lane %s = %q", l.From, l.Value)
	}
	fmt.Fprintf(b, ": %s\n", l.Why)
}

func (k *HashKey) write(b *strings.Builder) {
	if k.Value == "" {
		fmt.Fprintf(b, "  the request has no key (%s): it is spread by weight\n", k.From)
		return
	}
	fmt.Fprintf(b, "  key %s = %q, hash %s\n  owner %s", k.From, k.Value, k.Hash, cmp.Or(k.Owner, "none"))
	if k.Serves != k.Owner {
		fmt.Fprintf(b, ", served by %s now", cmp.Or(k.Serves, "none"))
	}
	b.WriteByte('\n')
	if k.Bounded > 0 {
		fmt.Fprintf(b, "  when it is full (bounded_load %g): %s\n", k.Bounded, cmp.Or(k.Spill, "no other endpoint"))
	}
}

func (r *Retry) write(b *strings.Builder) {
	table(b, "after a failed attempt  "+cmp.Or(r.Place, r.Key), func(t io.Writer) {
		for _, c := range r.Cases {
			what := "the client gets the error"
			if c.Repeated {
				what = "another endpoint"
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\n", c.Failure, what, c.Why)
		}
	})
	fmt.Fprintf(b, "  other endpoints: %d; attempts: %s\n", r.Others, r.Attempts)
	if r.Budget != "" {
		fmt.Fprintf(b, "  budget: %s\n", r.Budget)
	}
	if r.Hedge != "" {
		fmt.Fprintf(b, "  hedge: %s\n", r.Hedge)
	}
}
