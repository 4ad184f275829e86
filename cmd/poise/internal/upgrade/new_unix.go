//go:build linux || darwin || freebsd || netbsd || openbsd

package upgrade

// The new process's half.

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
)

// A Predecessor is the process whose place this one takes.
type Predecessor struct {
	Listeners []sockets.Named
	Handover  []byte // for poise.Config

	talk *talk
}

// Inherited returns the process that has started this one to take its place; nil: there is none.
// It is called once, and early: descriptors are in its way until then.
func Inherited() (*Predecessor, error) {
	value := os.Getenv(variable)
	os.Unsetenv(variable)
	if value == "" {
		return nil, nil
	}
	if value != strconv.Itoa(fdTalk) {
		return nil, fmt.Errorf("%s is %q, which this version does not know: it is set by a running process, not by hand", variable, value)
	}
	syscall.CloseOnExec(fdErrors)
	file := os.NewFile(fdTalk, "upgrade")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("%s is set, and descriptor %d is not from a running process: %w", variable, fdTalk, err)
	}
	p := &Predecessor{talk: newTalk(conn)}
	conn.SetDeadline(time.Now().Add(helloFor))
	hello, err := p.talk.hear("hello")
	if err == nil && hello.Version != version {
		err = fmt.Errorf("it speaks version %d, and this one %d", hello.Version, version)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot take the place of the running process: %w", err)
	}
	p.Handover = hello.Handover
	for i, name := range hello.Listeners {
		file := os.NewFile(uintptr(fdListener+i), name)
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("the listener %s cannot be taken over: %w", name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(true) // the path is this process's from now on
		}
		p.Listeners = append(p.Listeners, sockets.Named{Name: name, Listener: l})
	}
	return p, nil
}

// Ready says that this process could serve, and waits for the go: when it returns nil, this
// process accepts. Standard error is the real one from then on.
func (p *Predecessor) Ready() error {
	p.talk.conn.SetDeadline(time.Now().Add(helloFor))
	if err := p.talk.say(message{Say: "ready"}); err != nil {
		return fmt.Errorf("the process whose place this one takes has gone: %w", err)
	}
	if _, err := p.talk.hear("go"); err != nil {
		return fmt.Errorf("the process whose place this one takes has gone: %w", err)
	}
	if err := duplicate(fdErrors, 2); err != nil {
		return err
	}
	return syscall.Close(fdErrors)
}

// Serving says that this process has begun to accept.
func (p *Predecessor) Serving() {
	p.talk.say(message{Say: "serving"}) // an old one that is gone need not know
	p.talk.conn.Close()
}
