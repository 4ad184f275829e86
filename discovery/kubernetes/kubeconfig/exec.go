package kubeconfig

// Credentials of a program ("exec plugin"), as the kubeconfigs of EKS, GKE and AKS name one:
// client.authentication.k8s.io/v1 and v1beta1. The program is run when a credential is
// needed for the first time, when the last one is about to expire, and when the server
// refuses it. It writes an ExecCredential to its output.
//
// A program runs with the rights of the proxy. So only that of a file is run which the
// operator has named: never that of a file that was found by itself.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/kubernetes"
)

const (
	execGroup  = "client.authentication.k8s.io/"
	execTime   = 30 * time.Second // for the program
	pipeTime   = 2 * time.Second  // for what it has started, and holds its output open
	outBytes   = 1 << 20          // of its output
	errBytes   = 300              // of what it says about an error
	refuseTime = 30 * time.Second // a credential that is younger is not made again for a 401
	marginTime = 30 * time.Second // before its end it counts as expired; or a tenth of its life
)

// execConfig is what a kubeconfig says about a program.
type execConfig struct {
	APIVersion string   `yaml:"apiVersion"`
	Command    string   `yaml:"command"`
	Args       []string `yaml:"args"`
	Env        []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	InstallHint string `yaml:"installHint"`
	ClusterInfo bool   `yaml:"provideClusterInfo"`
	Interactive string `yaml:"interactiveMode"`
}

// A program gives credentials. Any goroutine may use it.
type program struct {
	config execConfig
	path   string // of the command, or its name
	env    []string
	now    func() time.Time // the clock
	most   time.Duration    // for a run
	young  time.Duration    // how old last must be to be made again because it is refused

	turn chan struct{} // capacity 1: has a token while the fields below are in use

	last    *kubernetes.Credential // nil: there is none
	made    time.Time              // of last
	expires time.Time              // of last; zero: only when it is refused
	failure error                  // of the last run; nil: it succeeded
	again   time.Time              // when it may be run again after failure
	backoff discovery.Backoff
}

// newProgram checks what a kubeconfig in the folder dir says, and runs nothing yet.
func newProgram(c execConfig, cl *cluster, dir string) (*program, error) {
	switch {
	case c.Command == "":
		return nil, errors.New("the user's exec has no command")
	case c.APIVersion != execGroup+"v1" && c.APIVersion != execGroup+"v1beta1":
		return nil, fmt.Errorf("the user's exec has the apiVersion %q: it must be %sv1 or %[2]sv1beta1 (update the kubeconfig, and the program)", c.APIVersion, execGroup)
	case c.Interactive == "Always":
		return nil, errors.New("the user's exec has interactiveMode Always: there is no terminal here")
	case !slices.Contains([]string{"", "Never", "IfAvailable"}, c.Interactive):
		return nil, fmt.Errorf("the user's exec has the interactiveMode %q: it must be Never or IfAvailable", c.Interactive)
	}
	info, err := execInfo(c, cl, dir)
	if err != nil {
		return nil, err
	}
	p := &program{config: c, path: c.Command, now: time.Now, most: execTime, young: refuseTime, turn: make(chan struct{}, 1)}
	if strings.ContainsRune(filepath.ToSlash(c.Command), '/') {
		p.path = relative(dir, c.Command)
	}
	for _, e := range c.Env {
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") || strings.Contains(e.Value, "\x00") {
			return nil, errors.New("the user's exec has an env without a proper name")
		}
		p.env = append(p.env, e.Name+"="+e.Value)
	}
	p.env = append(p.env, "KUBERNETES_EXEC_INFO="+info)
	p.backoff = discovery.Backoff{First: time.Second, Most: time.Minute}
	return p, nil
}

// Get returns the last credential, or runs the program. After a failure it is not run again
// at once: many wait for it, and it may be expensive.
func (p *program) Get(ctx context.Context) (*kubernetes.Credential, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := p.now()
	if p.last != nil && (p.expires.IsZero() || now.Before(p.expires)) {
		return p.last, nil
	}
	if p.failure != nil && now.Before(p.again) {
		return nil, p.failure
	}
	c, expires, err := p.run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err() // nothing was learnt
	}
	now = p.now()
	if err == nil && !expires.IsZero() {
		life := expires.Sub(now)
		if life <= 0 {
			err = fmt.Errorf("the program %s gives a credential that expired at %s: does this machine's clock go right?", p.name(), expires.UTC().Format(time.RFC3339))
		}
		expires = expires.Add(-min(marginTime, life/10))
	}
	if err != nil {
		p.last, p.failure, p.again = nil, err, now.Add(p.backoff.Next())
		return nil, err
	}
	p.last, p.made, p.expires, p.failure = c, now, expires, nil
	p.backoff.Reset()
	return c, nil
}

// Refused forgets c, unless it is new: then another one would not be better.
func (p *program) Refused(ctx context.Context, c *kubernetes.Credential) bool {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return false
	}
	switch {
	case p.last != c: // there is another one already, or none
	case p.now().Sub(p.made) < p.young:
		return false
	default:
		p.last = nil
	}
	return true
}

// name is that of the program, for errors. Its arguments may have secrets in them.
func (p *program) name() string { return filepath.Base(p.path) }

// run runs the program.
func (p *program) run(ctx context.Context) (*kubernetes.Credential, time.Time, error) {
	inner, cancel := context.WithTimeout(ctx, p.most)
	defer cancel()
	cmd := exec.CommandContext(inner, p.path, p.config.Args...)
	cmd.Env = append(os.Environ(), p.env...) // the last of a name counts
	cmd.WaitDelay = pipeTime
	out, says := &head{most: outBytes}, &tail{most: errBytes}
	cmd.Stdout, cmd.Stderr = out, says
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return nil, time.Time{}, fmt.Errorf("the program %s is not installed%s", p.name(), after(": ", p.config.InstallHint))
	case inner.Err() != nil:
		return nil, time.Time{}, fmt.Errorf("the program %s has not ended within %v%s", p.name(), p.most, after(": ", says.String()))
	case out.full:
		return nil, time.Time{}, fmt.Errorf("the program %s writes more than %d MiB", p.name(), outBytes>>20)
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("the program %s fails: %w%s", p.name(), err, after(": ", says.String()))
	}
	c, expires, err := p.parse(out.data)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("the program %s %w%s", p.name(), err, after(": ", says.String()))
	}
	return c, expires, nil
}
