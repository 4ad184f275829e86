package watch

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, path string, known Content) <-chan struct{} {
	t.Helper()
	told := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { File(ctx, path, known, func() { told <- struct{}{} }) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return told
}

func await(t *testing.T, told <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s was not told", what)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	write(t, path, "one")
	told := start(t, path, Read(path))
	write(t, path, "two")
	await(t, told, "a write in place")
	replace(t, path, "three")
	await(t, told, "a rename")
	os.Remove(path)
	replace(t, path, "four")
	await(t, told, "a file that came back")
}

func TestChangedBeforeWatching(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	write(t, path, "one")
	known := Read(path)
	write(t, path, "two")
	await(t, start(t, path, known), "a change from before")
}

func TestSameContentIsNoChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	write(t, path, "one")
	told := start(t, path, Read(path))
	replace(t, path, "one")
	write(t, path+".other", "x")
	os.Remove(path)
	replace(t, path, "one")
	replace(t, path, "two") // ends the wait: whatever was told wrongly came before
	await(t, told, "the real change")
	time.Sleep(3 * settleTime)
	select {
	case <-told:
		t.Error("told of a change that was none")
	default:
	}
}

// TestLinkedFolder is the way Kubernetes mounts configuration.
func TestLinkedFolder(t *testing.T) {
	dir := t.TempDir()
	put := func(version, text string) {
		os.Mkdir(filepath.Join(dir, version), 0o700)
		write(t, filepath.Join(dir, version, "poise.yaml"), text)
		os.Symlink(version, filepath.Join(dir, "..next"))
		if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	put("v1", "one")
	path := filepath.Join(dir, "poise.yaml")
	os.Symlink("..data/poise.yaml", path)
	told := start(t, path, Read(path))
	put("v2", "two")
	await(t, told, "a swapped link")
}
