package filewatch

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestABusyNeighbourCostsLittle: a file beside the one that is followed is written all the time,
// as an access log is. Few of its writes wake the watcher, and a change is still seen.
func TestABusyNeighbourCostsLittle(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "poise.yaml")
	write(t, path, "one")
	log, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	told := make(chan struct{}, 100)
	w := New(true, func() { told <- struct{}{} })
	w.Follow(map[string]Sum{path: sum(path)})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { w.Run(ctx) })
	writes, changed := 0, false
	for began := time.Now(); !changed; writes++ {
		if _, err := log.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
		switch took := time.Since(began); {
		case writes == 20_000:
			write(t, path, "two")
		case took > 30*time.Second:
			t.Fatal("the change was not told")
		}
		select {
		case <-told:
			changed = true
		default:
		}
	}
	cancel()
	group.Wait()
	t.Logf("%d writes, %d events", writes, w.noise)
	if w.noise*10 > writes {
		t.Errorf("%d writes of a neighbour woke the watcher %d times", writes, w.noise)
	}
}
