//go:build linux

package stage

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/test/internal/rig"
)

// turn runs the load and measures it.
func (ld *load) turn() (r Result, err error) {
	defer func() {
		for _, t := range ld.tasks {
			ld.loop.stop(t)
		}
	}()
	if err := ld.begin(); err != nil {
		return r, err
	}
	if ld.Kind == Open {
		ld.gap = 1e9 / ld.Rate
		ld.due = time.Now().Add(ld.Warm / 2) // when all are connected
	}
	if err := ld.warmUp(); err != nil {
		return r, err
	}
	if err := ld.rest(); err != nil {
		return r, err
	}
	r.Before = ld.latency.n
	ld.latency, ld.late, ld.resumed = histogram{}, histogram{}, 0
	var before, after usage
	if before, err = ld.usage(); err != nil {
		return r, err
	}
	began := time.Now()
	ld.goOn()
	if err := ld.until(began.Add(ld.Time)); err != nil {
		return r, err
	}
	if err := ld.rest(); err != nil {
		return r, err
	}
	if r.Elapsed = time.Since(began); ld.Kind == Open {
		r.Elapsed = ld.sent.Sub(began)
	}
	if after, err = ld.usage(); err != nil {
		return r, err
	}
	ld.unanswered()
	return ld.result(r, before, after), nil
}

// begin starts the clients, few enough at a time that no listener's queue overflows.
func (ld *load) begin() error {
	f := map[string]func(*task) error{
		Closed: ld.closed,
		Fresh:  ld.fresh,
		Open:   ld.connection,
	}[ld.Kind]
	if f == nil {
		return fmt.Errorf("no command %q", ld.Kind)
	}
	end := time.Now().Add(holdTime)
	return ld.loop.run(func(now time.Time) time.Time {
		if ld.connected >= ld.Connections || ld.errors >= errorsMax || now.After(end) {
			return now
		}
		for len(ld.tasks) < min(ld.Connections, ld.connected+openingMax) {
			ld.task(f)
		}
		return now.Add(10 * time.Millisecond) // looks again
	})
}

func (ld *load) result(r Result, before, after usage) Result {
	h := &ld.latency
	r.Requests, r.CPU, r.Own = h.n, after.proxy-before.proxy, after.own-before.own
	r.P50, r.P90, r.P99, r.P999, r.Max = h.quantile(.5), h.quantile(.9), h.quantile(.99), h.quantile(.999), h.max
	r.Late, r.Resumed, r.Errors = ld.late.quantile(.99), ld.resumed, ld.errors
	if ld.first != nil {
		r.Error = ld.first.Error()
	}
	return r
}

// warmMax bounds the time before what counts.
const warmMax = 6 * time.Second

// warmUp runs the loop for a while and up to a number of answers.
func (ld *load) warmUp() error {
	began := time.Now()
	for {
		if err := ld.until(time.Now().Add(ld.Warm)); err != nil {
			return err
		}
		if ld.latency.n >= ld.WarmAnswers || ld.errors >= errorsMax || time.Since(began) > warmMax {
			return nil
		}
	}
}

// restMax bounds the wait for the last answers.
const restMax = 15 * time.Second

// rest has the clients of a closed loop send nothing more and returns when all answers are
// there, so that what the proxy did is what was answered: with 8,000 connections, a third
// of a second's requests may be under way. An open loop goes on, whatever happens.
func (ld *load) rest() error {
	if ld.Kind == Open || ld.errors >= errorsMax {
		return nil
	}
	ld.resting = true
	end := time.Now().Add(restMax)
	err := ld.loop.run(func(now time.Time) time.Time {
		if len(ld.parked) == len(ld.tasks) || ld.errors >= errorsMax || now.After(end) {
			return now
		}
		return now.Add(2 * time.Millisecond) // looks again
	})
	if err == nil && len(ld.parked) < len(ld.tasks) && ld.errors == 0 {
		err = fmt.Errorf("%d requests without an answer after %v", len(ld.tasks)-len(ld.parked), restMax)
	}
	return err
}

// goOn ends a rest.
func (ld *load) goOn() {
	all := ld.parked
	ld.resting, ld.parked = false, nil
	for _, t := range all {
		t.next()
	}
}

// gate is where clients rest, between two requests.
func (ld *load) gate(t *task) error {
	if !ld.resting {
		return nil
	}
	ld.parked = append(ld.parked, t)
	if err := t.await(0); err != nil {
		return err
	}
	if ld.resting {
		ld.parked = slices.DeleteFunc(ld.parked, func(p *task) bool { return p == t })
		return errors.New("an idle connection was reset")
	}
	return nil
}

// until runs the loop up to an instant.
func (ld *load) until(end time.Time) error {
	return ld.loop.run(func(now time.Time) time.Time {
		if ld.errors >= errorsMax {
			return now
		}
		if ld.Kind != Open {
			return end
		}
		ld.sent = now
		for !ld.due.After(now) {
			ld.send(now)
			ld.due = ld.due.Add(time.Duration(ld.chance.ExpFloat64() * ld.gap))
		}
		if ld.due.Before(end) {
			return ld.due
		}
		return end
	})
}

// usage is processor time so far.
type usage struct{ proxy, own time.Duration }

func (ld *load) usage() (u usage, err error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.own = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if ld.Process != 0 {
		u.proxy, err = rig.CPU(ld.Process)
	}
	return u, err
}
