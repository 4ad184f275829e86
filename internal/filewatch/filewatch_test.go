package filewatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func replace(t testing.TB, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// swap makes a version of a volume the present one, as Kubernetes does.
func swap(t testing.TB, dir, version string, files map[string]string) {
	t.Helper()
	mkdir(t, filepath.Join(dir, version))
	for name, text := range files {
		write(t, filepath.Join(dir, version, name), text)
	}
	if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// Tests of events have no polls, so that what is seen is seen by its event. All are in a hurry.
var (
	events = pace{settle: 10 * time.Millisecond, settleMost: 100 * time.Millisecond, poll: time.Hour, pollAlone: time.Hour}
	polls  = pace{settle: 10 * time.Millisecond, settleMost: 100 * time.Millisecond, poll: 500 * time.Millisecond, pollAlone: 200 * time.Millisecond}
)

type watched struct {
	*Watcher
	t      testing.TB
	told   chan struct{}
	passed chan struct{} // a token for each look
}

// follow runs a watcher of these files, whose present contents are known.
func follow(t testing.TB, w func(changed func()) *Watcher, paths ...string) *watched {
	t.Helper()
	out := &watched{t: t, told: make(chan struct{}, 1000), passed: make(chan struct{}, 1000)}
	out.Watcher = w(func() { out.told <- struct{}{} })
	out.looked = func() { out.passed <- struct{}{} }
	out.set(paths...)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { out.Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return out
}

func (w *watched) set(paths ...string) {
	known := make(map[string]Sum)
	for _, path := range paths {
		known[path] = sum(path)
	}
	w.Follow(known)
}

// pass waits until the watcher, which stands then, has read files after what was done before.
func (w *watched) pass() {
	w.t.Helper()
	for len(w.passed) > 0 {
		<-w.passed
	}
	for range 2 { // the first may have begun before
		select {
		case w.again <- struct{}{}:
		default:
		}
		select {
		case <-w.passed:
		case <-time.After(20 * time.Second):
			w.t.Fatal("files are not read")
		}
	}
}

// await waits until the watcher has told and knows the present content. The time limit is
// for a test that fails only.
func (w *watched) await(what string) {
	w.t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case <-w.told:
			if !w.look(false) {
				return
			}
		case <-late:
			w.t.Fatalf("%s was not told", what)
		}
	}
}

// silent makes sure that nothing more is told, by a change of a last file.
func (w *watched) silent(what, last string) {
	w.t.Helper()
	w.pass()
	select {
	case <-w.told:
		w.t.Fatalf("told of %s, which is no change", what)
	default:
	}
	replace(w.t, last, time.Now().String())
	w.await("the last change")
}

// at returns a watcher of that pace.
func (p pace) at(w *Watcher) *Watcher {
	w.pace = p
	return w
}

func eager(changed func()) *Watcher   { return events.at(New(false, changed)) }
func patient(changed func()) *Watcher { return events.at(New(true, changed)) }
func polling(changed func()) *Watcher { return polls.at(New(false, changed)) }
func blind(changed func()) *Watcher {
	w := New(false, changed)
	w.blind = true
	return w
}

func everyWay(t *testing.T, kind func(func()) *Watcher) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	w := follow(t, kind, path)
	write(t, path, "two")
	w.await("a write in place")
	replace(t, path, "three")
	w.await("a rename")
	os.Remove(path)
	w.await("that it is gone")
	write(t, path, "four")
	w.await("that it is back")
}

func TestEveryWayToChangeAFile(t *testing.T) { everyWay(t, eager) }

func TestEveryWayWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		everyWay(t, blind)
		if took := time.Since(began); took > 4*(usual.pollAlone+usual.settle) {
			t.Errorf("four changes took %v", took)
		}
	})
}

func TestPatientWatchersExpectFilesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	w := follow(t, patient, path)
	os.Remove(path)
	w.pass()
	write(t, path, "one")
	write(t, path+".other", "x")
	w.silent("a file that was gone for a while", path)
	os.Remove(path)
	w.pass()
	replace(t, path, "two")
	w.await("a file that came back with another content")
}

func TestChangedBeforeWatching(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	known := map[string]Sum{path: sum(path)}
	write(t, path, "two")
	w := follow(t, eager)
	w.Follow(known)
	w.await("a change from before")
}

// TestKubernetesVolume: only a link on the way is replaced; after that the new target is
// followed as well.
func TestKubernetesVolume(t *testing.T) {
	dir := t.TempDir()
	swap(t, dir, "..1", map[string]string{"a": "1", "b": "1"})
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, path := range []string{a, b} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	w := follow(t, eager, a, b)
	for i := range 3 {
		swap(t, dir, fmt.Sprintf("..%d", i+2), map[string]string{"a": fmt.Sprint(i + 2), "b": "1"})
		w.await("a swapped link")
		os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", i+1)))
	}
	write(t, filepath.Join(dir, "..4", "b"), "other")
	w.await("a write in the new folder")
}

