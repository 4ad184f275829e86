// Command packages builds what a release is made of: for each architecture a deb, an rpm and a
// tar.gz, with the binary, the unit of systemd, an example configuration, manual pages and
// completions, and the checksums of all. `make packages` runs it.
//
// It is a module of its own because nfpm, which writes deb and rpm, requires more than a
// hundred modules. It is not in the workspace (../../go.work); the binary it builds is.
//
// The same source gives the same bytes: every time in the packages is that of the commit, or
// $SOURCE_DATE_EPOCH.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A build is what all packages of one run have in common.
type build struct {
	root    string // the repository
	out     string // folder for the packages
	stage   string // folder for binaries and generated files
	version string // semantic version without v
	date    time.Time
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("packages: ")
	root := flag.String("root", "../..", "folder of the repository")
	out := flag.String("out", "../../dist", "folder for the packages")
	archs := flag.String("arch", "amd64,arm64", "architectures, by their names in Go")
	version := flag.String("version", "", "version; the default is what git describe says")
	flag.Parse()
	if err := run(*root, *out, *version, strings.Split(*archs, ",")); err != nil {
		log.Fatal(err)
	}
}

func run(root, out, version string, archs []string) error {
	var b build
	var err error
	if b.root, err = filepath.Abs(root); err != nil {
		return err
	}
	if b.out, err = filepath.Abs(out); err != nil {
		return err
	}
	if b.date, err = b.commitDate(); err != nil {
		return err
	}
	if b.version = strings.TrimPrefix(version, "v"); b.version == "" {
		b.version = b.describe()
	}
	if b.stage, err = os.MkdirTemp("", "poise-packages-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.stage)
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := b.generate(); err != nil {
		return err
	}
	var names []string
	for _, arch := range archs {
		made, err := b.packages(arch)
		if err != nil {
			return err
		}
		names = append(names, made...)
	}
	return b.checksums(names)
}

// packages builds the binary for one architecture and everything that it goes into.
func (b *build) packages(arch string) (names []string, err error) {
	if err := b.compile(arch, b.binary(arch)); err != nil {
		return nil, err
	}
	contents, err := b.contents(arch)
	if err != nil {
		return nil, err
	}
	for _, format := range []string{"deb", "rpm"} {
		name, err := b.system(format, arch, contents)
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", format, arch, err)
		}
		names = append(names, name)
	}
	name, err := b.tarball(arch, contents)
	return append(names, name), err
}

func (b *build) binary(arch string) string { return filepath.Join(b.stage, "poise-"+arch) }

// compile builds the binary in the repository's workspace.
func (b *build) compile(arch, into string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X github.com/poise-lb/poise/internal/front.Release=v"+b.version, "-o", into, "./cmd/poise")
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "GOWORK=", "GOFLAGS=", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	return check(cmd)
}

// generate has a binary for this machine write the manual pages and the completions, which are
// the same on all.
func (b *build) generate() error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", b.binary("here"), "./cmd/poise")
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "GOWORK=", "GOFLAGS=", "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if err := check(cmd); err != nil {
		return err
	}
	if err := check(exec.Command(b.binary("here"), "man", "--dir", filepath.Join(b.stage, "man"))); err != nil {
		return err
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text, err := exec.Command(b.binary("here"), "completion", shell).Output()
		if err != nil {
			return fmt.Errorf("poise completion %s: %w", shell, err)
		}
		if err := os.WriteFile(filepath.Join(b.stage, "completion."+shell), text, 0o644); err != nil {
			return err
		}
	}
	pages, err := filepath.Glob(filepath.Join(b.stage, "man", "*.1"))
	if err != nil || len(pages) == 0 {
		return fmt.Errorf("no manual pages in %s (%v)", b.stage, err)
	}
	for _, page := range pages {
		if err := compress(page, page+".gz"); err != nil {
			return err
		}
	}
	return compress(filepath.Join(b.root, "CHANGELOG.md"), filepath.Join(b.stage, "changelog.gz"))
}

// compress writes from as a gzip file without name and time.
func compress(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(to, packed.Bytes(), 0o644)
}

var sinceTag = regexp.MustCompile(`-([0-9]+)-(g[0-9a-f]+)$`)

// describe makes a version of what git knows: 1.2.0 at the tag v1.2.0, 1.2.0+5.gabcdef0 five
// commits later, which sorts after it, and 0.0.0-dev.DATE before the first tag or without git.
func (b *build) describe() string {
	cmd := exec.Command("git", "describe", "--tags", "--match", "v[0-9]*")
	cmd.Dir = b.root
	if text, err := cmd.Output(); err == nil {
		tag := strings.TrimPrefix(strings.TrimSpace(string(text)), "v")
		return sinceTag.ReplaceAllString(tag, "+$1.$2")
	}
	return "0.0.0-dev." + b.date.Format("20060102150405")
}

// commitDate is the time that all files in the packages have.
func (b *build) commitDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		cmd := exec.Command("git", "log", "-1", "--format=%ct")
		cmd.Dir = b.root
		out, err := cmd.Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("no date: neither a git repository nor SOURCE_DATE_EPOCH (%w)", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// checksums writes SHA256SUMS, in the form of sha256sum.
func (b *build) checksums(names []string) error {
	var sums strings.Builder
	for _, name := range names {
		f, err := os.Open(filepath.Join(b.out, name))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", h.Sum(nil), name)
		fmt.Println(filepath.Join(b.out, name))
	}
	return os.WriteFile(filepath.Join(b.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// check runs cmd and puts what it wrote into the error.
func check(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}
