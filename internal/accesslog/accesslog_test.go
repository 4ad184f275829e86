//go:build unix

package accesslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/testlog"
)

const patience = 20 * time.Second

func newLog(t *testing.T) (*Log, *testlog.Buffer) {
	s := new(testlog.Buffer)
	return New(slog.New(slog.NewTextHandler(s, nil))), s
}

func put(s *record.Sink, path string) {
	s.Put(&record.Exchange{Method: []byte("GET"), Path: []byte(path)})
}

// until waits for what a goroutine does.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func shut(t *testing.T, l *Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

// pipe is a named pipe that is open and not read, and full.
func pipe(t *testing.T) (path string, reader *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0) // so that it has a reader at once
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	reader.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := reader.Write(make([]byte, 16<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the pipe is not full: %v", err)
	}
	return path, reader
}

// TestStalledPipe: neither Put nor Open nor Lost waits for a write that does not end; a new
// path is used at once, and Close gives up in time and counts what is lost.
func TestStalledPipe(t *testing.T) {
	path, _ := pipe(t)
	l, log := newLog(t)
	sink := l.Open(config.AccessLog{Path: path, Buffer: 4})
	for i := range 100 {
		put(sink, fmt.Sprint("/", i))
	}
	until(t, "dropped lines", func() bool { put(sink, "/more"); return l.Lost() > 0 })
	for range 10 {
		if l.Open(config.AccessLog{Path: path, Buffer: 4}) != sink {
			t.Fatal("another ring for the same file")
		}
	}
	other := filepath.Join(t.TempDir(), "other.log")
	next := l.Open(config.AccessLog{Path: other, Buffer: 8})
	put(next, "/new")
	put(sink, "/by-an-old-table")
	until(t, "lines in the new file", func() bool {
		text := content(other)
		return strings.Contains(text, "/new") && strings.Contains(text, "/by-an-old-table")
	})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := l.Close(ctx)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err != nil {
		t.Errorf("a named pipe can be broken off: %v", err)
	}
	if !strings.Contains(log.String(), "access log has lost lines") {
		t.Errorf("the lost lines are not said: %s", log)
	}
	if l.Open(config.AccessLog{Path: other}) != nil {
		t.Error("Open after Close opens")
	}
}

// TestFullDisk: said once, counted, and over when there is room again.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	// The path is a link, so that the disk can be "cleaned".
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	l, log := newLog(t)
	c := config.AccessLog{Path: path, Buffer: 64}
	sink := l.Open(c)
	for n := range uint64(5) {
		put(sink, "/lost")
		until(t, "a lost line", func() bool { return l.Lost() == n+1 })
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 || !strings.Contains(log.String(), "no space left") {
		t.Errorf("said %d times, want once:\n%s", n, log)
	}
	os.Remove(path)
	l.Open(c)
	until(t, "a written line", func() bool { put(sink, "/kept"); return strings.Contains(content(path), "/kept") })
	until(t, "that it works", func() bool { return strings.Contains(log.String(), "access log is written again") })
	shut(t, l)
	if l.Lost() < 5 {
		t.Errorf("lost %d", l.Lost())
	}
}

// TestAFolderThatComesLater: lines wait in the ring until the file can be opened.
func TestAFolderThatComesLater(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "logs")
	l, log := newLog(t)
	sink := l.Open(config.AccessLog{Path: filepath.Join(folder, "access.log"), Buffer: 64})
	put(sink, "/early")
	until(t, "the complaint", func() bool { return strings.Contains(log.String(), "cannot be opened") })
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "the line", func() bool { return strings.Contains(content(filepath.Join(folder, "access.log")), "/early") })
	shut(t, l)
	if l.Lost() != 0 {
		t.Errorf("lost %d", l.Lost())
	}
}

// TestRotation: after a move, Open continues in a new file, and no line is lost.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, _ := newLog(t)
	c := config.AccessLog{Path: path, Buffer: 1024}
	sink := l.Open(c)
	put(sink, "/one")
	until(t, "a line", func() bool { return strings.Contains(content(path), "/one") })
	os.Rename(path, path+".1")
	l.Open(c)
	until(t, "a new file", func() bool { _, err := os.Stat(path); return err == nil })
	put(sink, "/two")
	shut(t, l)
	if !strings.Contains(content(path), "/two") || !strings.Contains(content(path+".1"), "/one") {
		t.Errorf("moved: %s\nnew: %s", content(path+".1"), content(path))
	}
}

