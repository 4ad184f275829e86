package kubernetes

// The goroutine of a namespace: a list, and the watches that follow it.
//
// A watch has nothing to say for minutes, so there must be another sign of life. By HTTP/2
// that is a ping on the connection, and a watch lasts some minutes. A server or a proxy that
// knows only HTTP/1.1 has its watches end after some seconds instead; the next goes on from
// the same revision. So a server that hangs is noticed within the same time either way.
//
// What follows a watch depends on how it ended:
//
//	in its time            the next watch, from the last revision
//	429 or 503             the same, after the time that the server asks for
//	410, revision expired  a list
//	anything else          a list: the server may be another one, with other data

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const (
	watchTime  = 5 * time.Minute // and up to as much again, so that watches do not end together
	watchShort = 7 * time.Second // over HTTP/1.1
	lateTime   = 3 * time.Second // until a watch begins, and to its end after its time

	// silenceMost is how long a watch that has had a bookmark may be silent. The server
	// sends one about every minute, but does not promise it.
	silenceMost = 3 * time.Minute

	// All is listed again after a random time from here to twice that, which bounds how
	// long anything lasts that went wrong unseen.
	relistAfter = 30 * time.Minute

	// Changes of several slices at once are one step, so that an address that moves from
	// one to another does not leave.
	gather = 10 * time.Millisecond
)

// A watcher belongs to the goroutine of its namespace.
type watcher struct {
	space *namespace
	api   *apiServer

	current     bool      // the index is that of revision, so a watch may follow
	revision    string    // up to which the slices are known; empty: there was no list
	relist      time.Time // when to list again
	listed      bool      // this turn has made a list
	settled     bool      // and its watch lasted for a while
	refused     int       // watches since the last list that the server was too busy for
	used        int       // the api's generation when it was asked last
	doubt       bool      // the next list asks the storage
	whole       bool      // and not in pages
	multiplexed bool      // the server speaks HTTP/2
}

// run lists and watches until ctx is done.
func (w *watcher) run(ctx context.Context) {
	loop := client.Loop{Name: "kubernetes", Servers: 1, Most: 5 * time.Second}
	loop.Run(ctx, func() client.Turn { return w.turn(ctx) }, func(err error) {
		// While lists succeed the index is not stale, even if no watch does: then they are
		// what is left, as often as the back-off allows.
		if !w.listed {
			w.space.fail(err)
		}
	})
}

// turn makes a list, if one is due, and a watch.
func (w *watcher) turn(ctx context.Context) (t client.Turn) {
	w.listed, w.settled = false, false
	if !w.current || !time.Now().Before(w.relist) {
		w.current = false
		t.Err = w.step(ctx, w.list)
	}
	if t.Err == nil {
		t.Err = w.step(ctx, w.watch)
	}
	if w.settled {
		t.Answered = time.Now()
	}
	if t.Err == nil || ctx.Err() != nil {
		return t
	}
	busy := overloaded(t.Err)
	if busy {
		w.refused++
	}
	// A watch that is refused again and again may be one that a proxy does not let through.
	w.current = w.current && busy && w.refused <= 3
	if !busy && !errors.Is(t.Err, client.Again) {
		w.api.renew(w.used)
	}
	return t
}

// step makes a list or a watch. If the server refuses the credential it is made again with
// another one, if there is one.
func (w *watcher) step(ctx context.Context, do func(context.Context) error) error {
	w.used = w.api.generation()
	used, err := w.api.authenticate(ctx)
	if err != nil {
		return err
	}
	err = do(ctx)
	if used == nil || client.Status(err) != http.StatusUnauthorized || !w.api.credentials.Refused(ctx, used) {
		return err
	}
	if _, err := w.api.authenticate(ctx); err != nil {
		return err
	}
	return do(ctx)
}

// watch follows the changes since the last revision until the server ends the watch in
// time, which gives nil.
func (w *watcher) watch(ctx context.Context) error {
	lasts := watchShort
	if w.multiplexed {
		lasts = watchTime + rand.N(watchTime)
	}
	ctx, cancel := context.WithTimeout(ctx, lasts+lateTime)
	defer cancel()
	header := time.AfterFunc(lateTime, cancel) // a revision from the future has no answer at all
	res, err := w.api.get(ctx, w.space.name, url.Values{
		"watch":               {"1"},
		"allowWatchBookmarks": {"true"},
		"resourceVersion":     {w.revision},
		"timeoutSeconds":      {strconv.Itoa(int(lasts / time.Second))},
	})
	if !header.Stop() && err != nil {
		w.doubt = true
		return errors.New("the watch does not begin")
	}
	if err != nil {
		if client.Status(err) == http.StatusGone {
			return client.Again
		}
		return err
	}
	w.space.recovered() // what changes is heard of from now on
	began := time.Now()
	events := make(chan event)
	quit := make(chan struct{})
	go func() { // it ends with the body
		defer close(events)
		readEvents(ctx, res.Body, events, quit)
	}()
	defer func() {
		close(quit)
		cancel()
		res.Body.Close()
		for range events {
		}
	}()
	err = w.follow(ctx, events)
	return w.ended(lasts, time.Since(began), err)
}

// ended judges a watch that was to last so long and took so long, and ended with err.
func (w *watcher) ended(lasts, took time.Duration, err error) error {
	// One that falls silent was well before; that is not told sooner by waiting.
	if took >= min(lasts/2, watchShort) {
		w.settled = true
	}
	switch {
	case !errors.Is(err, io.EOF):
		return err
	case took >= lasts-lateTime:
		return nil
	case w.settled:
		return client.Again // the next answer may be that of another server
	}
	return errors.New("the watch was ended early") // by a server that stops, or by a proxy
}

// follow takes events over, those of a moment in one step.
func (w *watcher) follow(ctx context.Context, events <-chan event) error {
	b := batch{watcher: w, timer: time.NewTimer(gather)}
	b.timer.Stop()
	defer b.timer.Stop()
	silence := time.NewTimer(silenceMost)
	silence.Stop()
	defer silence.Stop()
	marked := false // there was a bookmark
	for {
		select {
		case e := <-events:
			if err := b.add(&e); err != nil {
				b.flush()
				return err
			}
			if marked = marked || e.Type == "BOOKMARK"; marked {
				silence.Reset(silenceMost)
			}
		case <-b.timer.C:
			b.flush()
		case <-silence.C:
			return client.Again
		case <-ctx.Done():
			return errors.New("the watch is silent")
		}
	}
}

// A batch is the changes of one moment, which are made in one step.
type batch struct {
	watcher  *watcher
	changes  []change
	revision string      // after changes
	timer    *time.Timer // runs while there are changes
}

// add takes an event over, or returns why the watch cannot go on.
func (b *batch) add(e *event) error {
	if e.err != nil {
		return e.err
	}
	c, revision, err := e.change()
	if err != nil {
		return err
	}
	b.revision = revision
	if c != nil {
		b.changes = append(b.changes, *c)
	}
	switch len(b.changes) {
	case 0:
		b.flush() // there is nothing but the revision
	case 1:
		b.timer.Reset(gather)
	}
	return nil
}

// flush makes the changes. The revision counts only when they are made: the next watch
// begins at it.
func (b *batch) flush() {
	if len(b.changes) > 0 {
		b.watcher.space.apply(b.changes)
		b.changes = nil
	}
	if b.revision != "" {
		b.watcher.revision = b.revision
	}
}

// overloaded reports whether the server asks to be left alone for a moment.
func overloaded(err error) bool {
	return client.Status(err) == http.StatusTooManyRequests || client.Status(err) == http.StatusServiceUnavailable
}
