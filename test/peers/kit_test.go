//go:build linux

package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A kit is what all peers of a run share: where programs are.
type kit struct {
	t      *testing.T
	cache  string // programs that are no packages of the system
	poise  string // the built command
	floor  string // the compiled floor
	h2load string

	newer   string // see unstable
	noNewer error
}

// installTime bounds the installation of one peer. Caddy is compiled.
const installTime = 8 * time.Minute

func newKit(t *testing.T) *kit {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{t: t, cache: filepath.Join(dir, "poise-bench")}
	if err := os.MkdirAll(k.cache, 0o755); err != nil {
		t.Fatal(err)
	}
	return k
}

// run runs a program of the installation, and puts its output into the error.
func (k *kit) run(env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(k.t.Context(), installTime)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = k.cache // not in a module of this repository
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		text := strings.TrimSpace(string(out))
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text[max(0, len(text)-300):])
	}
	return string(out), nil
}

// find is an installed program of the system; see also rig.Program.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}

// debian returns a program, from a package of Debian's if it is missing.
func (k *kit) debian(program, packages string) (string, error) {
	if path, err := find(program); err == nil {
		return path, nil
	}
	if _, err := find("apt-get"); err != nil {
		return "", fmt.Errorf("%s is not installed, and there is no apt-get", program)
	}
	quiet := []string{"DEBIAN_FRONTEND=noninteractive"}
	if _, err := k.run(quiet, "apt-get", "update", "-qq"); err != nil {
		return "", err
	}
	if _, err := k.run(quiet, "apt-get", append([]string{"install", "-y", "-qq"}, strings.Fields(packages)...)...); err != nil {
		return "", err
	}
	return find(program)
}

// version asks a program for its version: the first submatch of pattern in what it says.
func (k *kit) version(pattern, name string, args ...string) (string, error) {
	out, err := k.run(nil, name, args...)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if m == nil {
		return "", errors.New(name + " does not tell its version")
	}
	return m[1], nil
}
