package simulate

// The pictures of the page, as SVG: a distribution on logarithmic axes, where time went, load over
// time. Colours are classes, which the page's style gives two values, for light and for dark.

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// A canvas is an SVG picture in the making.
type canvas struct{ strings.Builder }

// open begins a picture; about is read to those who do not see it.
func (c *canvas) open(width, height int, about string) {
	fmt.Fprintf(c, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="%s">`+"\n", width, height, width, html.EscapeString(about))
}

func (c *canvas) close() { c.WriteString("</svg>\n") }

func (c *canvas) text(x, y float64, class, text string) {
	fmt.Fprintf(c, `<text x="%s" y="%s" class="%s">%s</text>`+"\n", num(x), num(y), class, html.EscapeString(text))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`+"\n", num(x1), num(y1), num(x2), num(y2), class)
}

func (c *canvas) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(c, `<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`+"\n", num(x), num(y), num(w), num(h), class)
}

// num writes a coordinate to a tenth.
func num(x float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0")
}

// An axis maps the logarithm of values to coordinates.
type axis struct {
	low, high float64 // values
	from, to  float64 // coordinates
}

func (a axis) at(v float64) float64 {
	share := math.Log(v/a.low) / math.Log(a.high/a.low)
	return a.from + min(max(share, 0), 1)*(a.to-a.from)
}

// ticks are 1, 2 and 5 times the powers of ten within the axis, or only those powers if it spans
// more than three of them.
func (a axis) ticks() (all []float64) {
	steps := []float64{1, 2, 5}
	if a.high/a.low > 1000 {
		steps = steps[:1]
	}
	for power := math.Floor(math.Log10(a.low)); power <= math.Ceil(math.Log10(a.high)); power++ {
		for _, s := range steps {
			if v := s * math.Pow(10, power); v >= a.low*0.999 && v <= a.high*1.001 {
				all = append(all, v)
			}
		}
	}
	return all
}

// tails are the lines of the distribution: the share of requests that are slower.
var tails = []struct {
	share float64
	name  string
}{{0.5, "p50"}, {0.1, "p90"}, {0.01, "p99"}, {0.001, "p99.9"}, {0.0001, "p99.99"}}

// distribution draws which share of the requests was answered in which time. Both axes are
// logarithmic: that of time, and that of the share that took longer.
func (c *Comparison) distribution() string {
	const width, height, left, right, bottom = 720, 360, 58, 14, 44
	var s canvas
	s.open(width, height, "Latency by policy: the share of requests that were answered within a time")
	top := c.legend(&s, left, width-right)
	x := axis{math.Inf(1), 0, left, width - right}
	for _, r := range c.Reports {
		if r.Latency.N() > 0 {
			x.low = min(x.low, float64(max(r.Latency.Quantile(0.1), time.Microsecond)))
			x.high = max(x.high, float64(r.Latency.Quantile(1-tails[len(tails)-1].share)))
		}
	}
	if x.high <= x.low {
		x.low, x.high = 1e6, max(x.high, 1e7)
	}
	y := axis{1, tails[len(tails)-1].share, height - bottom, top}
	for _, t := range x.ticks() {
		s.line(x.at(t), top, x.at(t), height-bottom, "grid")
		s.text(x.at(t), height-bottom+18, "tick mid", tick(t))
	}
	for _, t := range tails {
		s.line(left, y.at(t.share), width-right, y.at(t.share), "grid")
		s.text(left-8, y.at(t.share)+4, "tick end", t.name)
	}
	s.text((left+width-right)/2, height-8, "tick mid", "latency")
	for i, r := range c.Reports {
		if r.Latency.N() > 0 {
			fmt.Fprintf(&s, `<polyline class="curve c%d" points="%s"/>`+"\n", i%colours, r.Latency.curve(x, y))
		}
	}
	s.close()
	return s.String()
}

// legend names the colours from one coordinate to another, in as many lines as it takes, and returns
// where it ends.
func (c *Comparison) legend(s *canvas, from, to float64) (bottom float64) {
	x, y := from, 14.0
	for i, r := range c.Reports {
		wide := 30 + 7.2*float64(len(r.Policy))
		if x+wide > to {
			x, y = from, y+20
		}
		s.line(x, y-4, x+14, y-4, fmt.Sprintf("curve c%d", i%colours))
		s.text(x+20, y, "name", r.Policy)
		x += wide + 10
	}
	return y + 14
}

// Picture is the distribution as an SVG document of its own, with its style.
func (c *Comparison) Picture() string {
	picture := strings.Replace(c.distribution(), "<svg ", `<svg xmlns="http://www.w3.org/2000/svg" `, 1)
	own := variables + pictureStyle + curveStyle() + ".ground { fill: var(--back); } text { font: 12px system-ui, sans-serif; }\n"
	return strings.Replace(picture, ">", "><style>"+own+`</style><rect width="100%" height="100%" class="ground"/>`, 1)
}

// curve is the points of a distribution, 24 to each power of ten of those that are slower.
func (h *Histogram) curve(x, y axis) string {
	var b strings.Builder
	for i := 0; ; i++ {
		slower := math.Pow(10, -float64(i)/24)
		if slower < y.high*0.999 || slower*float64(h.n) < 1 {
			return strings.TrimSpace(b.String())
		}
		fmt.Fprintf(&b, "%s,%s ", num(x.at(max(1, float64(h.Quantile(1-slower))))), num(y.at(slower)))
	}
}

