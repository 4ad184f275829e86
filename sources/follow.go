package sources

// Clients of registries read some files once: the authorities that verify the server, a
// kubeconfig and the files that it names. When one changes, the source is made anew and
// replaces the one that runs. The service keeps its last set meanwhile. (Certificates of the
// client and token files are read again by the clients themselves; passwords that stand in
// files are part of the configuration, which is applied again.)

import (
	"context"
	"log/slog"
	"sync"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/internal/filewatch"
)

// followed is a source that is made anew when the content of one of its files changes.
type followed struct {
	path  string          // in the configuration, for the log
	files func() []string // they may be others when one of them has changed
	make  func(known map[string]filewatch.Sum) (discovery.Source, error)
	log   *slog.Logger

	watcher *filewatch.Watcher

	mu     sync.Mutex // held for some instructions
	known  map[string]filewatch.Sum
	source discovery.Source
	stop   context.CancelFunc // ends the run of source; nil: none runs
}

// follow makes a source of files, and makes it anew when they change.
func follow(path string, files func() []string, log *slog.Logger, build func(map[string]filewatch.Sum) (discovery.Source, error)) (discovery.Source, error) {
	known := filewatch.Sums(files()...) // first: what changes later is seen
	src, err := build(known)
	if err != nil || len(known) == 0 {
		return src, err
	}
	f := &followed{path: path, files: files, make: build, log: log, known: known, source: src}
	f.watcher = filewatch.New(true, f.renew)
	return f, nil
}

// Run runs the source, and the one after it, until ctx is done or one has returned by
// itself. They run on this goroutine.
func (f *followed) Run(ctx context.Context, publish func(discovery.Update)) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	f.mu.Lock()
	f.watcher.Follow(f.known)
	f.mu.Unlock()
	watching.Go(func() { f.watcher.Run(ctx) })
	for {
		src, inner := f.begin(ctx)
		err := src.Run(inner, publish)
		if inner.Err() == nil || ctx.Err() != nil {
			return err
		}
	}
}

// begin returns the source that is to run now, and the context that renew ends.
func (f *followed) begin(ctx context.Context) (discovery.Source, context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		f.stop()
	}
	inner, stop := context.WithCancel(ctx)
	f.stop = stop
	return f.source, inner
}

// renew makes the source anew, because a file has changed. If the file is of no use the
// running source stays.
func (f *followed) renew() {
	known := filewatch.Sums(f.files()...)
	f.watcher.Follow(known) // also of what cannot be used: a file that is missing may come
	src, err := f.make(known)
	if err != nil {
		f.log.Error("a file of a source has changed and cannot be used, what was read before stays", "source", f.path, "error", err)
		return
	}
	f.log.Info("a file of a source was read again", "source", f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.source, f.known = src, known
	if f.stop != nil {
		f.stop()
	}
}
