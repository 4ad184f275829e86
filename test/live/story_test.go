package live

import (
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
)

const (
	// soon bounds what takes part of a second on an idle machine. What is promised about
	// the times is judged by the step times alone.
	soon = 10 * time.Second

	// noticed bounds until poise says that a silent server makes its set stale.
	noticed = 20 * time.Second

	// stale is what its log says then.
	stale = `(?i)\bstale\b`
)

// soonest is soon, for a registry that is polled after its next poll.
func (w *world) soonest() time.Duration { return soon + w.registry.interval }

// pull: what is in the registry when poise starts is used from the first request on.
func (w *world) pull(t *testing.T) {
	w.server = newServer(w.t, w.registry, w.bin, "")
	w.connect(t)
	w.serve(t)
	w.serve(t)
	began := time.Now()
	w.proxy = w.run(w.t, w.one(w.at, ""))
	t.Logf("ready after %v", time.Since(began))
	w.load = begin(w.t, w.proxy.address, "/", 4)
	w.all(t, soon)
}

func (w *world) add(t *testing.T) {
	in := w.serve(t)
	w.load.comes(t, in.Address, time.Now(), w.soonest())
	w.all(t, soon)
}

// weight: an operator changes a weight, the shares follow, and go back.
func (w *world) weight(t *testing.T) {
	in := w.serve(t)
	w.load.comes(t, in.Address, time.Now(), w.soonest())
	others := float64(len(w.running) - 1)
	for _, weight := range []int{7, 1} {
		in.Weight = weight
		if err := w.registry.put(w.server, in); err != nil {
			t.Fatal(err)
		}
		want := float64(weight) / (float64(weight) + others)
		var got float64
		for limit := time.Now().Add(w.soonest()); time.Now().Before(limit); {
			if got = w.load.share(in.Address, 400); math.Abs(got-want) < 0.05 {
				break
			}
		}
		if math.Abs(got-want) >= 0.05 {
			t.Errorf("with weight %d it answers %.0f %%, want %.0f %%", weight, got*100, want*100)
		}
	}
	w.leaves(t, in)
}

// leaves: an endpoint leaves, and is not used any more while it still serves, whether its
// registration was changed meanwhile or not.
func (w *world) leaves(t *testing.T, in discovery.Instance) {
	t.Helper()
	since := time.Now()
	w.leave(t, in)
	if took := w.load.goes(t, in.Address, since, w.soonest()); took > linger-2*silence {
		t.Errorf("it was used for %v after it had left: until it ended", took)
	}
}

func (w *world) remove(t *testing.T) {
	in := w.serve(t)
	w.load.comes(t, in.Address, time.Now(), w.soonest())
	w.leaves(t, in)
	w.all(t, soon)
}

// expiry: a registrar is killed. What it announced is used until its lease is over, since
// its endpoint is well, and not any longer.
func (w *world) expiry(t *testing.T) {
	in := discovery.Instance{Service: service, Address: w.draw(t), Weight: 1}
	launch(w.t, cast{Instances: []discovery.Instance{in}})
	announcing := launch(w.t, cast{Kind: w.registry.kind, Server: w.server.address(), Token: w.server.token, Lease: w.registry.lease, Instances: []discovery.Instance{in}, Mute: true})
	w.load.comes(t, in.Address, time.Now(), w.soonest()+soon)
	// A lease that was renewed lives twice as long in Eureka.
	time.Sleep(w.registry.lease / 2)
	since := time.Now()
	announcing.Kill()
	took := w.load.goes(t, in.Address, since, w.registry.expiry+w.soonest())
	t.Logf("gone %.1f s after its registrar was killed", took.Seconds())
	if took > w.registry.expiry {
		t.Errorf("it was used %v after its registrar was killed, want %v at most", took, w.registry.expiry)
	}
}

// restart: the registry is away for a while and comes back with its data.
func (w *world) restart(t *testing.T) {
	w.server.stop(t)
	time.Sleep(2 * time.Second)
	w.all(t, soon)
	t.Logf("started in %v", w.server.start(t))
	w.arrives(t)
	w.all(t, soon)
}

// arrives: a new endpoint is seen, so that poise is up to date again.
func (w *world) arrives(t *testing.T) discovery.Instance {
	t.Helper()
	in := w.serve(t)
	t.Logf("a new endpoint was seen after %v", w.load.comes(t, in.Address, time.Now(), noticed))
	return in
}

// loss: the registry loses everything, and every instance that runs registers again. The one
// that does not run must not be missed.
func (w *world) loss(t *testing.T) {
	dead := w.serve(t)
	w.load.comes(t, dead.Address, time.Now(), w.soonest())
	w.running[dead.Address].Kill()
	delete(w.running, dead.Address)
	kept := w.unattended(t)
	w.server.lose(t)
	t.Logf("started in %v", w.server.start(t))
	w.arrives(t)
	w.all(t, soon)
	kept(t)
	// Until they have registered again it is poise's guard that keeps them in use.
	time.Sleep(max(w.registry.lease, 2*time.Second))
	w.all(t, soon)
}

