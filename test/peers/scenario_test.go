//go:build linux

package peers

import (
	"fmt"
	"time"

	"github.com/poise-lb/poise/test/peers/stage"
)

// A scenario is one question to all peers.
type scenario struct {
	name     string // what BENCH_ONLY selects by: the first part of it is enough
	title    string
	about    string // what the figures are of
	view     view   // of its table
	variants []variant
	named    []string // peers that take part besides all ordinary ones
	alone    bool     // only the named
	anew     bool     // a process of its own for each turn
	fewer    bool     // half the rounds: figures without a target, or that hardly vary
}

// A variant is one way to ask it. Variants of a scenario take turns, so that they may be
// compared.
type variant struct {
	name  string
	cert  string // kind of certificate; empty: plain
	setup setup  // without addresses, which each subject has of its own
	many  int    // endpoints; 0: two
	load  stage.Command
	share float64 // of what the peer can do at most, which is the rate; 0: load.Rate
	// scraped: metrics are asked for every second. Poise only.
	scraped bool
	traced  bool // spans of one trace in a hundred are sent. Poise only.
	// client is another client than the stage: it is one turn. nil: the stage.
	client func(*run, *candidate) turn
}

// view is what of the results a table shows.
type view int

const (
	viewCost    view = iota // CPU per request, requests per second, quantiles
	viewLatency             // quantiles at a rate
	viewMemory              // bytes per connection
	viewGrowth              // CPU per request, from one variant to the next
	viewTail                // p99, from one variant to the next
	viewBeside              // quantiles of small requests, and what else is there
)

// Usual loads.
const (
	usual      = 64 // connections
	turnTime   = time.Second
	warmTime   = 200 * time.Millisecond
	manyIdle   = 5000
	patientFor = 2 * time.Second // a turn for quantiles
)

var somePath = []string{"/some/path?and=query"}

func closed(connections int, paths ...string) stage.Command {
	if len(paths) == 0 {
		paths = somePath
	}
	return stage.Command{Kind: stage.Closed, Connections: connections, Paths: paths, Warm: warmTime, Time: turnTime}
}

func overTLS(c stage.Command) stage.Command {
	c.TLS = true
	return c
}

func fresh(c stage.Command) stage.Command {
	c.Kind = stage.Fresh
	return c
}

func upload(c stage.Command, bytes int) stage.Command {
	c.Upload = bytes
	return c
}

func slowly(c stage.Command) stage.Command {
	c.Warm = time.Second
	return c
}

func open(connections int, rate float64) stage.Command {
	return stage.Command{Kind: stage.Open, Connections: connections, Paths: somePath, Rate: rate, Warm: 2 * warmTime, Time: patientFor}
}

func hold(what, path string) stage.Command {
	return stage.Command{Kind: stage.Hold, Hold: what, Connections: manyIdle, Paths: []string{path}}
}

// resumed handshakes fall back to whole ones at the first connection only.
func resumed(c stage.Command) stage.Command {
	c.Resume = true
	return c
}

func routed(n int) []string {
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("/r%d/some/path", i))
	}
	return paths
}

func sized(bytes int) string { return fmt.Sprint("/files", stage.PathSize, bytes) }

const mega = 1 << 20

