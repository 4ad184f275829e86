//go:build linux

package peers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A target is what a figure of Poise is to be at most: a multiple of another one, or a
// number.
type target struct {
	text     string
	scenario string
	variant  string
	figure   figure
	of       string   // peer; empty: "Poise, loop"
	beside   []string // peers of which the best is compared with; nil: the same one
	base     string   // variant that is compared with; empty: the same one
	most     float64  // multiple, or bytes if nothing is compared with
}

const fastEngine = "Poise, loop"

// Peers that stand for one another in targets: the best of them is the one to be compared
// with.
var (
	nginxes   = []string{"nginx", "nginx, sid"}
	haproxies = []string{"HAProxy", "HAProxy, sid"}
	best      = slices.Concat(haproxies, nginxes)
	splicers  = []string{"HAProxy, splice", "HAProxy, sid, splice"}
)

var targets = []target{
	{text: "HTTP/1.1: CPU per request of nginx's", scenario: "h1", figure: cost, beside: nginxes, most: 0.95},
	{text: "HTTP/1.1: of the floor's", scenario: "h1", figure: cost, beside: []string{"floor"}, most: 1.2},
	{text: "TLS: of HAProxy's", scenario: "tls", figure: cost, beside: haproxies, most: 0.8},
	{text: "new connections: of nginx's", scenario: "new", figure: cost, beside: nginxes, most: 1},
	{text: "1 MiB down: of Envoy's", scenario: "body", variant: "1 MiB down", figure: cost, beside: []string{"Envoy"}, most: 0.5},
	{text: "1 MiB up: of Envoy's", scenario: "body", variant: "1 MiB up", figure: cost, beside: []string{"Envoy"}, most: 0.5},
	{text: "1 MiB down: of HAProxy's with splice", scenario: "body", variant: "1 MiB down", figure: cost, beside: splicers, most: 1.1},
	{text: "1 MiB up: of HAProxy's with splice", scenario: "body", variant: "1 MiB up", figure: cost, beside: splicers, most: 1.1},
	{text: "idle connection: bytes", scenario: "memory", variant: "idle", figure: memory, most: 600},
	{text: "idle TLS connection: bytes, of HAProxy's", scenario: "memory", variant: "idle, TLS", figure: memory, beside: haproxies, most: 1},
	{text: "open WebSocket: bytes", scenario: "memory", variant: "WebSocket", figure: memory, most: 8 << 10},
	{text: "waiting exchange: bytes", scenario: "memory", variant: "waiting", figure: memory, most: 8 << 10},
	{text: "70 % of saturation: p99 of HAProxy's", scenario: "latency", variant: "70 % of saturation", figure: p99, beside: haproxies, most: 1},
	{text: "HTTP/2, 8 × 16, to HTTP/1.1: of the better of HAProxy and nginx", scenario: "h2-cost", variant: "8 × 16 → HTTP/1.1", figure: cost, beside: best, most: 0.9},
	{text: "HTTP/2, 8 × 16, to h2c", scenario: "h2-cost", variant: "8 × 16 → h2c", figure: cost, beside: best, most: 0.75},
	{text: "HTTP/2, 64 × 1, to HTTP/1.1", scenario: "h2-cost", variant: "64 × 1 → HTTP/1.1", figure: cost, beside: best, most: 0.95},
	{text: "HTTP/2, 16 KiB", scenario: "h2-body", variant: "16 KiB", figure: cost, beside: best, most: 0.9},
	{text: "HTTP/2, 128 KiB", scenario: "h2-body", variant: "128 KiB", figure: cost, beside: best, most: 1},
	{text: "HTTP/2, 1 MiB", scenario: "h2-body", variant: "1 MiB", figure: cost, beside: best, most: 1},
	{text: "gRPC, unary, h2c to h2c: of HAProxy's", scenario: "h2-cost", variant: "gRPC", figure: cost, beside: haproxies, most: 0.9},
	{text: "gRPC, unary, h2c to h2c: of Envoy's", scenario: "h2-cost", variant: "gRPC", figure: cost, beside: []string{"Envoy"}, most: 0.5},
	{text: "HTTP/2, 8 × 16: the goroutine engine's CPU of the loop's", scenario: "h2-cost", variant: "8 × 16 → HTTP/1.1", figure: cost, of: "Poise, goroutine", beside: []string{fastEngine}, most: 1.6},
	{text: "idle connection of HTTP/2 over TLS: bytes", scenario: "h2-idle", variant: "idle, HTTP/2 over TLS", figure: memory, most: 12 << 10},
	{text: "a small request beside 8 downloads: p50, µs", scenario: "h2-fair", variant: downloads, figure: p50, most: 3000},
	{text: "a small request beside 8 downloads: p50 of HAProxy's", scenario: "h2-fair", variant: downloads, figure: p50, beside: haproxies, most: 0.5},
	{text: "beside 8 downloads not read: p50 of that alone", scenario: "h2-fair", variant: unread, base: alone, figure: p50, most: 1.5},
	{text: "beside an upload that stalls: p50 of that alone", scenario: "h2-fair", variant: stalled, base: alone, figure: p50, most: 1.5},
	{text: "while another client resets: p99 of that undisturbed", scenario: "h2-reset", variant: resets, base: undisturbed, figure: p99, most: 3},
	{text: "access log on: CPU per request of that without", scenario: "log", variant: "on", base: "off", figure: cost, most: 1.1},
	{text: "access log, scraped metrics, traceparent: CPU per request of all off", scenario: "operate", variant: "on", base: "off", figure: cost, most: 1.08},
	{text: "spans of 1 % of traces: CPU per request of all off", scenario: "operate", variant: "traced", base: "off", figure: cost, most: 1.05},
	{text: "metrics of 1,000 endpoints scraped every second: p99 of that without", scenario: "operate-scrape", variant: "every second", base: "not scraped", figure: p99, most: 1.1},
	{text: "a garbage collection every second: p99 of that without", scenario: "collection", variant: "every second", base: "as it comes",
		figure: p99, of: "Poise, library", most: 1.1},
}

