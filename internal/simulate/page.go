package simulate

// The result as an HTML page: it stands alone, needs no script and follows the reader's choice of
// light or dark. It bears no date, so the same run gives the same bytes.

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// A Page is what one page shows.
type Page struct {
	Title       string
	Notes       []string
	Comparisons []*Comparison
	LossesOf    string // policy of Losses
	Losses      []Loss
}

// variables are the colours, for light and for dark.
const variables = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --back: #ffffff; --line: #d9dee5; --heat: #1f5fbf; --away: #c2410c;
  --work: #7c8ea6; --network: #c3ccd8; --queue: #d97706; --lost: #b91c1c;
  --c0: #1f5fbf; --c1: #d97706; --c2: #15803d; --c3: #b91c1c; --c4: #7e22ce; --c5: #0e7490; --c6: #854d0e; --c7: #be185d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b4; --back: #14181f; --line: #303844; --heat: #6ea8ff; --away: #fb923c;
  --work: #71829a; --network: #46525f; --queue: #f0a33a; --lost: #f26d6d;
  --c0: #6ea8ff; --c1: #f0a33a; --c2: #5cc98a; --c3: #f26d6d; --c4: #c08cf0; --c5: #4cc3d9; --c6: #d3a75f; --c7: #f08bb8; } }
`

// pictureStyle is the style of what pictures are made of; curveStyle has the colours of policies.
const pictureStyle = `.grid { stroke: var(--line); } .tick { fill: var(--soft); } .name, .small { fill: var(--ink); } .small { font-size: 11px; } .mid { text-anchor: middle; } .end { text-anchor: end; }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .heat { fill: var(--heat); } .away { fill: var(--away); }
`

func curveStyle() string {
	var b strings.Builder
	for i := range colours {
		fmt.Fprintf(&b, ".c%d { stroke: var(--c%[1]d); }\n", i)
	}
	return b.String()
}

const pageStyle = `body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p.soft, figcaption { color: var(--soft); margin: .3rem 0; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; } th { font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.scroll { overflow-x: auto; } figure { margin: 0; } svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 0; } .keys span { margin-right: 1.2em; white-space: nowrap; }
.work { fill: var(--work); background: var(--work); } .network { fill: var(--network); background: var(--network); } .queue { fill: var(--queue); background: var(--queue); } .lost { fill: var(--lost); background: var(--lost); }
`

// WriteHTML writes the page.
func (p *Page) WriteHTML(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<style>%s</style>\n", html.EscapeString(p.Title), variables+pageStyle+pictureStyle+curveStyle())
	fmt.Fprintf(&b, "</head>\n<body>\n<h1>%s</h1>\n", html.EscapeString(p.Title))
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "<p class=\"soft\">%s</p>\n", html.EscapeString(note))
	}
	for _, c := range p.Comparisons {
		c.section(&b)
	}
	if len(p.Losses) > 0 {
		fmt.Fprintf(&b, "<h2>If endpoints die</h2>\n<p>They die for good after a third of the time, with %s.</p>\n", html.EscapeString(p.LossesOf))
		htmlTable(&b, lossHeads(), lossRows(p.Losses))
	}
	b.WriteString("</body>\n</html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// section writes what one scenario has shown.
func (c *Comparison) section(b *strings.Builder) {
	fmt.Fprintf(b, "<h2>%s</h2>\n", html.EscapeString(c.Scenario.Name))
	if c.Scenario.About != "" {
		fmt.Fprintf(b, "<p>%s.</p>\n", html.EscapeString(upperFirst(c.Scenario.About)))
	}
	fmt.Fprintf(b, "<p class=\"soft\">%s.</p>\n", html.EscapeString(upperFirst(c.Setup)))
	htmlTable(b, c.heads(), c.rows())
	if rows := c.classRows(); rows != nil {
		b.WriteString("<h3>By priority of requests</h3>\n")
		htmlTable(b, classHeads(), rows)
	}
	b.WriteString("<h3>How long requests took</h3>\n<figure>\n")
	fmt.Fprintf(b, "<div class=\"scroll\">%s</div>\n<figcaption>Further left is faster. The higher, the rarer: at p99 one request in a hundred took longer.</figcaption>\n</figure>\n", c.distribution())
	b.WriteString("<h3>Where requests waited</h3>\n<figure>\n<p class=\"keys\">")
	for _, part := range parts {
		fmt.Fprintf(b, `<span><i class="key %s"></i>%s</span>`, part.class, part.name)
	}
	fmt.Fprintf(b, "</p>\n<div class=\"scroll\">%s</div>\n</figure>\n", c.waits())
	b.WriteString("<h3>Load of each endpoint over time</h3>\n<p class=\"soft\">Dark: twice as many requests as the endpoint works on at once, or more. Line: not in rotation.</p>\n")
	for _, r := range c.Reports {
		fmt.Fprintf(b, "<figure>\n<figcaption>%s</figcaption>\n<div class=\"scroll\">%s</div>\n", html.EscapeString(r.Policy), r.load())
		if n := len(r.Endpoints) - rowsMax; n > 0 {
			fmt.Fprintf(b, "<figcaption>and %d more</figcaption>\n", n)
		}
		b.WriteString("</figure>\n")
	}
}

func htmlTable(b *strings.Builder, heads []string, rows [][]string) {
	b.WriteString("<div class=\"scroll\"><table>\n<tr>")
	for _, h := range heads {
		fmt.Fprintf(b, "<th>%s</th>", html.EscapeString(h))
	}
	b.WriteString("</tr>\n")
	for _, row := range rows {
		b.WriteString("<tr>")
		for _, cell := range row {
			fmt.Fprintf(b, "<td>%s</td>", html.EscapeString(cell))
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table></div>\n")
}

func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
