package main

// How another configuration takes effect: whole, or not at all.

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/filewatch"
)

// slowReload is when a reload that has not ended is worth a word.
const slowReload = 10 * time.Second

// reloads runs one reload at a time on a goroutine of its own. What is asked for meanwhile
// is one more.
type reloads struct {
	in   *instance
	do   func(why string)
	done chan struct{} // closed at the end of the one under way; nil: there is none
	slow <-chan time.Time
	due  string // why there is to be one more; empty: there is not
}

func (r *reloads) ask(why string) {
	if r.done != nil {
		r.due = why
		return
	}
	done := make(chan struct{})
	r.done, r.slow = done, time.After(slowReload)
	r.in.notified(r.in.notify.Reloading())
	go func() {
		defer close(done)
		r.do(why)
	}()
}

// next is called when one has ended.
func (r *reloads) next() {
	r.done, r.slow = nil, nil
	r.in.notified(r.in.notify.Ready()) // also after one that was refused: it is over
	if why := r.due; why != "" {
		r.due = ""
		r.ask(why)
	}
}

// reload applies the file, or says what is wrong with it and changes nothing. follow is
// given the files that were read, also those of a configuration with mistakes.
func (in *instance) reload(path, why string, follow func(files map[string]filewatch.Sum)) {
	began := time.Now()
	file, err := readFile(path)
	if bad := (*configfile.Error)(nil); errors.As(err, &bad) {
		follow(bad.Files)
	}
	if err == nil {
		follow(file.Files())
		in.applying.Lock()
		if err = located(file, in.apply(file.Config)); err == nil {
			in.origin.file.Store(file)
		}
		in.applying.Unlock()
	} else {
		in.proxy.Refused(err)
	}
	if errors.Is(err, poise.ErrClosed) {
		return // it is stopping
	}
	if err != nil {
		// One record a mistake, so that each can be searched for.
		for line := range strings.Lines(err.Error()) {
			in.log.Error("the last good configuration stays", "reload", why, "problem", strings.TrimSpace(line))
		}
		return
	}
	in.applied(why, began)
}

// applied logs that another configuration is in force.
func (in *instance) applied(why string, began time.Time) {
	c := in.config()
	in.log.Info("configuration applied", "reload", why, "services", len(c.Services), "routes", len(c.Routes),
		"listen", in.server.URLs(c.Listen), "took", time.Since(began))
}

// put is apply for a configuration that came over the admin API.
func (in *instance) put(c config.Config, d admin.Decision) error {
	began := time.Now()
	in.applying.Lock()
	defer in.applying.Unlock()
	if in.proxy.Generation() != d.Generation {
		return admin.ErrStale
	}
	if err := in.apply(c); err != nil {
		return err
	}
	in.applied("admin API, by "+d.Who, began)
	return nil
}

// adapt keeps the operator's own listeners as they are, whatever a client of the admin API has sent:
// the one that the client asks over may be among them. A file says where those are.
func (in *instance) adapt(c config.Config) (config.Config, []string) {
	now, want := in.config(), c.WithDefaults()
	var notes []string
	differ := func(key string, is, wants, none any) {
		if !reflect.DeepEqual(wants, none) && !reflect.DeepEqual(wants, is) {
			notes = append(notes, key+" stays as it is: only a reload of the file changes it")
		}
	}
	differ("admin", now.Admin, want.Admin, config.Admin{})
	differ("status", now.Status, want.Status, config.StatusListener{})
	c.Admin, c.Status = now.Admin, now.Status
	return c, notes
}

// apply puts c in the place of the configuration in force, or fails and changes nothing. Called with
// applying held.
func (in *instance) apply(c config.Config) error {
	c = c.WithDefaults()
	c.Logger = in.log
	listeners, err := in.server.Prepare(c)
	if err != nil {
		in.proxy.Refused(err)
		return err
	}
	side, err := in.side.Prepare(&c)
	if err != nil {
		listeners.Cancel()
		in.proxy.Refused(err)
		return err
	}
	if err := in.proxy.Apply(c); err != nil {
		listeners.Cancel()
		side.Cancel()
		return err
	}
	listeners.Commit()
	side.Commit()
	in.level.Set(levelOf(c.Log))
	if c.Log.Format != in.config().Log.Format {
		in.log.Warn("log.format takes effect at the next start")
	}
	in.conf.Store(&c)
	return nil
}