// TestTheBufferCanBeChanged: a new size is a new ring, and what the old one had is written.
func TestTheBufferCanBeChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, _ := newLog(t)
	small := l.Open(config.AccessLog{Path: path, Buffer: 2})
	put(small, "/a")
	large := l.Open(config.AccessLog{Path: path, Buffer: 4096})
	if large == small {
		t.Fatal("the same ring")
	}
	for i := range 1000 {
		put(small, fmt.Sprint("/", i)) // goes to the large one
	}
	shut(t, l)
	if n := strings.Count(content(path), "\n"); n != 1001 || l.Lost() != 0 {
		t.Errorf("%d lines, %d lost", n, l.Lost())
	}
}

// TestOff: an empty path ends the log, and another path begins it again.
func TestOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, _ := newLog(t)
	if l.Open(config.AccessLog{}) != nil {
		t.Fatal("a sink for no log")
	}
	put(l.Open(config.AccessLog{Path: path}), "/a")
	if l.Open(config.AccessLog{}) != nil {
		t.Fatal("a sink for no log")
	}
	put(l.Open(config.AccessLog{Path: path}), "/b")
	shut(t, l)
	if text := content(path); !strings.Contains(text, "/a") || !strings.Contains(text, "/b") {
		t.Error(text)
	}
}

// TestTornLine: what a write that failed has begun does not spoil the line after it.
func TestTornLine(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &writer{file: f, torn: true}
	f.WriteString(`{"time":"20`)
	if n, err := (*output)(w).Write([]byte("{}\n")); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if got := content(f.Name()); got != "{\"time\":\"20\n{}\n" {
		t.Errorf("%q", got)
	}
}

// TestReopen: Reopen is what Open is for the same configuration; a path that cannot be opened
// leaves the old file in use until it can.
func TestReopen(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "access.log")
	l, log := newLog(t)
	l.Reopen() // there is no log
	sink := l.Open(config.AccessLog{Path: path, Buffer: 1024})
	put(sink, "/one")
	until(t, "a line", func() bool { return strings.Contains(content(path), "/one") })
	away := folder + ".away"
	if err := os.Rename(folder, away); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	until(t, "the complaint", func() bool { return strings.Contains(log.String(), "cannot be opened") })
	put(sink, "/two")
	until(t, "a line in the old file", func() bool { return strings.Contains(content(filepath.Join(away, "access.log")), "/two") })
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "a new file", func() bool { _, err := os.Stat(path); return err == nil })
	put(sink, "/three")
	shut(t, l)
	l.Reopen() // it is closed
	if !strings.Contains(content(path), "/three") || l.Lost() != 0 {
		t.Errorf("%q, %d lost", content(path), l.Lost())
	}
}

// TestMode: a file that is made has the mode of the configuration, whatever the umask is, or 0640
// less the umask; one that is there keeps its own.
func TestMode(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	for _, c := range []struct {
		mode  string
		there os.FileMode // 0: it is not
		want  os.FileMode
	}{{"", 0, 0o640}, {"0664", 0, 0o664}, {"0600", 0o604, 0o604}, {"", 0o604, 0o604}} {
		path := filepath.Join(t.TempDir(), "access.log")
		if c.there != 0 {
			if err := os.WriteFile(path, nil, c.there); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.there); err != nil {
				t.Fatal(err)
			}
		}
		l, _ := newLog(t)
		put(l.Open(config.AccessLog{Path: path, Buffer: 4, Mode: c.mode}), "/")
		shut(t, l)
		info, err := os.Stat(path)
		if err != nil || info.Mode() != c.want {
			t.Errorf("%+v: %v, %v", c, info.Mode(), err)
		}
	}
}

// TestAnotherFormatIsAnotherLine: an exchange that began before a reload has its line in the new
// format, in the same file.
func TestAnotherFormatIsAnotherLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, _ := newLog(t)
	c := config.AccessLog{Path: path, Buffer: 64}
	old := l.Open(c)
	put(old, "/one")
	c.Format = "$request_uri $status"
	if l.Open(c) == old {
		t.Fatal("the same ring for another format")
	}
	put(old, "/two")
	shut(t, l)
	if text := content(path); !strings.Contains(text, `"path":"/one"`) || !strings.Contains(text, "/two 000\n") {
		t.Error(text)
	}
}
