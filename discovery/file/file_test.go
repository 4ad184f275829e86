package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// words is a file format: one endpoint a word, "bad" is a mistake, and "half" a bad entry.
func words(data []byte) (out []endpoint.Spec, rejected []discovery.Reject, err error) {
	for word := range strings.FieldsSeq(string(data)) {
		if word == "bad" {
			return nil, nil, errors.New("a bad word")
		}
		if strings.HasPrefix(word, "half") {
			rejected = append(rejected, discovery.Reject{ID: word})
			continue
		}
		out = append(out, endpoint.Spec{ID: endpoint.ID{Address: word}})
	}
	if out == nil {
		return nil, nil, errors.New("no words")
	}
	return out, rejected, nil
}

// A watched file and what its source publishes.
type watched struct {
	t    *testing.T
	path string
	news chan string
	stop func() error
}

func watchFile(t *testing.T, path string) *watched {
	w := &watched{t: t, path: path, news: make(chan string, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- New(path, words).Run(ctx, func(u discovery.Update) {
			if u.Err != nil {
				w.news <- "error: " + u.Err.Error()
				return
			}
			var names []string
			for _, s := range u.Endpoints {
				names = append(names, s.Address)
			}
			for _, r := range u.Rejected {
				names = append(names, "not "+r.ID)
			}
			w.news <- strings.Join(names, " ")
		})
	}()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { w.stop() })
	return w
}

// want waits for the next publication. The time limit is for a test that fails only.
func (w *watched) want(text string) {
	w.t.Helper()
	select {
	case got := <-w.news:
		if !strings.Contains(got, text) || text == "" && got != "" {
			w.t.Fatalf("published %q, want %q", got, text)
		}
	case <-time.After(20 * time.Second):
		w.t.Fatalf("nothing was published, want %q", text)
	}
}

func (w *watched) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// rename is how files should be replaced.
func (w *watched) rename(text string) {
	w.t.Helper()
	temporary := w.path + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(temporary, w.path); err != nil {
		w.t.Fatal(err)
	}
}

func TestChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("a b"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := watchFile(t, path)
	w.want("a b")
	w.write("a")
	w.want("a")
	w.rename("c")
	w.want("c")
	w.rename("d e")
	w.want("d e")
	w.rename("d half e")
	w.want("d e not half")
	w.rename("d e")
	w.want("d e")
	w.write("bad")
	w.want("error: endpoint list: a bad word")
	w.write("d e") // the same as before the mistake: no longer stale
	w.want("d e")
	w.write("")
	w.want("error: endpoint list: no words")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.want("error: endpoint list: stat ")
	w.rename("f")
	w.want("f")
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if len(w.news) != 0 {
		t.Errorf("more was published: %q", <-w.news)
	}
}

func TestMissingAtFirst(t *testing.T) {
	w := watchFile(t, filepath.Join(t.TempDir(), "list"))
	w.want("error: endpoint list: stat ")
	w.write("a")
	w.want("a")
}

func TestFolderMissingAtFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "folder", "list")
	w := watchFile(t, path)
	w.want("error: endpoint list: stat ")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("a")
	w.want("a")
	w.rename("b") // by now the folder is watched
	w.want("b")
}

// TestKubernetesVolume: the file is a link to a link to a folder, which is replaced.
func TestKubernetesVolume(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "list"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "a")
	if err := os.Symlink(filepath.Join("..data", "list"), filepath.Join(dir, "list")); err != nil {
		t.Fatal(err)
	}
	w := watchFile(t, filepath.Join(dir, "list"))
	w.want("a")
	version("..2", "b c")
	w.want("b c")
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	version("..3", "d")
	w.want("d")
}

// TestPartialWrites: a file that is written in many parts is read when it is whole.
func TestPartialWrites(t *testing.T) {
	w := watchFile(t, filepath.Join(t.TempDir(), "list"))
	w.want("error")
	f, err := os.Create(w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 20 {
		if _, err := f.WriteString("word "); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteString("last"); err != nil {
		t.Fatal(err)
	}
	// A machine that stalls for longer than the debounce may show a part; the whole file
	// must come in any case, and last.
	for parts := 0; ; parts++ {
		got := <-w.news
		if strings.HasSuffix(got, "last") {
			return
		}
		if parts > 20 {
			t.Fatalf("after %d parts still %q", parts, got)
		}
	}
}

// TestBusyFolder: events of other files neither publish nor keep ours from being read.
func TestBusyFolder(t *testing.T) {
	w := watchFile(t, filepath.Join(t.TempDir(), "list"))
	w.want("error")
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			select {
			case <-stop:
				return
			default:
				os.WriteFile(w.path+".log", []byte(time.Now().String()), 0o600)
			}
		}
	}()
	w.write("a")
	w.want("a")
	w.write("b")
	w.want("b")
	close(stop)
	<-stopped
	if len(w.news) != 0 {
		t.Errorf("published without a change: %q", <-w.news)
	}
}