// TestLinksToElsewhere: the file is in a folder that its path does not name.
func TestLinksToElsewhere(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, filepath.Join(dir, "x", "real"))
	mkdir(t, filepath.Join(dir, "etc"))
	file := filepath.Join(dir, "x", "real", "f")
	write(t, file, "one")
	os.Symlink("../x/real", filepath.Join(dir, "etc", "conf"))
	path := filepath.Join(dir, "etc", "conf", "f")
	w := follow(t, eager, path)
	w.pass()
	replace(t, file, "two")
	w.await("a rename behind a link")
}

// TestFoldersComeAndGo: there is no event of a folder above that of the file, so it is a poll that
// sees that it is another one.
func TestFoldersComeAndGo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "f")
	w := follow(t, polling, path)
	mkdir(t, filepath.Dir(path))
	write(t, path, "one")
	w.await("a file in new folders")
	os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "old"))
	mkdir(t, filepath.Dir(path))
	write(t, path, "two")
	w.await("a replaced folder")
	replace(t, path, "three")
	w.await("a rename in it")
}

// TestBusyNeighbour: a file that is written all the time neither makes changes of the one
// beside it nor keeps them from being seen.
func TestBusyNeighbour(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	w := follow(t, eager, path)
	defer busy(t, path+".log", events.settle/2)()
	w.pass()
	replace(t, path, "two")
	w.await("a change beside a busy file")
	w.silent("the neighbour", path)
}

// TestBusyFile: a file that is never quiet is looked at nevertheless.
func TestBusyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	w := follow(t, eager, path)
	defer busy(t, path, events.settle/5)()
	for range 3 {
		select {
		case <-w.told:
		case <-time.After(20 * time.Second):
			t.Fatal("a busy file is not looked at")
		}
	}
}

// busy writes a file again and again until stop.
func busy(t testing.TB, path string, every time.Duration) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				os.WriteFile(path, []byte(time.Now().String()), 0o600)
			}
		}
	})
	return func() { close(done); group.Wait() }
}

func TestFollowingOthers(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "other", "b")
	mkdir(t, filepath.Dir(b))
	write(t, a, "one")
	write(t, b, "one")
	w := follow(t, eager, a)
	w.set(b)
	write(t, a, "two")
	w.silent("a file that is not followed any more", b)
	w.set()
	w.set(a, b)
	write(t, a, "three")
	w.await("a file that is followed again")
}

// TestAnyHistory plays random steps on a file behind links; in the end the last content is
// known, whatever came before.
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			os.Symlink("..data/f", path)
			var present string // the real file
			version := 0
			step := func(text string) {
				switch n := r.IntN(5); {
				case present == "" || n < 2:
					version++
					swap(t, dir, fmt.Sprintf("..%d", version), map[string]string{"f": text})
					present = filepath.Join(dir, fmt.Sprintf("..%d", version), "f")
				case n == 2:
					write(t, present, text)
				case n == 3:
					replace(t, present, text)
				default:
					os.Remove(present)
					write(t, present, text)
				}
			}
			w := follow(t, polling, path)
			for i := range 30 {
				step(fmt.Sprint(i, " ", strings.Repeat("x", r.IntN(5000))))
				if r.IntN(3) == 0 {
					time.Sleep(rand.N(2 * polls.settle))
				}
			}
			step("last")
			w.await("the last content")
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "12345")
	if data, err := Read(filepath.Join(dir, "f"), 5); err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := Read(filepath.Join(dir, "f"), 4); err == nil || !strings.Contains(err.Error(), "longer than 4") {
		t.Error(err)
	}
	if _, err := Read(dir, 0); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Error(err)
	}
	if _, err := Read(filepath.Join(dir, "none"), 0); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestDebounce(t *testing.T) { synctest.Test(t, debounced) }

func debounced(t *testing.T) {
	d := debounce{pace: usual}
	if d.done() != nil {
		t.Error("without an event it waits for something")
	}
	d.event()
	if d.done() == nil {
		t.Error("an event is not waited for")
	}
	for range 25 {
		time.Sleep(usual.settle / 2)
		d.event()
	}
	select {
	case <-d.done():
	default:
		t.Fatal("events put off the end of the wait")
	}
	d.stop()
	began := time.Now()
	d.event()
	<-d.done()
	if took := time.Since(began); took != usual.settle {
		t.Errorf("one event is waited for during %v", took)
	}
	d.stop()
	if d.done() != nil {
		t.Error("stopped, it waits")
	}
}
