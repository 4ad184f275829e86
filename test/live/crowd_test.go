package live

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	many     = 1000 // instances of one service
	services = 200
	filled   = 3 * time.Minute // bounds the registration of so many on a busy machine
)

// crowds come one at a time: two registries with a thousand instances each keep a small
// machine so busy that the servers, not their clients, are what is late.
var crowds sync.Mutex

// crowd: 200 services, and 1,000 instances of one, all of which register themselves. Another
// poise watches them all.
func (w *world) crowd(t *testing.T) {
	crowds.Lock()
	defer crowds.Unlock()
	quiet.RLock()
	defer quiet.RUnlock()
	w.services(t)
	w.instances(t)
}

// services: each of the routes leads to its own service, and a change of any is seen.
func (w *world) services(t *testing.T) {
	var cast [2][]discovery.Instance
	var body, routes strings.Builder
	for i := range services {
		name := fmt.Sprintf("s%03d", i)
		for k := range cast {
			if k == 0 || i%10 == 0 {
				cast[k] = append(cast[k], discovery.Instance{Service: name, Address: w.draw(t), Weight: 1})
			}
		}
		fmt.Fprintf(&body, "  %s: {source: {%s}, policy: round_robin}\n", name, w.registry.source(w.server, w.at, name, ""))
		fmt.Fprintf(&routes, "  - {match: {path: /%s}, service: %[1]s}\n", name)
	}
	old := w.many(t, cast[0])
	for _, r := range w.relays {
		r.count()
	}
	before := w.watching(t)
	began := time.Now()
	p := w.run(t, "services:\n"+body.String()+"routes:\n"+routes.String())
	for _, in := range cast[0] {
		w.until(t, p.address, in, filled)
	}
	conns := 0
	for _, r := range w.relays {
		conns += r.count()
	}
	w.row.all = fmt.Sprintf("all seen %.1f s after poise started, %d connections made", time.Since(began).Seconds(), conns)
	if w.registry.watches != nil {
		open := w.watching(t) - before
		w.row.all += fmt.Sprintf(", %d watches open", open)
		if open < 1 || open > w.registry.mostWatches {
			t.Errorf("%d services have %d watches open at the server, want 1 to %d", services, open, w.registry.mostWatches)
		}
	}
	fresh := w.many(t, cast[1])
	for _, in := range cast[1] {
		w.until(t, p.address, in, filled)
	}
	t.Log(w.row.all)
	p.Kill()
	old.Kill()
	fresh.Kill()
	giveBack(cast[0])
	giveBack(cast[1])
}

// watching is the number of watches at the server, as it says itself; 0 if it does not.
func (w *world) watching(t *testing.T) int {
	t.Helper()
	if w.registry.watches == nil {
		return 0
	}
	n, err := w.registry.watches(w.server)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// many starts a process of endpoints and waits until all are announced.
func (w *world) many(t *testing.T, all []discovery.Instance) *rig.Process {
	t.Helper()
	p := launch(t, cast{Kind: w.registry.kind, Server: w.server.address(), Token: w.server.token, Lease: 30 * time.Second, Instances: all})
	announcedAll(t, p, len(all), filled)
	return p
}

// until asks for a service until in answers.
func (w *world) until(t *testing.T, address string, in discovery.Instance, within time.Duration) {
	t.Helper()
	var c *rig.Conn
	next := time.Now().Add(soon)
	for limit := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if w.registry.forgets != nil && time.Now().After(next) {
			next = time.Now().Add(soon)
			w.remind(t, in)
		}
		name, again, err := ask(c, address, []byte("GET /"+in.Service+" HTTP/1.1\r\nHost: live\r\n\r\n"))
		c = again
		if err == nil && name == in.Address {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%s of service %s does not answer: %s %v", in.Address, in.Service, name, err)
		}
	}
	if c != nil {
		c.Close()
	}
}

// remind makes another change of an instance where the server's own answer lacks the first.
func (w *world) remind(t *testing.T, in discovery.Instance) {
	t.Helper()
	forgot, err := w.registry.forgets(w.server, in)
	if err != nil || !forgot {
		return
	}
	say("%s: the server's own answer has not had %s for %v, which it was told of: a change makes it look again", w.registry.name, in.Address, soon)
	if err := w.registry.put(w.server, in); err != nil {
		t.Fatal(err)
	}
}

// instances: every one of a thousand gets its turn, while a load runs and a third of them
// leaves.
func (w *world) instances(t *testing.T) {
	var all []discovery.Instance
	for range many {
		all = append(all, discovery.Instance{Service: "big", Address: w.draw(t), Weight: 1})
	}
	third := many / 3
	began := time.Now()
	leaving := w.many(t, all[:third])
	p := w.run(t, fmt.Sprintf("services: {big: {source: {%s}, policy: round_robin}}\nroutes: [{service: big}]\n", w.registry.source(w.server, w.at, "big", "")))
	l := begin(t, p.address, "/", 2)
	staying := w.many(t, all[third:])
	registered := time.Since(began)
	for _, in := range all {
		l.comes(t, in.Address, began, filled)
	}
	w.row.registered = fmt.Sprintf("registered in %.1f s, all had answered after %.1f s", registered.Seconds(), time.Since(began).Seconds())
	t.Log(w.row.registered)
	since := time.Now()
	leaving.Signal(syscall.SIGTERM)
	await(t, leaving, "(?m)^removed$")
	for _, in := range all[:third] {
		l.goes(t, in.Address, since, filled)
	}
	l.stop()
	l.flawless(t)
	w.row.count(l)
	p.Kill()
	leaving.Kill()
	staying.Kill()
	giveBack(all)
}
