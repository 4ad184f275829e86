//go:build linux

package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/poise-lb/poise/test/peers/stage"
)

// Fairness of HTTP/2: small requests every 2 ms, and what else is on their connection, or on
// another one of an attacker. The client of both is this test's program in a role of its own:
// besider_test.go has it.

var multiBeside = scenario{
	name: "h2-fair", title: "HTTP/2: one connection, several streams", view: viewBeside, fewer: true,
	about: "A request with an answer of 128 bytes every 2 ms over TLS, to endpoints with HTTP/1.1; latency counts from the instant at which it was due. Beside it on the same connection: nothing; 8 downloads of 8 MiB; 8 downloads that the client does not read, by windows that it does not open; an upload to an endpoint that does not read. The receive buffer of the client's socket has 64 KiB.",
	variants: []variant{
		{name: alone, cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: besides{What: alone}.turn},
		{name: downloads, cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: besides{What: downloads}.turn},
		{name: unread, cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: besides{What: unread}.turn},
		{name: stalled, cert: ecdsa256, setup: setup{Multi: true, Bodies: true}, client: besides{What: stalled}.turn},
	},
}

var multiReset = scenario{
	name: "h2-reset", title: "HTTP/2: rapid reset", view: viewBeside, anew: true, fewer: true,
	about: "The same request on a connection of its own, undisturbed and while another client begins requests and resets them as fast as it can (CVE-2023-44487), on a new connection whenever its last one is closed. Memory is what the proxy's own (RssAnon) has grown by at the end.",
	variants: []variant{
		{name: undisturbed, cert: ecdsa256, setup: setup{Multi: true}, client: besides{What: alone, Time: 3 * time.Second}.turn},
		{name: resets, cert: ecdsa256, setup: setup{Multi: true}, client: besides{What: resets, Time: 10 * time.Second}.turn},
	},
}

var multiIdle = scenario{
	name: "h2-idle", title: "HTTP/2: memory", view: viewMemory, anew: true, fewer: true,
	about: "Bytes of the process's own memory for each of 5,000 connections with HTTP/2 over TLS that have had one answer, as under Memory.",
	variants: []variant{{name: "idle, HTTP/2 over TLS", cert: ecdsa256, setup: setup{Multi: true},
		load: stage.Command{Kind: stage.Hold, Hold: stage.HoldIdle, Connections: manyIdle, Paths: somePath, TLS: true, Multi: true}}},
}

// What is beside the small requests.
const (
	alone       = "alone"
	downloads   = "8 downloads"
	unread      = "8 downloads not read"
	stalled     = "upload that stalls"
	undisturbed = "undisturbed"
	resets      = "rapid reset"
)

// besides is what the client of one turn is asked for.
type besides struct {
	What    string
	Address string
	Time    time.Duration // 0: patientFor
}

const besideVariable = "POISE_BENCH_BESIDE"

// turn runs the client and takes its figures.
func (b besides) turn(r *run, c *candidate) turn {
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	b.Address = c.setup.Listen
	if b.Time == 0 {
		b.Time = patientFor
	}
	text, err := json.Marshal(b)
	if err != nil {
		r.t.Fatal(err)
	}
	before := anonymous(r.t, c.process.ID())
	ran := r.stage.do(stage.Command{Kind: stage.Child, Args: []string{self}, Process: c.process.ID(),
		Env: []string{"GOMAXPROCS=1", roleVariable + "=beside", besideVariable + "=" + string(text)}})
	t := turn{Result: ran, Bytes: float64(anonymous(r.t, c.process.ID()) - before)}
	t.Text = ""
	if ran.Error != "" {
		return t
	}
	var got stage.Result
	if err := json.Unmarshal([]byte(ran.Text), &got); err != nil {
		t.Error = fmt.Sprintf("the client has said: %s", ran.Text[max(0, len(ran.Text)-300):])
		return t
	}
	got.CPU = ran.CPU
	t.Result = got
	return t
}