// judge compares. against is the peer that was compared with: the best of several, "" if it
// is a number or Poise itself. known is false if something was not measured.
func (g target) judge(r results) (value float64, against string, met, known bool) {
	o := r.Scenarios[g.scenario]
	own := cmp.Or(g.of, fastEngine)
	value, known = o.value(g.variant, own, g.figure)
	if !known || g.beside == nil && g.base == "" {
		return value, "", value <= g.most, known
	}
	var other float64
	if g.beside == nil {
		other, known = o.value(g.base, own, g.figure)
	} else {
		other, against, known = o.leastOf(cmp.Or(g.base, g.variant), g.beside, g.figure)
	}
	if !known || other <= 0 {
		return 0, "", false, false
	}
	value /= other
	return value, against, value <= g.most, true
}

// table of all targets.
func targetTable(r results) string {
	var b strings.Builder
	b.WriteString("| | at most | measured | against | |\n| --- | ---: | ---: | --- | --- |\n")
	for _, g := range targets {
		value, against, met, known := g.judge(r)
		verdict := "not measured"
		switch {
		case known && met:
			verdict = "met"
		case known:
			verdict = "**missed**"
		}
		show := func(v float64) string { return fmt.Sprintf("%.2f ×", v) }
		if g.beside == nil && g.base == "" {
			show = grouped
		}
		measured := "–"
		if known {
			measured = show(value)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", g.text, show(g.most), measured, against, verdict)
	}
	return b.String()
}

// bestTable has, for each scenario, the figure of Poise beside the least of all the others:
// CPU per request, or what the scenario is about instead.
func bestTable(r results) string {
	var b strings.Builder
	b.WriteString("| | Poise, loop | best of the others | | |\n| --- | ---: | ---: | ---: | --- |\n")
	for _, s := range scenarios {
		f, show, unit := cost, tenths, "CPU µs"
		switch s.view {
		case viewMemory:
			f, show, unit = memory, grouped, "bytes"
		case viewLatency:
			f, show, unit = p99, millis, "p99, ms"
		case viewBeside:
			f, show, unit = p50, millis, "p50, ms"
		}
		for _, v := range s.variants {
			ours, known := r.Scenarios[s.name].value(v.name, fastEngine, f)
			best, name, others := r.Scenarios[s.name].leastOf(v.name, others(), f)
			if !known || !others || best <= 0 {
				continue
			}
			title := s.title
			if v.name != "" {
				title += ": " + v.name
			}
			fmt.Fprintf(&b, "| %s, %s | %s | %s | %.2f × | %s |\n", title, unit, show(ours), show(best), ours/best, name)
		}
	}
	return b.String()
}

// others are the peers that are proxies and not ours.
func others() (names []string) {
	for _, p := range peers {
		if !strings.HasPrefix(p.name, "Poise") && p.name != "floor" {
			names = append(names, p.name)
		}
	}
	return names
}

// leastOf is the least value of these peers and whose it is; false if none has one.
func (o outcome) leastOf(variant string, peers []string, f figure) (least float64, of string, known bool) {
	for _, p := range peers {
		if v, ok := o.value(variant, p, f); ok && (!known || v < least) {
			least, of, known = v, p, true
		}
	}
	return least, of, known
}
