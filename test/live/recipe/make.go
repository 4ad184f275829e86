package recipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// packages are Debian's, by the program that is needed of each.
var packages = map[string]string{"javac": "default-jdk-headless", "mvn": "maven"}

// programs installs what is missing.
func programs(ctx context.Context, names []string) error {
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, packages[name])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := run(ctx, "", nil, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)
	return run(ctx, "", []string{"DEBIAN_FRONTEND=noninteractive"}, "apt-get", args...)
}

// debian unpacks a package without installing it: nothing is started, and nothing of the
// system changes.
func debian(name string) func(context.Context, Recipe, string) error {
	return func(ctx context.Context, _ Recipe, to string) error {
		if err := run(ctx, "", nil, "apt-get", "update", "-qq"); err != nil {
			return err
		}
		// apt downloads as a user of its own, who may not write to our folder, and says so.
		if err := run(ctx, to, nil, "apt-get", "download", "-qq", name); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(to, "*.deb"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("apt-get download %s: %d files, %v", name, len(files), err)
		}
		if err := run(ctx, to, nil, "dpkg", "-x", files[0], "."); err != nil {
			return err
		}
		return os.Remove(files[0])
	}
}

// program builds a Go program of the recipe's own module, in which no other module has a
// say about versions.
func program(name, flags, pkg string) func(context.Context, Recipe, string) error {
	return func(ctx context.Context, r Recipe, to string) error {
		env := []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly"}
		return run(ctx, r.source(), env, "go", "build", "-trimpath", "-ldflags", "-s -w "+flags, "-o", filepath.Join(to, name), pkg)
	}
}

// kubernetes builds the API server, which refuses to start without knowing its version, and
// the official client for it.
func kubernetes(ctx context.Context, r Recipe, to string) error {
	const version = "k8s.io/component-base/version.git"
	flags := fmt.Sprintf("-X %[1]sVersion=v1.36.3 -X %[1]sMajor=1 -X %[1]sMinor=36", version)
	if err := program("kube-apiserver", flags, "k8s.io/kubernetes/cmd/kube-apiserver")(ctx, r, to); err != nil {
		return err
	}
	return program("clients", "", ".")(ctx, r, to)
}

// maven has a copy of the recipe's folder built, which leaves the jars in target/lib and
// our own classes, if there are any, in target/classes.
func maven(ctx context.Context, r Recipe, to string) error {
	if err := os.CopyFS(to, os.DirFS(r.source())); err != nil {
		return err
	}
	return run(ctx, to, nil, "mvn", "-B", "-q", "package")
}

// elsewhere is what programs say when the cause is a package registry or the way to it.
var elsewhere = regexp.MustCompile(`(?i)\b[45]\d\d (forbidden|not found|gone|unauthorized|too many|bad gateway|service|gateway|internal)|(status code|code is):? [45]\d\d|` +
	`module lookup disabled|not found in central|could not (transfer|resolve|connect)|unable to (fetch|locate)|failed to fetch|no such host|timed out|timeout|connection re|network is unreachable|` +
	`temporary failure|unexpected EOF|permission denied|are you root`)

// run runs a program at low priority, with its children in a group that ends together.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	var out bytes.Buffer
	c := exec.CommandContext(ctx, "nice", append([]string{"-n", "19", name}, args...)...)
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, append(os.Environ(), env...), &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	if err == nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "go: downloading") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	text := strings.Join(lines, "; ")
	if len(text) > 2000 {
		text = text[:1000] + " … " + text[len(text)-1000:]
	}
	if errors.Is(err, exec.ErrNotFound) || elsewhere.MatchString(text) {
		return Unavailable{fmt.Sprintf("%s: %v: %s", name, err, text)}
	}
	return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
}
