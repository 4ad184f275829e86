//go:build linux

package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/test/peers/stage"
)

// HTTP/2. The client is h2load, on the processor of the stage, whose endpoints speak HTTP/1.1 or
// HTTP/2. What else happens on a connection, and who suffers by it, is in beside_test.go.

var multiCost = scenario{
	name: "h2-cost", title: "HTTP/2", view: viewCost,
	about: "Connections × streams that never pause, over TLS 1.3 with " + stage.Cipher + ", answers of 128 bytes; endpoints with HTTP/1.1, and with HTTP/2 in the clear (h2c). gRPC: unary calls of 128 bytes each way, h2c to h2c, 8 × 16.",
	variants: []variant{
		{name: "8 × 16 → HTTP/1.1", cert: ecdsa256, setup: setup{Multi: true}, client: h2load{8, 16, somePath[0], false}.turn},
		{name: "8 × 16 → h2c", cert: ecdsa256, setup: setup{Multi: true, Inner: true}, client: h2load{8, 16, somePath[0], false}.turn},
		{name: "64 × 1 → HTTP/1.1", cert: ecdsa256, setup: setup{Multi: true}, client: h2load{64, 1, somePath[0], false}.turn},
		{name: "gRPC", setup: setup{Multi: true, Inner: true, Calls: true}, client: h2load{8, 16, stage.PathCall, true}.turn},
	},
}

var multiBodies = scenario{
	name: "h2-body", title: "HTTP/2: bodies", view: viewCost,
	about: "Content to the client over TLS, 8 connections × 16 streams, endpoints with HTTP/1.1. The client's windows never limit.",
	variants: []variant{
		{name: "16 KiB", cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: h2load{8, 16, sized(16 << 10), false}.turn},
		{name: "128 KiB", cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: h2load{8, 16, sized(128 << 10), false}.turn},
		{name: "1 MiB", cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: h2load{8, 16, sized(mega), false}.turn},
	},
}

// An h2load is the load of one turn.
type h2load struct {
	connections, streams int
	path                 string
	call                 bool // of gRPC
}

// h2loadMin is the least number of requests of a turn: for a first idea of how fast it goes.
const h2loadMin = 400

// turn lets h2load send as many requests as fit into half of a turn, after a tenth of them that do not
// count. The first turn of a candidate finds out how many that are.
func (l h2load) turn(r *run, c *candidate) turn {
	for c.fits == 0 {
		n := h2loadMin
		for range 3 {
			result, rate := l.run(r, c, n)
			if result.Error != "" {
				return turn{Result: result}
			}
			n = int(rate * turnTime.Seconds() / 2)
		}
		c.fits = max(n, h2loadMin, 160*l.connections) // so that connecting is a small part of it
	}
	if result, _ := l.run(r, c, c.fits/10); result.Error != "" {
		return turn{Result: result}
	}
	result, rate := l.run(r, c, c.fits)
	if rate > 0 {
		result.Elapsed = time.Duration(float64(result.Requests) / rate * 1e9) // without the start of the program
	}
	return turn{Result: result}
}

var (
	h2loadRate   = regexp.MustCompile(`finished in \S+, (\S+) req/s`)
	h2loadCounts = regexp.MustCompile(`requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded`)
	h2loadCipher = regexp.MustCompile(`Cipher: (\S+)`)
)

// run has n requests sent, and checks that all were answered well.
func (l h2load) run(r *run, c *candidate, n int) (result stage.Result, rate float64) {
	n = max(n, l.connections*l.streams)
	scheme := "http"
	if c.setup.Cert != "" {
		scheme = "https"
	}
	args := []string{r.kit.h2load, "-t", "1", "-c", strconv.Itoa(l.connections), "-m", strconv.Itoa(l.streams), "-n", strconv.Itoa(n)}
	if l.call {
		args = append(args, "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", r.kit.message())
	}
	args = append(args, fmt.Sprintf("%s://%s%s", scheme, c.setup.Listen, l.path))
	result = r.stage.do(stage.Command{Kind: stage.Child, Args: args, Process: c.process.ID()})
	text := result.Text
	result.Text = ""
	if result.Error != "" {
		return result, 0
	}
	counts, speed := h2loadCounts.FindStringSubmatch(text), h2loadRate.FindStringSubmatch(text)
	if counts == nil || speed == nil {
		result.Error = "h2load has said: " + strings.TrimSpace(text[max(0, len(text)-300):])
		return result, 0
	}
	result.Requests, _ = strconv.Atoi(counts[2])
	if result.Errors = n - result.Requests; result.Errors > 0 {
		result.Error = fmt.Sprintf("%d of %d requests were not answered well", result.Errors, n)
	}
	if m := h2loadCipher.FindStringSubmatch(text); scheme == "https" && (m == nil || m[1] != stage.Cipher) {
		result.Error = fmt.Sprintf("cipher %q", m)
	}
	rate, _ = strconv.ParseFloat(speed[1], 64)
	return result, rate
}

// message is a file with the content of a call of gRPC: a message of 128 bytes, not compressed.
func (k *kit) message() string {
	path := filepath.Join(k.cache, "message")
	text := append([]byte{0, 0, 0, 0, stage.Small}, strings.Repeat("y", stage.Small)...)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		k.t.Fatal(err)
	}
	return path
}
