package live

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/test/internal/rig"
)

// noise is that of a busy machine, in a comparison of largest values.
const noise = 100 * time.Millisecond

// rounds are as many as take a quarter of a minute. Each has two changes.
func (w *world) rounds() int {
	if w.registry.kind == "nacos" || w.registry.kind == "eureka" {
		return 10 // they take their time: half a second by default, and a poll
	}
	return 20
}

// times: operators add and remove instances, and it is measured how long it takes until
// poise's answers show it, and until the official client's view does. An address comes and
// goes once only: what comes again and again is damped.
func (w *world) times(t *testing.T) {
	quiet.Lock()
	defer quiet.Unlock()
	var hosts []discovery.Instance
	for range w.rounds() {
		hosts = append(hosts, discovery.Instance{Service: service, Address: w.draw(t)})
	}
	serving := launch(t, cast{Instances: hosts})
	client := w.official(t)
	var ours, theirs []time.Duration
	for _, in := range hosts {
		for _, there := range []bool{true, false} {
			since := w.change(t, in, there)
			if there {
				ours = append(ours, w.load.comes(t, in.Address, since, soon))
			} else {
				ours = append(ours, w.load.goes(t, in.Address, since, soon))
			}
			if client != nil {
				theirs = append(theirs, viewed(t, client, in.Address, there, since))
			}
			time.Sleep(time.Duration(len(ours)%7) * 30 * time.Millisecond) // at no beat of anything
		}
	}
	serving.Kill()
	w.row.ours, w.row.official = ours, theirs
	w.judgeTimes(t, ours, theirs)
}

// official starts the official client and waits for its first view; nil: there is none.
func (w *world) official(t *testing.T) *rig.Process {
	t.Helper()
	if w.registry.client == nil {
		return nil
	}
	command, err := w.registry.client(w.server, service)
	if err != nil {
		outcome.note("%s: its official client was not beside it: %v", w.registry.name, err)
		return nil
	}
	p := rig.Start(t, command)
	await(t, p, `(?m)^\d+ \d`)
	return p
}

// change makes a change and returns since when it may be seen.
func (w *world) change(t *testing.T, in discovery.Instance, there bool) time.Time {
	t.Helper()
	since := time.Now()
	do := w.registry.drop
	if there {
		do = w.registry.put
	}
	if err := do(w.server, in); err != nil {
		t.Fatal(err)
	}
	if w.registry.holds == nil {
		return since
	}
	for limit := time.Now().Add(soon); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		asked := time.Now()
		if got, err := w.registry.holds(w.server, in); err == nil && got == there {
			return asked
		}
	}
	t.Fatalf("the server does not say itself that %s is there: %v", in.Address, there)
	return since
}

// viewed waits until the official client has printed a view with or without address, and
// returns when that was.
func viewed(t *testing.T, client *rig.Process, address string, there bool, since time.Time) time.Duration {
	t.Helper()
	for limit := time.Now().Add(soon); ; time.Sleep(2 * time.Millisecond) {
		for line := range strings.Lines(client.Text()) {
			at, view, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			ns, err := strconv.ParseInt(at, 10, 64)
			if err != nil || !strings.HasSuffix(line, "\n") {
				continue // its own messages, and a line that is being written
			}
			if when := time.Unix(0, ns); when.After(since) && slices.Contains(strings.Fields(view), address) == there {
				return when.Sub(since)
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("the official client does not see within %v that %s is there: %v", soon, address, there)
		}
	}
}

// judgeTimes holds what was measured against what is promised.
func (w *world) judgeTimes(t *testing.T, ours, theirs []time.Duration) {
	p99 := percentile(ours, 99)
	t.Logf("%d changes, in ms: %s; by the official client: %s", len(ours), times(ours), times(theirs))
	bound := time.Second
	if w.registry.interval > 0 {
		bound += w.registry.interval
	}
	if p99 > bound {
		t.Errorf("p99 is %v, want %v at most", p99, bound)
	}
	if len(theirs) > 0 && p99 > percentile(theirs, 99)+noise {
		t.Errorf("p99 is %v, the official client's is %v", p99, percentile(theirs, 99))
	}
}
