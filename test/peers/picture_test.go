//go:build linux

package peers

import (
	"fmt"
	"math"
	"strings"
)

// A panel is one comparison of the picture.
type panel struct {
	title, unit string
	scenario    string
	variant     string
	figure      figure
	show        func(float64) string
}

var panels = []panel{
	{"HTTP/1.1", "CPU µs per request", "h1", "", cost, tenths},
	{"HTTP/1.1 over TLS 1.3", "CPU µs per request", "tls", "", cost, tenths},
	{"New connection per request", "CPU µs per request", "new", "", cost, tenths},
	{"HTTP/2 over TLS to HTTP/1.1, 8 × 16", "CPU µs per request", "h2-cost", "8 × 16 → HTTP/1.1", cost, tenths},
	{"HTTP/2 over TLS to h2c, 8 × 16", "CPU µs per request", "h2-cost", "8 × 16 → h2c", cost, tenths},
	{"HTTP/2 beside 8 downloads", "p50 of a small request, ms", "h2-fair", downloads, p50, millis},
	{"1 MiB to the client", "CPU µs per request", "body", "1 MiB down", cost, tenths},
	{"Latency at 70 % of saturation", "p99, ms", "latency", "70 % of saturation", p99, millis},
	{"Idle connection", "bytes of memory", "memory", "idle", memory, grouped},
	{"Idle connection of HTTP/2 over TLS", "bytes of memory", "h2-idle", "idle, HTTP/2 over TLS", memory, grouped},
}

// drawn are the peers of the picture; the floor is a line.
var drawn = []string{"Poise, loop", "Poise, goroutine", "nginx", "nginx, sid", "HAProxy", "HAProxy, splice", "HAProxy, sid", "HAProxy, sid, splice", "Envoy", "Caddy", "httputil.ReverseProxy"}

// Measures of the picture.
const (
	panelWidth = 440
	barLeft    = 138 // where names end
	barMax     = 230 // of the longest
	barStep    = 21
	barHeight  = 13
	headHeight = 58
	margin     = 16
)

// style has colours of its own for a dark page, and a ground of its own, so that it can be
// read wherever it stands.
const style = `<style>
svg{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
.ground{fill:#fff}.title{font-size:14px;font-weight:600;fill:#1f2328}.unit,.name{fill:#59636e}.value{fill:#1f2328}
.peer{fill:#c4ccd4}.poise{fill:#0f766e}.slow{fill:#6fb3ab}.floor{stroke:#9a6700;stroke-dasharray:3 3}.note{fill:#9a6700;font-size:11px}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}.title,.value{fill:#e6edf3}.unit,.name{fill:#9198a1}
.peer{fill:#3d444d}.poise{fill:#2dd4bf}.slow{fill:#1c7f74}.floor{stroke:#d29922}.note{fill:#d29922}}
</style>
`

// picture draws the panels, two in a row.
func picture(r results) string {
	var b strings.Builder
	y := margin
	for i := 0; i < len(panels); i += 2 {
		height := 0
		for k, p := range panels[i:min(i+2, len(panels))] {
			text, h := p.draw(r, margin+k*panelWidth, y)
			b.WriteString(text)
			height = max(height, h)
		}
		y += height
	}
	width := 2*panelWidth + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Poise beside other proxies: less is better">`+"\n%s",
		width, y, width, y, style) + fmt.Sprintf("<rect class=\"ground\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", width, y) + b.String() + "</svg>\n"
}

// draw is one panel, and how high it is.
func (p panel) draw(r results, x, y int) (string, int) {
	o := r.Scenarios[p.scenario]
	type bar struct {
		name  string
		value float64
	}
	var bars []bar
	longest, shortest := 0.0, math.Inf(1)
	for _, name := range drawn {
		if v, ok := o.value(p.variant, name, p.figure); ok {
			bars = append(bars, bar{name, v})
			longest, shortest = max(longest, v), min(shortest, v)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<text class="title" x="%d" y="%d">%s</text><text class="unit" x="%d" y="%d">%s, less is better</text>`+"\n",
		x, y+16, p.title, x, y+33, p.unit)
	top := y + headHeight - 12
	for i, one := range bars {
		width := max(2, one.value/longest*barMax)
		class := "peer"
		switch one.name {
		case fastEngine:
			class = "poise"
		case "Poise, goroutine":
			class = "slow"
		}
		at := top + i*barStep
		fmt.Fprintf(&b, `<text class="name" x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/><text class="value" x="%.1f" y="%d">%s</text>`+"\n",
			x+barLeft-8, at+11, strings.TrimPrefix(one.name, "httputil."), class, x+barLeft, at, width, barHeight, float64(x+barLeft)+width+6, at+11, p.show(one.value))
	}
	bottom := top + len(bars)*barStep
	if v, ok := o.value(p.variant, "floor", p.figure); ok && v < shortest { // else it is none: splice copies nothing
		at := float64(x+barLeft) + v/longest*barMax
		fmt.Fprintf(&b, `<line class="floor" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="note" x="%.1f" y="%d">only copying bytes: %s</text>`+"\n",
			at, top-4, at, bottom, at+4, bottom+8, p.show(v))
	}
	return b.String(), headHeight + len(bars)*barStep + 22
}
