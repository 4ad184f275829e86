package main

// How an instance takes the place of another process, and gives its own to the next one. Package
// upgrade has the conversation of the two; here is what each does around it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/cmd/poise/internal/systemd"
	"github.com/poise-lb/poise/cmd/poise/internal/upgrade"
	"github.com/poise-lb/poise/config"
)

// inherit takes what this process was started with: the listeners of the process whose place it
// takes with what that knows of endpoints, or the sockets of systemd.
func (in *instance) inherit(c *config.Config) (err error) {
	if in.before, err = upgrade.Inherited(); err != nil {
		return err
	}
	var all []sockets.Named
	if in.before != nil {
		all, c.Handover = in.before.Listeners, in.before.Handover
		in.notify = &systemd.Notifier{} // not yet: the other process is the service
	} else if all, err = systemd.Sockets(c); err != nil {
		return err
	}
	in.given = sockets.New(all)
	return nil
}

// takeOver says to the process whose place this one takes that it is ready, and waits for the
// go. Without such a process it does nothing. What that one listened on and this one's
// configuration does not name is closed.
func (in *instance) takeOver() error {
	if in.before != nil {
		if err := in.side.Apply(in.config()); err != nil {
			return err
		}
	}
	if left := in.given.Close(); len(left) > 0 {
		in.log.Info("the configuration does not name these addresses any more", "closed", strings.Join(left, ", "))
	}
	if in.before == nil {
		return nil
	}
	return in.before.Ready()
}

// begun says that requests are served, to whom it concerns.
func (in *instance) begun() {
	if in.before != nil {
		in.before.Serving() // which also says to systemd which process the service is now
		in.notify = systemd.New()
		in.log.Info("took the place of the process before", "pid", os.Getpid())
		return
	}
	in.notified(in.notify.Ready())
}

// notified logs that systemd could not be told something.
func (in *instance) notified(err error) {
	if err != nil {
		in.log.Warn("systemd could not be notified", "error", err)
	}
}

// upgradeFor is how long a new process may take until it is ready.
const upgradeFor = 30 * time.Second

// errLate is why the old process gives up a new one.
var errLate = errors.New("the new process was not ready within 30 s")

// Why no upgrade begins.
var (
	errFirst    = errors.New("this is the first process of its container (PID 1), and the container ends with it: replace the container instead")
	errSecond   = errors.New("one is under way")
	errTrying   = errors.New("this command is for trying Poise out")
	errStopping = errors.New("this process was asked to stop meanwhile")
)

// A wish is one for an upgrade.
type wish struct {
	who   string
	reply chan<- outcome // has room for the outcome; nil: nothing waits for it
}

// An outcome is the number of the process that serves now, or why it was not to be.
type outcome struct {
	pid int
	err error
}

func (w wish) answer(o outcome) {
	if w.reply != nil {
		w.reply <- o
	}
}

// wishUpgrade is an upgrade for a client of the admin API, until the outcome. Any goroutine may
// call it.
func (in *instance) wishUpgrade(ctx context.Context, who string) (pid int, err error) {
	reply := make(chan outcome, 1)
	select {
	case in.wishes <- wish{who, reply}:
		o := <-reply
		return o.pid, o.err
	case <-in.ending:
	case <-ctx.Done(): // it has not begun yet, and the client has left
	}
	return 0, fmt.Errorf("%w: %w", admin.ErrRefused, errStopping)
}

// upgrades runs one upgrade at a time, on a goroutine of its own.
type upgrades struct {
	in      *instance
	allowed bool
	cancel  context.CancelCauseFunc
	wish    wish          // the one under way
	done    chan struct{} // closed at the end of the one under way; nil: there is none
	pid     int           // the process that serves now; valid after done
	err     error         // valid after done
}

// ask begins an upgrade, unless one is under way or none can be.
func (u *upgrades) ask(w wish) {
	var why error
	switch {
	case !u.allowed:
		why = errTrying
	case u.done != nil:
		why = errSecond
	case os.Getpid() == 1:
		why = errFirst
	}
	if why != nil {
		u.in.log.Warn("no upgrade", "asked by", w.who, "error", why)
		w.answer(outcome{err: fmt.Errorf("%w: %w", admin.ErrRefused, why)})
		return
	}
	u.in.log.Info("upgrade: starting the new process", "binary", u.in.program.Path, "asked by", w.who)
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	u.cancel, u.done, u.wish = cancel, done, w
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeoutCause(ctx, upgradeFor, errLate)
		defer cancel()
		u.pid, u.err = upgrade.Run(ctx, u.in.program, u.in.sockets(), u.in.proxy.Handover(), u.in.stderr)
	}()
}

// ended is called when the one under way has ended, and reports whether another process serves
// now.
func (u *upgrades) ended() bool {
	u.done = nil
	u.cancel(nil)
	u.wish.answer(outcome{u.pid, u.err})
	if u.err != nil {
		u.in.log.Error("the upgrade failed, this process goes on as before", "error", u.err)
		return false
	}
	return true
}

// stop ends the upgrade under way, if there is one, and the new process with it. One that serves
// already is asked to stop like this one.
func (u *upgrades) stop() {
	if u.done == nil {
		return
	}
	u.cancel(errStopping)
	if !within(2*breakTimeMax, func() { <-u.done }) {
		u.wish.answer(outcome{err: errStopping})
	} else if u.ended() {
		if p, err := os.FindProcess(u.pid); err == nil {
			p.Signal(syscall.SIGTERM) // it came before the wish to stop, and is what is to stop
		}
	}
}

// sockets are the listeners in use, with the addresses of the configuration.
func (in *instance) sockets() []sockets.Named {
	return append(in.server.Sockets(), in.side.Sockets()...)
}

// leave ends this process, in whose place the process pid serves: it accepts nothing more and
// lets open exchanges end.
func (in *instance) leave(pid int) error {
	in.log.Info("upgrade: the new process serves, this one ends", "new pid", pid, "drain", in.config().Timeouts.Drain)
	in.notified(in.notify.MainPID(pid))
	for _, one := range in.sockets() {
		sockets.Keep(one.Listener)
	}
	in.left = true
	in.side.Retire()
	return in.stop()
}

// A pidFile has the number of the process that serves. The zero value is none.
type pidFile struct{ path string }

// write makes it this process's, in one step: a reader finds the old number or the new one.
func (f pidFile) write() error {
	if f.path == "" {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), ".pid")
	if err != nil {
		return err
	}
	_, err = io.WriteString(temp, strconv.Itoa(os.Getpid())+"\n")
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}

// remove removes it, if it is still this process's.
func (f pidFile) remove() {
	if f.path == "" {
		return
	}
	if text, err := os.ReadFile(f.path); err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
		os.Remove(f.path)
	}
}
