package plan

// A Plan as text. A sign begins each line: + added, - removed, ~ changed, ! needs a restart.
//
//	generation 42 → 43, no connection is closed
//	+ route    shop  /shop/** → shop
//	~ service  carts  policy.bounded_load 1.25 → 1.1
//	~ service  users  + http://10.0.0.9:8080
//	    25.3 % of keys move (least possible 25.0 %)
//	    probed anew: 1 · state kept: 14

import (
	"fmt"
	"io"
	"strings"
)

// listedMost bounds how many endpoints of one kind a line names.
const listedMost = 8

// signs of what is done.
var signs = map[string]string{Add: "+", Remove: "-", Modify: "~"}

// WriteText writes the Plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	switch {
	case !p.Changes:
		b.WriteString("nothing changes\n")
	case p.Generation > 0:
		fmt.Fprintf(&b, "generation %d → %d, no connection of a client is closed\n", p.Generation, p.Generation+1)
	default:
		b.WriteString("no connection of a client is closed\n")
	}
	for i := range p.Routes {
		p.Routes[i].write(&b, "route")
	}
	for i := range p.Services {
		p.Services[i].write(&b)
	}
	for i := range p.Discover {
		p.Discover[i].write(&b, "discover")
	}
	for _, e := range p.Settings {
		fmt.Fprintf(&b, "~ setting   %s\n", e)
	}
	for i := range p.Listeners {
		p.Listeners[i].write(&b)
	}
	for _, key := range p.Restart {
		fmt.Fprintf(&b, "! %s takes effect at the next start or upgrade\n", key)
	}
	if t := p.Totals; p.Changes {
		fmt.Fprintf(&b, "endpoints: %d added, %d removed, %d kept, %d probed anew", t.Added, t.Removed, t.Kept, t.Probed)
		if t.Idle > 0 {
			fmt.Fprintf(&b, "; %d idle connections to endpoints are closed", t.Idle)
		}
		if t.Ending > 0 {
			fmt.Fprintf(&b, "; %d attempts under way at removed endpoints end by themselves", t.Ending)
		}
		b.WriteByte('\n')
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	fmt.Fprintf(&b, "hash %s\n", p.Hash)
	_, err := io.WriteString(w, b.String())
	return err
}

// String is the edit on one line.
func (e Edit) String() string {
	absent := func(text string) string {
		if text == "" {
			return "(absent)"
		}
		return text
	}
	return fmt.Sprintf("%s %s → %s", e.Key, absent(e.Old), absent(e.New))
}

func (c *Change) write(b *strings.Builder, kind string) {
	fmt.Fprintf(b, "%s %-9s %s", signs[c.Do], kind, c.Name)
	if c.About != "" {
		fmt.Fprintf(b, "  %s", c.About)
	}
	if len(c.Edits) == 1 {
		fmt.Fprintf(b, "  %s\n", c.Edits[0])
		return
	}
	b.WriteByte('\n')
	for _, e := range c.Edits {
		fmt.Fprintf(b, "    %s\n", e)
	}
}

func (s *Service) write(b *strings.Builder) {
	s.Change.write(b, "service")
	if s.Source {
		b.WriteString("    its source is replaced: endpoints that both name keep their state\n")
	}
	ids := func(sign string, list []string) {
		for i, id := range list {
			if i == listedMost {
				fmt.Fprintf(b, "    %s and %d more\n", sign, len(list)-i)
				break
			}
			fmt.Fprintf(b, "    %s %s\n", sign, id)
		}
	}
	ids("+", s.Added)
	ids("-", s.Removed)
	for _, e := range s.Edited {
		fmt.Fprintf(b, "    ~ %s\n", e)
	}
	if k := s.Keys; k != nil {
		fmt.Fprintf(b, "    %.1f %% of keys move (least possible %.1f %%)\n", 100*k.Moved, 100*k.Least)
		if k.Renamed {
			b.WriteString("    policy.key is another one: requests get other keys, so all may move\n")
		}
	}
	if s.Do == Modify {
		fmt.Fprintf(b, "    probed anew: %d · state kept: %d\n", s.Probed, s.Kept)
	}
}

func (l *Listener) write(b *strings.Builder) {
	sign := signs[l.Do]
	if l.Restart != "" {
		sign = "!"
	}
	fmt.Fprintf(b, "%s %-9s %s", sign, "listen", l.Address)
	if l.TLS {
		b.WriteString("  TLS")
	}
	switch {
	case l.Restart != "":
		fmt.Fprintf(b, "  needs a restart: %s", l.Restart)
	case l.Do == Modify:
		b.WriteString("  tls changes, for connections that are accepted from then on")
	case l.Do == Remove:
		b.WriteString("  accepts no more; its connections live on")
	}
	b.WriteByte('\n')
}
