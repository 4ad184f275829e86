//go:build linux || darwin || freebsd || netbsd || openbsd

package upgrade

// The old process's half.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
)

const (
	// wordsMax bounds the last words of a new process that are repeated.
	wordsMax = 2 << 10
	// graceFor is how long a process that has accepted connections may take to end.
	graceFor = time.Second
)

// Run starts p and hands over to it. It returns the number of the process that serves in the
// place of this one, whose listeners the caller closes next; or an error, and the other process
// has ended. When ctx is done before the go, that is so with the cause of ctx. errs gets what the new process writes to standard
// error until it serves.
func Run(ctx context.Context, p Program, all []sockets.Named, handover []byte, errs io.Writer) (pid int, err error) {
	c, err := spawn(p, all, errs)
	if err != nil {
		return 0, fmt.Errorf("cannot start %s: %w", p.Path, err)
	}
	defer c.talk.conn.Close()
	went, err := c.converse(ctx, all, handover)
	if err == nil {
		return c.process.Pid, nil
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		err = errors.New("the new process ended the conversation")
	}
	return 0, fmt.Errorf("%w%s", err, c.end(went))
}

// A child is a new process.
type child struct {
	process *os.Process
	talk    *talk
	words   *words
	read    chan struct{}         // closed when its standard error has ended
	ended   chan *os.ProcessState // gets its state when it has ended
}

// converse is the conversation. went: it was given the go.
func (c *child) converse(ctx context.Context, all []sockets.Named, handover []byte) (went bool, err error) {
	defer context.AfterFunc(ctx, func() { c.talk.conn.SetDeadline(time.Unix(1, 0)) })()
	hello := message{Say: "hello", Version: version, Handover: handover}
	for _, one := range all {
		hello.Listeners = append(hello.Listeners, one.Name)
	}
	if err := c.talk.say(hello); err != nil {
		return false, err
	}
	if _, err := c.talk.hear("ready"); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	c.talk.conn.SetDeadline(time.Now().Add(servingFor))
	if err := c.talk.say(message{Say: "go"}); err != nil {
		return true, err
	}
	_, err = c.talk.hear("serving")
	return true, err
}

// end ends the process, and returns how it ended with its last words, for a message. One that was
// given the go may have accepted connections, so it gets a moment to drain.
func (c *child) end(went bool) string {
	select {
	case state := <-c.ended:
		return ended(state) + c.lastWords()
	case <-time.After(100 * time.Millisecond): // it closed the conversation, and is about to end
	}
	if went {
		c.process.Signal(syscall.SIGTERM)
		select {
		case state := <-c.ended:
			return ended(state) + c.lastWords()
		case <-time.After(graceFor):
		}
	}
	c.process.Kill()
	<-c.ended
	return "; it was killed" + c.lastWords()
}

func ended(state *os.ProcessState) string { return "; it ended: " + state.String() }

// lastWords are what the process wrote last, if it has ended.
func (c *child) lastWords() string {
	select {
	case <-c.read:
	case <-time.After(graceFor): // another process has the pipe too
	}
	if text := c.words.String(); text != "" {
		return "; its last words: " + text
	}
	return ""
}

// words keeps the end of what is written.
type words struct {
	mu   sync.Mutex
	text []byte
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if n := len(w.text) - wordsMax; n > 0 {
		w.text = append(w.text[:0], w.text[n:]...)
	}
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(w.text, nil)))
}

// spawn starts the process with its descriptors. They are handed over as numbers: os/exec would
// make sockets block that this process's event loops wait for.
func spawn(p Program, all []sockets.Named, errs io.Writer) (c *child, err error) {
	var ours, theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	talks, err := pair(func() (p [2]int, err error) { return syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0) })
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, talks[0]), append(theirs, talks[1])
	pipe, err := pair(func() (p [2]int, err error) { return p, syscall.Pipe(p[:]) })
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, pipe[0]), append(theirs, pipe[1])
	files := []uintptr{0, 1, number(pipe[1]), number(talks[1]), 2}
	for _, one := range all {
		f, err := fileOf(one.Listener)
		if err != nil {
			return nil, err
		}
		theirs, files = append(theirs, f), append(files, number(f))
	}
	conn, err := net.FileConn(talks[0])
	if err != nil {
		return nil, err
	}
	talks[0].Close()
	pid, _, err := syscall.StartProcess(p.Path, p.Args, &syscall.ProcAttr{Dir: p.Dir, Env: p.environment(), Files: files})
	if err != nil {
		conn.Close()
		return nil, err
	}
	c = &child{talk: newTalk(conn), words: &words{}, read: make(chan struct{}), ended: make(chan *os.ProcessState, 1)}
	c.process, _ = os.FindProcess(pid) // it is ours, and so it is there
	go func() {
		defer close(c.read)
		defer pipe[0].Close()
		io.Copy(io.MultiWriter(c.words, errs), pipe[0])
	}()
	go func() {
		state, _ := c.process.Wait()
		c.ended <- state
	}()
	return c, nil
}

// pair makes two files that are not inherited by accident.
func pair(open func() ([2]int, error)) (files [2]*os.File, err error) {
	syscall.ForkLock.RLock()
	p, err := open()
	if err == nil {
		syscall.CloseOnExec(p[0])
		syscall.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return files, err
	}
	return [2]*os.File{os.NewFile(uintptr(p[0]), "upgrade"), os.NewFile(uintptr(p[1]), "upgrade")}, nil
}

// number is the descriptor of f, which stays as it is: Fd would make it block.
func number(f *os.File) (n uintptr) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = fd })
	}
	return n
}

// fileOf duplicates a listener's descriptor.
func fileOf(l net.Listener) (*os.File, error) {
	f, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", l)
	}
	return f.File()
}
