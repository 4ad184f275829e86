package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestManWritesPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"man", "--dir", dir}, nil, &stdout, &stderr, nil); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	page, err := os.ReadFile(filepath.Join(dir, "poise-ctl-drain.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`.TH "POISE-CTL-DRAIN" 1`, `\fB\-\-why\fR`, `\fB\-\-server\fR`, `.BR poise\-ctl (1)`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "poise-man.1")); err == nil {
		t.Error("a hidden command has a page")
	}
}

func TestManWantsAFolder(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"man"}, nil, &stdout, &stderr, nil); code != exitUsage || !strings.Contains(stderr.String(), "--dir") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// Text that would be a request or an escape to the formatter stays text.
func TestManEscapes(t *testing.T) {
	var page bytes.Buffer
	manPage(&page, &cobra.Command{Use: "x", Short: "s", Long: "a\n.TH evil\n'br\n\n  set\\in -f", RunE: func(*cobra.Command, []string) error { return nil }})
	for _, want := range []string{"\n\\&.TH evil\n", "\n\\(aqbr\n", "set\\ein \\-f"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
}