// scenarios in the order in which they are run and shown: those that have targets first,
// in case that the time is over before the end.
var scenarios = []scenario{
	{
		name: "h1", title: "HTTP/1.1, connections kept", view: viewCost, named: []string{"floor"},
		about:    "64 connections that never pause, answers of 128 bytes.",
		variants: []variant{{load: closed(usual)}},
	},
	{
		name: "tls", title: "HTTP/1.1 over TLS 1.3, connections kept", view: viewCost,
		about:    "The same over TLS 1.3 with " + stage.Cipher + " for all, which the client checks.",
		variants: []variant{{cert: ecdsa256, load: overTLS(closed(usual))}},
	},
	{
		name: "new", title: "A new connection for each request", view: viewCost,
		about:    "64 clients that connect, ask with `Connection: close`, and connect again. Connections to the endpoints are kept.",
		variants: []variant{{load: fresh(closed(usual))}},
	},
	{
		name: "body", title: "Bodies", view: viewCost, named: []string{"HAProxy, splice", "HAProxy, sid, splice", "floor"},
		about: "Content of 16 KiB and 1 MiB, of known length, to the client (down) and from it (up), on 16 connections that never pause.",
		variants: []variant{
			{name: "16 KiB down", setup: setup{Bodies: true}, load: closed(16, sized(16<<10))},
			{name: "16 KiB up", setup: setup{Bodies: true}, load: upload(closed(16), 16<<10)},
			{name: "1 MiB down", setup: setup{Bodies: true}, load: closed(16, sized(mega))},
			{name: "1 MiB up", setup: setup{Bodies: true}, load: upload(closed(16), mega)},
		},
	},
	{
		name: "latency", title: "Latency", view: viewLatency, named: []string{"floor"},
		about: "Requests are due at random instants (exponentially distributed gaps), whatever the proxy does, and latency counts from that instant. At 70 % of saturation each proxy has 70 % of the requests per second that it answered just before with 64 connections that never paused.",
		variants: []variant{
			{name: "1,000 requests/s", load: open(10, 1000)},
			{name: "70 % of saturation", load: open(usual, 0), share: 0.7},
		},
	},
	{
		name: "memory", title: "Memory", view: viewMemory, anew: true, fewer: true,
		about: "Bytes of the process's own memory (RssAnon) for each of 5,000 connections: what a process that has served a while grows by. Idle ones have had one answer; a WebSocket has had one message each way; a waiting exchange has sent its request and got nothing. What the kernel needs for the sockets is not in it.",
		variants: []variant{
			{name: "idle", load: hold(stage.HoldIdle, somePath[0])},
			{name: "idle, TLS", cert: ecdsa256, load: overTLS(hold(stage.HoldIdle, somePath[0]))},
			{name: "WebSocket", setup: setup{Upgrade: true}, load: hold(stage.HoldTalk, stage.PathTalk)},
			{name: "waiting", load: hold(stage.HoldWait, stage.PathWait)},
		},
	},
	multiCost, multiBodies, multiBeside, multiReset, multiIdle,
	{
		name: "log", title: "Access log", view: viewGrowth,
		about: "CPU per request, without and with an access log in the format that each has by default, to a file.",
		variants: []variant{
			{name: "off", load: closed(usual)},
			{name: "on", setup: setup{Log: "access.log"}, load: closed(usual)},
		},
	},
	{
		name: "operate", title: "The operator's side", view: viewCost, named: poises, alone: true,
		about: "All off, and on: an access log with every request, metrics that are scraped every second, and `traceparent`. Traced: spans of one trace in a hundred are sent by OTLP, and nothing else is on. Requests are counted for metrics in all of them.",
		variants: []variant{
			{name: "off", load: closed(usual)},
			{name: "on", setup: setup{Log: "access.log", Trace: true}, load: closed(usual), scraped: true},
			{name: "traced", load: closed(usual), traced: true},
		},
	},
	{
		name: "operate-scrape", title: "Scrapes under load", view: viewTail, named: poises, alone: true,
		about: "p99 of 64 connections that never pause, with 1,000 endpoints that all have been asked: without scrapes, and with one of all metrics every second, some 31,000 lines. The scrape is written on the core that serves the requests.",
		variants: []variant{
			{name: "not scraped", many: 1000, load: after3k(closed(usual))},
			{name: "every second", many: 1000, load: after3k(closed(usual)), scraped: true},
		},
	},
	{
		name: "collection", title: "Garbage collection", view: viewTail, named: []string{"Poise, library"}, alone: true,
		about: "p99 at 10,000 requests/s with 10,000 routes, with and without a collection forced every second.",
		variants: []variant{
			{name: "as it comes", setup: setup{Routes: 10_000}, load: routes10k(open(usual, 10_000))},
			{name: "every second", setup: setup{Routes: 10_000, Collect: true}, load: routes10k(open(usual, 10_000))},
		},
	},
	{
		name: "handshake", title: "TLS handshakes", view: viewCost,
		about: "A new connection for each request, over TLS 1.3 with X25519: the figure is of connecting, handshake, request and end. Resumed ones come with a ticket and have a key exchange, but no signature.",
		variants: []variant{
			{name: "ECDSA P-256, full", cert: ecdsa256, load: fresh(overTLS(closed(16)))},
			{name: "ECDSA P-256, resumed", cert: ecdsa256, load: resumed(fresh(overTLS(closed(16))))},
			{name: "RSA 2048, full", cert: rsa2048, load: fresh(overTLS(closed(16)))},
			{name: "RSA 2048, resumed", cert: rsa2048, load: resumed(fresh(overTLS(closed(16))))},
		},
	},
	{
		name: "routes", title: "Many routes", view: viewGrowth, anew: true, fewer: true,
		about: "CPU per request, with requests spread evenly over all routes.",
		variants: []variant{
			{name: "10", setup: setup{Routes: 10}, load: closed(usual, routed(10)...)},
			{name: "10,000", setup: setup{Routes: 10_000}, load: closed(usual, routed(10_000)...)},
		},
	},
	{
		name: "connections", title: "Many connections", view: viewGrowth, anew: true, fewer: true, named: []string{"floor"},
		about: "CPU per request, with connections that never pause: with 8,000 of them there are 8,000 requests under way at any time.",
		variants: []variant{
			{name: "64", setup: setup{Pool: 8192}, load: slowly(closed(64))},
			{name: "8,000", setup: setup{Pool: 8192}, load: slowly(closed(8000))},
		},
	},
	{
		name: "endpoints", title: "Many endpoints", view: viewGrowth, anew: true, fewer: true,
		about: "CPU per request. Before it counts, all endpoints have been connected to, or nearly.",
		variants: []variant{
			{name: "10", many: 10, setup: setup{Pool: 1024}, load: closed(usual)},
			{name: "10,000", many: 10_000, setup: setup{Pool: 2}, load: after30k(closed(usual))},
		},
	},
}

// poises are the engines of the command.
var poises = []string{"Poise, loop", "Poise, goroutine"}

// after3k has 1,000 endpoints asked thrice each before it counts, and takes the time of quantiles.
func after3k(c stage.Command) stage.Command {
	c.WarmAnswers, c.Time = 3000, patientFor
	return c
}

// after30k: three requests for each of 10,000 endpoints, so that, chosen at random, 19 of
// 20 have been connected to.
func after30k(c stage.Command) stage.Command {
	c.WarmAnswers = 30_000
	return c
}

func routes10k(c stage.Command) stage.Command {
	c.Paths = routed(10_000)
	return c
}
