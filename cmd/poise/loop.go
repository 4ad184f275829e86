package main

// What a running instance reacts to: signals, changed files, upgrades, listeners that fail. Nothing
// here waits for anything else.

import (
	"errors"
	"os"
	"time"
)

// events are what a running instance reacts to beside signals.
type events struct {
	reload  func(why string) // nil: there is nothing to reload
	changed <-chan struct{}  // asks for a reload
	over    <-chan struct{}  // asks for the end
	upgrade bool             // another process may take the place
	first   func()           // at a signal to end: asks for over, which is waited for; may be nil
}

// run serves until a signal, an event or a failing listener ends it.
func (in *instance) run(ev events) error {
	r, u := reloads{in: in, do: ev.reload}, upgrades{in: in, allowed: ev.upgrade}
	alive, halt := in.pulse()
	defer halt()
	for {
		select {
		case sig := <-in.signals:
			if ends(sig) {
				u.stop()
				return in.end(sig, ev)
			}
			if sig == upgradeSignal {
				u.ask(wish{who: "a signal"})
				continue
			}
			if ev.reload == nil {
				in.log.Info("nothing to reload: everything is in the flags")
				continue
			}
			r.ask("SIGHUP")
		case <-ev.changed:
			r.ask("the file changed")
		case <-r.done:
			r.next()
		case <-r.slow:
			in.log.Warn("a reload has not ended yet: a file or a source may hang; traffic is served as before")
		case w := <-in.wishes:
			u.ask(w)
		case <-u.done:
			if u.ended() {
				return in.leave(u.pid)
			}
		case <-alive:
			in.notified(in.notify.Alive())
		case <-ev.over:
			u.stop()
			return in.stop()
		case err := <-in.server.Failed():
			u.stop()
			return errors.Join(err, in.stop())
		}
	}
}

// end stops because of a signal.
func (in *instance) end(sig os.Signal, ev events) error {
	times := in.config().Timeouts
	in.log.Info("stopping", "signal", sig.String(), "drain_delay", times.DrainDelay, "drain", times.Drain)
	if ev.first != nil {
		ev.first()
		select {
		case <-ev.over:
		case <-time.After(times.Drain):
		case sig := <-in.signals:
			if ends(sig) {
				return errTwice
			}
		}
	}
	return in.stop()
}

// pulse delivers when systemd wants a sign of life; halt ends that.
func (in *instance) pulse() (alive <-chan time.Time, halt func()) {
	every := in.notify.Every()
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}
