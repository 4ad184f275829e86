package packages

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	repository = "../.."
	version    = "v1.2.3-rc.1" // of the packages that the tests build
	debName    = "poise_1.2.3~rc.1-1_amd64.deb"
)

// A built is one run of the packager, for amd64 alone: deb, rpm and tar.gz differ between
// architectures in the binary only.
type built struct {
	dist string // folder of the packages
	root string // the deb, extracted
	info string // its control files
}

// build runs the packager once for the tests of t.
func build(t *testing.T) built {
	t.Helper()
	if testing.Short() {
		t.Skip("builds packages")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no dpkg-deb on this machine")
	}
	b := built{dist: t.TempDir(), root: t.TempDir(), info: t.TempDir()}
	cmd := exec.Command("go", "run", ".", "-arch", "amd64", "-version", version, "-out", b.dist)
	cmd.Dir = filepath.Join(repository, "tools", "packages")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	output(t, cmd)
	deb := filepath.Join(b.dist, debName)
	output(t, exec.Command("dpkg-deb", "-x", deb, b.root))
	output(t, exec.Command("dpkg-deb", "-e", deb, b.info))
	return b
}

// output runs cmd, which must succeed, and returns what it wrote.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPackages(t *testing.T) {
	b := build(t)
	t.Run("files", b.files)
	t.Run("control", b.control)
	t.Run("scripts", b.scripts)
	t.Run("binary", b.binary)
	t.Run("manual", b.manual)
	t.Run("unit", b.unit)
	t.Run("others", b.others)
	t.Run("installed", b.installed)
}

// The deb has these files with these modes, and no other but manual pages.
func (b built) files(t *testing.T) {
	want := map[string]fs.FileMode{
		"usr/bin/poise": 0o755, "etc/poise/poise.yaml": 0o644, "etc/logrotate.d/poise": 0o644,
		"usr/lib/systemd/system/poise.service": 0o644, "usr/lib/sysusers.d/poise.conf": 0o644,
		"usr/share/bash-completion/completions/poise": 0o644, "usr/share/zsh/vendor-completions/_poise": 0o644,
		"usr/share/fish/vendor_completions.d/poise.fish": 0o644,
		"usr/share/doc/poise/copyright":                  0o644, "usr/share/doc/poise/changelog.gz": 0o644,
	}
	err := filepath.WalkDir(b.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(b.root, name)
		mode, known := want[rel]
		if strings.HasPrefix(rel, "usr/share/man/man1/") {
			mode, known = 0o644, true
		}
		if !known || info.Mode() != mode || info.Size() == 0 {
			t.Errorf("%s: mode %v, %d bytes; want mode %v (in the list: %v)", rel, info.Mode(), info.Size(), mode, known)
		}
		delete(want, rel)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("missing: %v (%v)", want, err)
	}
}

func (b built) control(t *testing.T) {
	if got, want := read(t, filepath.Join(b.info, "conffiles")), "/etc/logrotate.d/poise\n/etc/poise/poise.yaml\n"; got != want {
		t.Errorf("conffiles:\n%swant:\n%s", got, want)
	}
	control := read(t, filepath.Join(b.info, "control"))
	for _, line := range []string{"Package: poise", "Version: 1.2.3~rc.1-1", "Architecture: amd64", "Homepage: https://github.com/poise-lb/poise"} {
		if !strings.Contains(control, line+"\n") {
			t.Errorf("control has no line %q:\n%s", line, control)
		}
	}
}

func (b built) binary(t *testing.T) {
	poise := filepath.Join(b.root, "usr/bin/poise")
	if got := output(t, exec.Command(poise, "version")); !strings.HasPrefix(got, "poise "+version+" ") {
		t.Errorf("poise version: %s", got)
	}
	if got := output(t, exec.Command(poise, "check", "-c", filepath.Join(b.root, "etc/poise/poise.yaml"))); !strings.HasPrefix(got, "ok: ") {
		t.Errorf("poise check: %s", got)
	}
}

var (
	listed = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}`)
	flags  = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// Every command that --help lists has a page, which names every flag that --help names, and
// which man's formatter reads without a warning.
func (b built) manual(t *testing.T) {
	poise := filepath.Join(b.root, "usr/bin/poise")
	pages := 0
	var visit func(words []string)
	visit = func(words []string) {
		name := strings.Join(append([]string{"poise"}, words...), "-")
		page := unpacked(t, filepath.Join(b.root, "usr/share/man/man1", name+".1.gz"))
		pages++
		plain := strings.ReplaceAll(page, `\-`, "-")
		help := output(t, exec.Command(poise, append(slices.Clone(words), "--help")...))
		_, table, _ := strings.Cut(help, "\nFlags:")
		for _, flag := range flags.FindAllString(table, -1) {
			if !strings.Contains(plain, `\fB`+flag+`\fR`) && strings.Contains(table, "  "+flag) {
				t.Errorf("%s(1) does not name %s", name, flag)
			}
		}
		_, commands, _ := strings.Cut(help, "Available Commands:\n")
		commands, _, _ = strings.Cut(commands, "\n\n")
		for _, m := range listed.FindAllStringSubmatch(commands, -1) {
			if m[1] != "help" {
				visit(append(slices.Clone(words), m[1]))
			}
		}
		if groff, err := exec.LookPath("groff"); err == nil {
			cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
			cmd.Stdin = strings.NewReader(page)
			if out := output(t, cmd); out != "" {
				t.Errorf("%s(1): %s", name, out)
			}
		}
	}
	visit(nil)
	if pages < 20 {
		t.Errorf("only %d pages", pages)
	}
}

func unpacked(t *testing.T, name string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(read(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The other formats exist, and their checksums are right.
func (b built) others(t *testing.T) {
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = b.dist
	got := output(t, cmd)
	for _, name := range []string{"poise-1.2.3~rc.1-1.x86_64.rpm", "poise-1.2.3-rc.1-linux-amd64.tar.gz"} {
		if !strings.Contains(got, name+": OK") {
			t.Errorf("no %s in SHA256SUMS:\n%s", name, got)
		}
	}
	if rpm, err := exec.LookPath("rpm"); err == nil {
		list := output(t, exec.Command(rpm, "-qpl", "--nosignature", filepath.Join(b.dist, "poise-1.2.3~rc.1-1.x86_64.rpm")))
		for _, name := range []string{"/usr/bin/poise", "/usr/lib/systemd/system/poise.service", "/usr/share/zsh/site-functions/_poise"} {
			if !strings.Contains(list, name+"\n") {
				t.Errorf("the rpm has no %s:\n%s", name, list)
			}
		}
	}
	if rpm := []byte(read(t, filepath.Join(b.dist, "poise-1.2.3~rc.1-1.x86_64.rpm"))); !bytes.HasPrefix(rpm, []byte{0xed, 0xab, 0xee, 0xdb}) {
		t.Error("the rpm does not begin as one")
	}
	list := output(t, exec.Command("tar", "tzf", filepath.Join(b.dist, "poise-1.2.3-rc.1-linux-amd64.tar.gz")))
	for _, name := range []string{"poise", "LICENSE", "poise.yaml", "systemd/poise.service", "man/poise-run.1", "completions/_poise"} {
		if !strings.Contains(list, "poise-1.2.3-rc.1-linux-amd64/"+name+"\n") {
			t.Errorf("the tar.gz has no %s", name)
		}
	}
}
