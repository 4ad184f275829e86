package live

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/test/internal/rig"
)

// service is the one that the story is about.
const service = "web"

// A world is everything that runs for one registry.
type world struct {
	t        *testing.T // of the whole story: what runs outlives the step that starts it
	registry *registry
	binary   string // of poise
	bin      string // of the server
	server   *server
	relays   []*relay
	at       string // the server's address as poise has it
	proxy    *proxy
	load     *load
	running  map[string]*rig.Process // endpoints by address
	row      row
}

func newWorld(t *testing.T, r *registry, bin, binary string) *world {
	return &world{t: t, registry: r, bin: bin, binary: binary, running: make(map[string]*rig.Process),
		row: row{name: r.name}}
}

// A step is a part of the story. Steps stand on each other.
type step struct {
	name string
	play func(*testing.T)
}

func (w *world) steps() []step {
	all := []step{{"pull", w.pull}, {"add", w.add}}
	if w.registry.weights {
		all = append(all, step{"weight", w.weight})
	}
	if w.registry.out != nil {
		all = append(all, step{"out", w.out})
	}
	all = append(all, step{"remove", w.remove})
	if w.registry.lease > 0 {
		all = append(all, step{"expiry", w.expiry})
	}
	all = append(all, []step{
		{"times", w.times},
		{"restart", w.restart},
		{"loss", w.loss},
		{"freeze", w.freeze},
		{"cut", w.cut},
		{"hole", w.hole},
		{"crowd", w.crowd},
		{"end", w.end},
		{"password", w.wrongPassword},
	}...)
	for i, s := range all {
		all[i].play = func(t *testing.T) {
			began := time.Now()
			s.play(t)
			if w.load != nil {
				w.load.flawless(t)
			}
			say("%s: %s took %.1f s%s", w.registry.name, s.name, time.Since(began).Seconds(), map[bool]string{true: ", FAILED"}[t.Failed()])
		}
	}
	return all
}

// serve starts a process with one endpoint that registers itself, and waits until it has.
func (w *world) serve(t *testing.T) discovery.Instance {
	t.Helper()
	in := discovery.Instance{Service: service, Address: w.draw(t), Weight: 1}
	w.running[in.Address] = launch(w.t, cast{Kind: w.registry.kind, Server: w.server.address(), Token: w.server.token, Lease: w.registry.lease, Instances: []discovery.Instance{in}})
	announcedAll(t, w.running[in.Address], 1, startTime)
	return in
}

// draw returns an unused address for an endpoint.
func (w *world) draw(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort(cmp.Or(w.registry.host, "127.0.0.1"), strconv.Itoa(drawPort(t, nil)))
}

// leave ends an endpoint as operators do: it leaves the registry, serves on for a moment,
// and ends.
func (w *world) leave(t *testing.T, in discovery.Instance) {
	t.Helper()
	p := w.running[in.Address]
	delete(w.running, in.Address)
	p.Signal(syscall.SIGTERM)
	await(t, p, "(?m)^removed$")
}

// all waits until every endpoint that runs answers requests from now on.
func (w *world) all(t *testing.T, within time.Duration) {
	t.Helper()
	since := time.Now()
	for address := range w.running {
		w.load.comes(t, address, since, within)
	}
}

// connect makes the network between poise and the server.
func (w *world) connect(t *testing.T) {
	t.Helper()
	offsets := w.registry.ports[:w.registry.relayed]
	if len(offsets) == 0 {
		offsets = []int{0}
	}
	port := drawPort(t, offsets)
	for _, off := range offsets {
		w.relays = append(w.relays, newRelay(w.t, local(port+off), local(w.server.port+off)))
	}
	w.at = local(port)
}

func (w *world) network(t *testing.T, m mode) {
	t.Helper()
	for _, r := range w.relays {
		r.set(t, m)
	}
}

// A proxy is poise run with a file.
type proxy struct {
	*rig.Process
	address, file string
}

// run starts poise with a file of services and routes, until t ends, and waits until it
// listens.
func (w *world) run(t *testing.T, body string) *proxy {
	t.Helper()
	p := w.begin(t, body)
	await(t, p.Process, "(?m)^poise: ready on ")
	return p
}

// begin starts poise, and does not wait.
func (w *world) begin(t *testing.T, body string) *proxy {
	t.Helper()
	p := &proxy{address: local(drawPort(t, nil)), file: filepath.Join(t.TempDir(), "poise.yaml")}
	p.write(t, body)
	p.Process = rig.Start(t, rig.Command{Path: w.binary, Args: []string{"run", "-c", p.file}})
	return p
}

func (p *proxy) write(t *testing.T, body string) {
	t.Helper()
	rig.Write(t, p.file, fmt.Sprintf("version: 1\nlisten: [%q]\n%s", p.address, body))
}

// one is the body of a file with one service for every request. Turns make plain at once
// what is in use.
func (w *world) one(at, password string) string {
	return fmt.Sprintf("services:\n  %s:\n    source: {%s}\n    policy: weighted_round_robin\nroutes: [{service: %[1]s}]\n",
		service, w.registry.source(w.server, at, service, password))
}

// silentAbout fails the test if a log has a secret, plain or as in HTTP's basic
// authentication.
func (p *proxy) silentAbout(t *testing.T, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		for _, user := range []string{"", "live:", "root:", "nacos:"} {
			text := s
			if user != "" {
				text = base64.StdEncoding.EncodeToString([]byte(user + s))
			}
			if strings.Contains(p.Text(), text) {
				t.Errorf("the log has the password in it, %s", map[bool]string{true: "as it is", false: "encoded"}[user == ""])
			}
		}
	}
}

// official is the command that watches a service by the registry's official client.
func official(s *server, kind, address, service string) (rig.Command, error) {
	dir, err := find("clients")
	return rig.Command{Path: filepath.Join(dir, "clients"), Args: []string{kind, address, service}, Env: []string{"TMPDIR=" + s.t.TempDir()}}, err
}
