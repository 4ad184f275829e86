//go:build linux

package peers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

// A stable release has versions that are years old, and a user who chooses a proxy today chooses
// among today's. So nginx and HAProxy are measured twice: as the system has them, and as
// Debian's unstable suite (sid) has them. The latter are unpacked into the cache with all
// that they depend on, down to libc, and run with that libc's own loader: nothing of the
// system changes. They are brought up to date by each make bench.

// unstableSuite is where the newer versions come from.
const unstableSuite = "sid"

// unstablePackages are unpacked with what they depend on.
var unstablePackages = []string{"haproxy", "nginx"}

// unstable is the folder into which the packages were unpacked. The first call sees to it
// that they are those of today; without a network, those of the last time are used.
func (k *kit) unstable() (string, error) {
	if k.newer == "" && k.noNewer == nil {
		k.newer, k.noNewer = k.unpack()
	}
	return k.newer, k.noNewer
}

func (k *kit) unpack() (string, error) {
	root := filepath.Join(k.cache, unstableSuite)
	apt, err := k.aptOf(unstableSuite)
	if err != nil {
		return "", err
	}
	if _, err := apt("update", "-qq"); err != nil {
		if _, missing := os.Stat(root); missing != nil {
			return "", fmt.Errorf("the packages of Debian's %s: %w", unstableSuite, err)
		}
		progress("those of Debian's %s are not brought up to date: %v", unstableSuite, err)
		return root, nil
	}
	install := append([]string{"-qq", "-y", "--no-install-recommends"}, "install")
	list, err := apt(append(append(install, "--print-uris"), unstablePackages...)...)
	if err != nil {
		return "", err
	}
	stamp := filepath.Join(root, "packages")
	if had, err := os.ReadFile(stamp); err == nil && string(had) == list {
		return root, nil
	}
	if _, err := apt(append(append(install, "--download-only"), unstablePackages...)...); err != nil {
		return "", err
	}
	fresh := root + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
		return "", err
	}
	archives, err := filepath.Glob(filepath.Join(k.aptFolder(unstableSuite), "cache", "archives", "*.deb"))
	if err != nil || len(archives) == 0 {
		return "", fmt.Errorf("apt-get has downloaded %d packages, %v", len(archives), err)
	}
	for _, archive := range archives {
		if _, err := k.run(nil, "dpkg", "-x", archive, fresh); err != nil {
			return "", err
		}
		os.Remove(archive)
	}
	return root, errors.Join(os.WriteFile(filepath.Join(fresh, "packages"), []byte(list), 0o644), os.RemoveAll(root), os.Rename(fresh, root))
}

func (k *kit) aptFolder(suite string) string { return filepath.Join(k.cache, suite+".apt") }

// aptOf is an apt-get that knows one suite and nothing of the system: not its lists, not
// what is installed. It takes the packages from where the system's own come from.
func (k *kit) aptOf(suite string) (func(args ...string) (string, error), error) {
	if _, err := find("apt-get"); err != nil {
		return nil, fmt.Errorf("no packages of Debian's %s without apt-get", suite)
	}
	sites, err := k.run(nil, "apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages")
	if err != nil {
		return nil, err
	}
	dir := k.aptFolder(suite)
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	sources := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", debianKeys, mirrorOf(sites), suite)
	for name, text := range map[string]string{"sources.list": sources, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	options := []string{
		"-o", "Dir::Etc::SourceList=" + dir + "/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
		"-o", "Dir::Etc::Preferences=/dev/null", "-o", "Dir::Etc::PreferencesParts=/dev/null",
		"-o", "Dir::State::Lists=" + dir + "/lists", "-o", "Dir::State::status=" + dir + "/status",
		"-o", "Dir::Cache=" + dir + "/cache", "-o", "Debug::NoLocking=true",
		"-o", "APT::Sandbox::User=root", // the user that apt downloads as may not write here
	}
	return func(args ...string) (string, error) { return k.run(nil, "apt-get", append(options, args...)...) }, nil
}

const (
	debianKeys   = "/usr/share/keyrings/debian-archive-keyring.gpg"
	debianMirror = "http://deb.debian.org/debian"
)

// mirrorOf is the first of these sites of packages that has all of Debian's suites. Where
// the system has none, it is Debian's own.
func mirrorOf(sites string) string {
	for site := range strings.Lines(sites) {
		if site = strings.TrimRight(site, "/\n"); strings.HasSuffix(site, "/debian") {
			return site
		}
	}
	return debianMirror
}

// unpacked runs a program of those that were unpacked, with its own loader and libraries.
func (k *kit) unpacked(name string) (rig.Command, error) {
	root, err := k.unstable()
	if err != nil {
		return rig.Command{}, err
	}
	loaders, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*", "ld-linux*.so.*"))
	if err != nil || len(loaders) != 1 {
		return rig.Command{}, fmt.Errorf("%d loaders in %s, %v", len(loaders), root, err)
	}
	return rig.Command{Path: loaders[0], Args: []string{"--library-path", filepath.Dir(loaders[0]), filepath.Join(root, "usr", "sbin", name)}}, nil
}

// mustUnpacked is unpacked where the program was found before.
func (k *kit) mustUnpacked(t *testing.T, name string) rig.Command {
	t.Helper()
	c, err := k.unpacked(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newerVersion is that of an unpacked program, which is asked for it by flag.
func (k *kit) newerVersion(name, pattern, flag string) (string, error) {
	c, err := k.unpacked(name)
	if err != nil {
		return "", err
	}
	return k.version(pattern, c.Path, append(c.Args, flag)...)
}

func TestMirror(t *testing.T) {
	for sites, want := range map[string]string{
		"": debianMirror,
		"http://deb.debian.org/debian-security\nhttps://deb.nodesource.com/node_20.x\n": debianMirror,
		"http://ftp.de.debian.org/debian-security\nhttp://ftp.de.debian.org/debian/\n":  "http://ftp.de.debian.org/debian",
	} {
		if got := mirrorOf(sites); got != want {
			t.Errorf("%q: %s, want %s", sites, got, want)
		}
	}
}
