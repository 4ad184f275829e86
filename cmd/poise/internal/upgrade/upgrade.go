// Package upgrade puts another process, most likely of a newer binary, in the place of this one,
// without a moment in which nothing listens. Two processes talk over a pair of sockets, a line
// of JSON at a time:
//
//	old   hello, with the names of the listeners and what is known of endpoints
//	new   ready      it could serve, and has accepted nothing yet
//	old   go         from here on the new one accepts
//	new   serving    the old one closes its listeners, drains and ends
//
// If anything else happens the old process ends the new one and goes on: it has never stopped to
// accept. Decision 0017 says why it is done this way.
package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// variable says in the environment of the new process that it is one.
	variable = "POISE_UPGRADE"
	// version of the conversation. New fields do not change it.
	version = 1
	// helloFor bounds each wait of the new process for the old one.
	helloFor = 40 * time.Second
	// servingFor is how long it may take from go to serving, which is a matter of milliseconds.
	servingFor = 5 * time.Second
)

// The descriptors of the new process, beside standard input, output and error. Its standard
// error is a pipe that the old one reads, until go.
const (
	fdTalk     = 3 // the conversation
	fdErrors   = 4 // the real standard error
	fdListener = 5 // and more: the listeners
)

// A message is one line of the conversation.
type message struct {
	Say       string          `json:"say"`
	Version   int             `json:"version,omitempty"`   // of hello
	Listeners []string        `json:"listeners,omitempty"` // of hello: their names, in the order of their descriptors
	Handover  json.RawMessage `json:"handover,omitempty"`  // of hello: Proxy.Handover
}

// A talk is one end of the conversation.
type talk struct {
	conn net.Conn
	in   *json.Decoder
}

func newTalk(conn net.Conn) *talk { return &talk{conn, json.NewDecoder(conn)} }

func (t *talk) say(m message) error { return json.NewEncoder(t.conn).Encode(m) }

// hear reads a message that must say what is wanted.
func (t *talk) hear(want string) (m message, err error) {
	if err := t.in.Decode(&m); err != nil {
		return m, err
	}
	if m.Say != want {
		return m, fmt.Errorf("it said %q, not %q", m.Say, want)
	}
	return m, nil
}

// A Program is the command by which this process was started, for the next one.
type Program struct {
	Path string   // absolute
	Args []string // with the name
	Env  []string
	Dir  string
}

// Self is called at the start: later the folder may be another one, and the binary be replaced. A
// symbolic link is not followed, so that it may lead to another binary then.
func Self() Program {
	p := Program{Path: os.Args[0], Args: os.Args}
	if !strings.ContainsRune(p.Path, filepath.Separator) {
		p.Path, _ = exec.LookPath(p.Path)
	}
	if abs, err := filepath.Abs(p.Path); err == nil && p.Path != "" {
		p.Path = abs
	} else if own, err := os.Executable(); err == nil {
		p.Path = own
	}
	p.Dir, _ = os.Getwd()
	p.Env = os.Environ()
	return p
}

// environment is that of the new process: what was meant for this one alone is not in it.
func (p Program) environment() []string {
	env := []string{fmt.Sprintf("%s=%d", variable, fdTalk)}
	for _, one := range p.Env {
		name, _, _ := strings.Cut(one, "=")
		switch name {
		case variable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID":
		default:
			env = append(env, one)
		}
	}
	return env
}

// ErrUnsupported is what Run returns where a process cannot inherit sockets.
var ErrUnsupported = errors.New("this system cannot hand listeners to another process: start the new binary after the end of this one")