// unattended has another poise serve endpoints that an operator has registered, and nobody
// will again. The result judges it after the registry has lost them: they are well, so they
// are used.
func (w *world) unattended(t *testing.T) (judge func(*testing.T)) {
	t.Helper()
	var all []discovery.Instance
	for range 3 {
		all = append(all, discovery.Instance{Service: "kept", Address: w.draw(t)})
	}
	launch(t, cast{Instances: all})
	for _, in := range all {
		if err := w.registry.put(w.server, in); err != nil {
			t.Fatal(err)
		}
	}
	p := w.run(t, fmt.Sprintf("services: {kept: {source: {%s}, policy: round_robin}}\nroutes: [{service: kept}]\n", w.registry.source(w.server, w.at, "kept", "")))
	l := begin(t, p.address, "/", 1)
	for _, in := range all {
		l.comes(t, in.Address, time.Now(), w.soonest())
	}
	return func(t *testing.T) {
		t.Helper()
		await(t, p.Process, "removal held: ")
		since := time.Now()
		for _, in := range all {
			l.comes(t, in.Address, since, soon)
		}
		l.stop()
		l.flawless(t)
		w.row.count(l)
	}
}

// freeze: the registry hangs, with all its connections open. Leases that were not renewed
// meanwhile end when it comes back, though their owners are well.
func (w *world) freeze(t *testing.T) {
	w.hangs(t, func() { w.server.signal(syscall.SIGSTOP) }, func() { w.server.signal(syscall.SIGCONT) })
	w.arrives(t)
	w.all(t, noticed)
}

// hangs plays a time in which poise gets no answer, until poise has said so.
func (w *world) hangs(t *testing.T, begin, end func()) {
	t.Helper()
	said := w.proxy.Said(stale)
	since := time.Now()
	begin()
	ended := false
	stop := func() {
		if !ended {
			ended = true
			end()
		}
	}
	defer stop()
	for w.proxy.Said(stale) == said {
		if time.Since(since) > noticed {
			t.Errorf("poise did not say within %v that its set may be stale", noticed)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("noticed after %.1f s", time.Since(since).Seconds())
	w.load.flawless(t)
	w.all(t, soon)
	stop()
}

// cut: the way to the registry is away, and connections are reset. What changed meanwhile is
// seen when it is back.
func (w *world) cut(t *testing.T) {
	gone := w.serve(t)
	w.load.comes(t, gone.Address, time.Now(), w.soonest())
	w.network(t, cut)
	fresh := w.serve(t)
	w.leave(t, gone)
	time.Sleep(2 * time.Second)
	w.load.flawless(t)
	since := time.Now()
	w.network(t, open)
	t.Logf("what changed was seen %v after the network was back", w.load.comes(t, fresh.Address, since, noticed))
	w.load.goes(t, gone.Address, since, noticed)
	w.all(t, soon)
}

// hole: the network swallows everything.
func (w *world) hole(t *testing.T) {
	var fresh discovery.Instance
	w.hangs(t, func() { w.network(t, hole); fresh = w.serve(t); delete(w.running, fresh.Address) }, func() { w.network(t, open) })
	t.Logf("what changed was seen %v after the network was back", w.load.comes(t, fresh.Address, time.Now(), noticed))
	w.arrives(t)
	w.all(t, soon)
}

// end: at SIGTERM poise ends, and has lost no request.
func (w *world) end(t *testing.T) {
	w.load.stop()
	w.load.flawless(t)
	w.row.count(w.load)
	w.proxy.Signal(syscall.SIGTERM)
	if code := w.proxy.Exit(); code != 0 {
		t.Errorf("poise ends with code %d", code)
	}
	if bad := w.proxy.Said("(?i)panic|DATA RACE|goroutine \\d+ \\["); bad > 0 {
		t.Error("poise says something terrible")
	}
	w.server.stop(t)
	outcome.add(w.row)
}

// wrongPassword: a wrong password is said plainly, never what it is; and the right one, put
// into the file, is all that is needed.
func (w *world) wrongPassword(t *testing.T) {
	right, wrong := secret(), secret()
	s := newServer(t, w.registry, w.bin, right)
	in := discovery.Instance{Service: service, Address: w.draw(t)}
	launch(t, cast{Instances: []discovery.Instance{in}})
	put := func() { s.retry(t, "register", func() error { return w.registry.put(s, in) }) }
	put()
	w.server = s
	p := w.begin(t, w.one(s.address(), wrong))
	await(t, p.Process, `(?m)^.* level=WARN msg="source fails .* error=".*(`+w.registry.refused+`)`)
	t.Log(p.Text())
	p.write(t, w.one(s.address(), right))
	put() // again: it may have ended meanwhile
	w.until(t, p.address, in, startTime)
	p.silentAbout(t, right, wrong, consulToken(right), consulToken(wrong))
}
