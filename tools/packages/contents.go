package main

// What is in the packages: one table for deb, rpm and tar.gz, and the descriptions of deb and rpm.

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// A file is one row of the table.
type file struct {
	source string // on this machine
	dest   string // in a system that has the package; "": only in the tar.gz
	tar    string // in the tar.gz; "": not there
	mode   fs.FileMode
	config bool // the operator's after the installation: an upgrade leaves changes alone
}

func (b *build) contents(arch string) ([]file, error) {
	from := func(name string) string { return filepath.Join(b.root, filepath.FromSlash(name)) }
	staged := func(name string) string { return filepath.Join(b.stage, name) }
	out := []file{
		{b.binary(arch), "/usr/bin/poise", "poise", 0o755, false},
		{from("deploy/packages/poise.yaml"), "/etc/poise/poise.yaml", "poise.yaml", 0o644, true},
		{from("deploy/packages/logrotate"), "/etc/logrotate.d/poise", "systemd/logrotate", 0o644, true},
		{from("deploy/packages/poise.service"), "/usr/lib/systemd/system/poise.service", "systemd/poise.service", 0o644, false},
		{from("deploy/packages/sysusers.conf"), "/usr/lib/sysusers.d/poise.conf", "systemd/sysusers.conf", 0o644, false},
		{staged("completion.bash"), "/usr/share/bash-completion/completions/poise", "completions/poise.bash", 0o644, false},
		{staged("completion.zsh"), "/usr/share/zsh/vendor-completions/_poise", "completions/_poise", 0o644, false},
		{staged("completion.fish"), "/usr/share/fish/vendor_completions.d/poise.fish", "completions/poise.fish", 0o644, false},
		{from("deploy/packages/copyright"), "/usr/share/doc/poise/copyright", "", 0o644, false},
		{staged("changelog.gz"), "/usr/share/doc/poise/changelog.gz", "", 0o644, false},
		{from("CHANGELOG.md"), "", "CHANGELOG.md", 0o644, false},
		{from("README.md"), "", "README.md", 0o644, false},
		{from("LICENSE"), "", "LICENSE", 0o644, false},
	}
	pages, err := filepath.Glob(staged("man/*.1"))
	for _, page := range pages {
		name := filepath.Base(page)
		out = append(out, file{page + ".gz", "/usr/share/man/man1/" + name + ".gz", "", 0o644, false}, file{page, "", "man/" + name, 0o644, false})
	}
	return out, err
}

// system writes a deb or an rpm and returns its name.
func (b *build) system(format, arch string, contents []file) (string, error) {
	info := nfpm.WithDefaults(b.info(format, arch, contents))
	packager := map[string]nfpm.Packager{"deb": deb.Default, "rpm": rpm.DefaultRPM}[format]
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return "", err
	}
	name := packager.ConventionalFileName(info)
	f, err := os.Create(filepath.Join(b.out, name))
	if err != nil {
		return "", err
	}
	info.Target = f.Name()
	return name, cmp.Or(packager.Package(info, f), f.Close())
}

// info describes the package. It depends on nothing: the binary is static, and a system
// without systemd gets the files all the same.
func (b *build) info(format, arch string, contents []file) *nfpm.Info {
	script := func(name string) string { return filepath.Join(b.root, "deploy", "packages", name) }
	info := &nfpm.Info{
		Name: "poise", Arch: arch, Platform: "linux", Version: "v" + b.version, Release: "1", MTime: b.date,
		Section: "net", Priority: "optional", License: "Apache-2.0", Homepage: "https://github.com/poise-lb/poise",
		Maintainer:  "The authors of Poise <https://github.com/poise-lb/poise/issues>",
		Description: "load balancer and reverse proxy for HTTP services\nPoise balances HTTP/1.1, HTTP/2 from clients and WebSocket over endpoints\nfrom a file, DNS or a registry, probes them, and shows an operator what it does.",
		Overridables: nfpm.Overridables{
			Suggests: []string{"logrotate"},
			Scripts:  nfpm.Scripts{PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm")},
			RPM:      nfpm.RPM{BuildHost: "localhost", Summary: "load balancer and reverse proxy for HTTP services"},
		},
	}
	for _, f := range contents {
		if f.dest == "" {
			continue
		}
		if format == "rpm" { // zsh of Debian has a folder of its own for packages
			f.dest = strings.Replace(f.dest, "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
		}
		kind := files.TypeFile
		if f.config {
			kind = files.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, &files.Content{
			Source: f.source, Destination: f.dest, Type: kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode, MTime: b.date},
		})
	}
	return info
}

// tarball writes the tar.gz, with everything below one folder, and returns its name.
func (b *build) tarball(arch string, contents []file) (string, error) {
	base := "poise-" + b.version + "-linux-" + arch
	f, err := os.Create(filepath.Join(b.out, base+".tar.gz"))
	if err != nil {
		return "", err
	}
	packed := gzip.NewWriter(f)
	w := tar.NewWriter(packed)
	for _, c := range contents {
		if c.tar == "" {
			continue
		}
		if err := b.add(w, c, path.Join(base, c.tar)); err != nil {
			return "", err
		}
	}
	return filepath.Base(f.Name()), cmp.Or(w.Close(), packed.Close(), f.Close())
}

func (b *build) add(w *tar.Writer, c file, name string) error {
	text, err := os.ReadFile(c.source)
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: int64(c.mode), Size: int64(len(text)), ModTime: b.date, Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, strings.NewReader(string(text)))
	return err
}