// tick writes a time of an axis, in nanoseconds: 200 µs, 5 ms, 2 s.
func tick(ns float64) string {
	switch {
	case ns >= 0.999e9:
		return fmt.Sprintf("%g s", math.Round(ns/1e9))
	case ns >= 0.999e6:
		return fmt.Sprintf("%g ms", math.Round(ns/1e6))
	}
	return fmt.Sprintf("%g µs", math.Round(ns/1e3))
}

// parts are what time is spent on, in the order of drawing.
var parts = []struct {
	name, class string
	of          func(p *Parts) time.Duration
}{
	{"worked on", "work", func(p *Parts) time.Duration { return p.Work }},
	{"network", "network", func(p *Parts) time.Duration { return p.Network }},
	{"waiting in an endpoint's queue", "queue", func(p *Parts) time.Duration { return p.Queue }},
	{"lost to failed attempts", "lost", func(p *Parts) time.Duration { return p.Lost }},
}

// waits draws what the requests of each policy spent their time on: a bar of all of them, and one
// of the slowest percent, as shares of the mean that stands behind.
func (c *Comparison) waits() string {
	const left, bar, width, row = 170, 150, 720, 24
	var s canvas
	height := 34 + row*len(c.Reports)
	s.open(width, height, "What requests spent their time on, by policy")
	second := left + bar + 110.0
	s.text(left, 14, "tick", "all requests")
	s.text(second, 14, "tick", "the slowest percent")
	for i, r := range c.Reports {
		y := float64(24 + row*i)
		s.text(left-10, y+13, "name end", r.Policy)
		s.shares(left, y, bar, r.Latency.Slowest(1))
		s.shares(second, y, bar, r.Latency.Slowest(0.01))
	}
	s.close()
	return s.String()
}

// shares draws one bar with its total behind.
func (c *canvas) shares(x, y, width float64, p Parts) {
	total := float64(p.Total())
	at := x
	for _, part := range parts {
		if share := float64(part.of(&p)) / max(total, 1) * width; share >= 0.05 {
			c.rect(at, y, share, 16, part.class)
			at += share
		}
	}
	c.text(x+width+8, y+13, "tick", Show(p.Total()))
}

// levels is how many shades a load has; colours how many policies have a colour of their own.
const (
	levels  = 8
	colours = 8
	rowsMax = 40
)

// load draws how many requests were at each endpoint over time, compared with what it can work on
// at once: from nothing to twice as many and more. Where no proxy had the endpoint in rotation
// stands a line.
func (r *Report) load() string {
	const left, width, row, top, bottom = 170, 720, 13, 4, 20
	shown := r.Endpoints[:min(len(r.Endpoints), rowsMax)]
	var s canvas
	height := top + bottom + row*len(shown)
	s.open(width, height, "Requests at each endpoint over time with "+r.Policy)
	n := 0
	for i := range shown {
		n = max(n, len(shown[i].Load))
	}
	cell := float64(width-left-14) / float64(max(n, 1))
	var shades [levels + 1]strings.Builder
	var away strings.Builder
	for i := range shown {
		e := &shown[i]
		y := top + row*i
		s.text(left-10, float64(y)+10, "small end", strings.TrimPrefix(strings.TrimPrefix(e.Name, "http://"), "https://"))
		runs(len(e.Load), e.level, func(from, to, level int) {
			if level > 0 {
				box(&shades[level], left+float64(from)*cell, float64(y), float64(to-from)*cell, row-2)
			}
		})
		runs(len(e.Away), func(i int) int { return truth(e.Away[i]) }, func(from, to, is int) {
			if is == 1 {
				box(&away, left+float64(from)*cell, float64(y)+row/2-2, float64(to-from)*cell, 2)
			}
		})
	}
	for level := range shades {
		if shades[level].Len() > 0 {
			fmt.Fprintf(&s, `<path class="heat" fill-opacity="%s" d="%s"/>`+"\n", num2(float64(level)/levels), shades[level].String())
		}
	}
	if away.Len() > 0 {
		fmt.Fprintf(&s, `<path class="away" d="%s"/>`+"\n", away.String())
	}
	s.clock(r, left, width-14, float64(height), n)
	s.close()
	return s.String()
}

// clock writes the axis of time below a picture.
func (c *canvas) clock(r *Report, left, right, bottom float64, n int) {
	whole := time.Duration(n) * r.Interval
	for i := range 4 {
		at := whole * time.Duration(i) / 3
		class := "tick mid"
		if i == 0 {
			class = "tick"
		} else if i == 3 {
			class = "tick end"
		}
		c.text(left+(right-left)*float64(i)/3, bottom-4, class, fmt.Sprintf("%.3g s", at.Seconds()))
	}
}

// level is the shade of an interval: full at twice as many requests as the endpoint has workers.
func (e *EndpointReport) level(i int) int {
	return min(levels, int(math.Round(float64(e.Load[i])/float64(e.Workers)/2*levels)))
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// runs calls each for every run of equal values.
func runs(n int, value func(i int) int, each func(from, to, value int)) {
	for from := 0; from < n; {
		to := from + 1
		for to < n && value(to) == value(from) {
			to++
		}
		each(from, to, value(from))
		from = to
	}
}

// box appends a rectangle to a path.
func box(b *strings.Builder, x, y, w, h float64) {
	fmt.Fprintf(b, "M%s %sh%sv%sh-%sz", num(x), num(y), num(w), num(h), num(w))
}

// num2 writes a number to a hundredth.
func num2(x float64) string { return fmt.Sprintf("%.2f", x) }
