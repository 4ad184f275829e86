//go:build linux

package peers

import (
	"fmt"
	"strings"
)

// A target is what a figure of Poise is to be at most: a multiple of another one, or a
// number.
type target struct {
	text     string
	scenario string
	variant  string
	figure   figure
	of       string  // peer; empty: "Poise, loop"
	beside   string  // peer that is compared with; empty: the same one
	base     string  // variant that is compared with; empty: the same one
	most     float64 // multiple, or bytes if nothing is compared with
}

const fastEngine = "Poise, loop"

var targets = []target{
	{text: "HTTP/1.1: CPU per request of nginx's", scenario: "h1", figure: cost, beside: "nginx", most: 0.95},
	{text: "HTTP/1.1: of the floor's", scenario: "h1", figure: cost, beside: "floor", most: 1.2},
	{text: "TLS: of HAProxy's", scenario: "tls", figure: cost, beside: "HAProxy", most: 0.8},
	{text: "new connections: of nginx's", scenario: "new", figure: cost, beside: "nginx", most: 1},
	{text: "1 MiB down: of Envoy's", scenario: "body", variant: "1 MiB down", figure: cost, beside: "Envoy", most: 0.5},
	{text: "1 MiB up: of Envoy's", scenario: "body", variant: "1 MiB up", figure: cost, beside: "Envoy", most: 0.5},
	{text: "1 MiB down: of HAProxy's with splice", scenario: "body", variant: "1 MiB down", figure: cost, beside: "HAProxy, splice", most: 1.1},
	{text: "1 MiB up: of HAProxy's with splice", scenario: "body", variant: "1 MiB up", figure: cost, beside: "HAProxy, splice", most: 1.1},
	{text: "idle connection: bytes", scenario: "memory", variant: "idle", figure: memory, most: 600},
	{text: "idle TLS connection: bytes, of HAProxy's", scenario: "memory", variant: "idle, TLS", figure: memory, beside: "HAProxy", most: 1},
	{text: "open WebSocket: bytes", scenario: "memory", variant: "WebSocket", figure: memory, most: 8 << 10},
	{text: "waiting exchange: bytes", scenario: "memory", variant: "waiting", figure: memory, most: 8 << 10},
	{text: "70 % of saturation: p99 of HAProxy's", scenario: "latency", variant: "70 % of saturation", figure: p99, beside: "HAProxy", most: 1},
	{text: "access log on: CPU per request of that without", scenario: "log", variant: "on", base: "off", figure: cost, most: 1.1},
	{text: "a garbage collection every second: p99 of that without", scenario: "collection", variant: "every second", base: "as it comes",
		figure: p99, of: "Poise, library", most: 1.1},
}

// judge compares; known is false if something was not measured.
func (g target) judge(r results) (value float64, met, known bool) {
	o := r.Scenarios[g.scenario]
	own := g.of
	if own == "" {
		own = fastEngine
	}
	value, known = o.value(g.variant, own, g.figure)
	if !known || g.beside == "" && g.base == "" {
		return value, value <= g.most, known
	}
	beside, base := g.beside, g.base
	if beside == "" {
		beside = own
	}
	if base == "" {
		base = g.variant
	}
	other, known := o.value(base, beside, g.figure)
	if !known || other <= 0 {
		return 0, false, false
	}
	value /= other
	return value, value <= g.most, true
}

// table of all targets.
func targetTable(r results) string {
	var b strings.Builder
	b.WriteString("| | at most | measured | |\n| --- | ---: | ---: | --- |\n")
	for _, g := range targets {
		value, met, known := g.judge(r)
		verdict := "not measured"
		switch {
		case known && met:
			verdict = "met"
		case known:
			verdict = "**missed**"
		}
		show := func(v float64) string { return fmt.Sprintf("%.2f ×", v) }
		if g.beside == "" && g.base == "" {
			show = grouped
		}
		measured := "–"
		if known {
			measured = show(value)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.text, show(g.most), measured, verdict)
	}
	return b.String()
}
