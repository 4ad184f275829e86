package filewatch

// Which folders have to be watched to see that a path leads to another content. A path may
// go through links, so it is walked part by part, as the system does:
//
//	/etc/poise/ca.pem -> ..data/ca.pem      a link in /etc/poise, named ca.pem
//	/etc/poise/..data -> ..2024_05          a link in /etc/poise, named ..data
//	/etc/poise/..2024_05/ca.pem             the file, in /etc/poise/..2024_05
//
// The folders of links and of the file itself are watched, and where something is missing
// the nearest folder above it that exists.

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// linksMost bounds the links on the way to a file; more are a circle.
const linksMost = 40

// folders is an fsnotify watcher of the folders on the way to some files. Where the system
// offers none there are no events, and polling has to do. The zero value is ready for use.
type folders struct {
	watcher *fsnotify.Watcher
	names   map[string]bool // paths whose events count
	dirs    map[string]bool // that are watched
	failed  bool            // a folder could not be watched
	blind   bool            // there are no events: for tests
}

// follow watches what has to be watched for these paths, and nothing else. Folders that
// are watched already are added again, since another one may have the name by now.
func (f *folders) follow(paths []string) {
	if f.blind {
		return
	}
	if len(paths) == 0 { // so that a watcher without files costs nothing of the system
		f.close()
		f.names = nil
		return
	}
	if f.watcher == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return // polling will do, and try again
		}
		f.watcher, f.dirs = w, make(map[string]bool)
	}
	for range 3 { // a link may change while it is followed
		names := make(map[string]bool)
		for _, path := range paths {
			walk(path, names)
		}
		same := len(names) == len(f.names)
		for name := range names {
			same = same && f.names[name]
		}
		f.names = names
		f.watch()
		if same {
			return
		}
	}
}

// watch makes dirs fit names.
func (f *folders) watch() {
	f.failed = false
	want := make(map[string]bool)
	for name := range f.names {
		want[filepath.Dir(name)] = true
	}
	for dir := range f.dirs {
		if !want[dir] {
			_ = f.watcher.Remove(dir)
			delete(f.dirs, dir)
		}
	}
	for dir := range want {
		if err := f.watcher.Add(dir); err != nil {
			f.failed = true
			delete(f.dirs, dir)
			continue
		}
		f.dirs[dir] = true
	}
}

// concerns reports whether an event of that path may change what a file is: the path is on
// the way to one, or it is a watched folder itself, which was moved or removed.
func (f *folders) concerns(path string) bool {
	path = filepath.Clean(path)
	return f.names[path] || f.dirs[path]
}

// every is the time between polls.
func (f *folders) every(p pace) time.Duration {
	if f.watcher == nil || f.failed {
		return p.pollAlone
	}
	return p.poll
}

func (f *folders) close() {
	if f.watcher != nil {
		f.watcher.Close()
		*f = folders{blind: f.blind}
	}
}

func (f *folders) events() <-chan fsnotify.Event {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Events
}

func (f *folders) errors() <-chan error {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Errors
}

// walk adds to names the links on the way to path and the file it leads to, each by the
// path of its real folder; or the first part that does not exist.
func walk(path string, names map[string]bool) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return
	}
	at := filepath.VolumeName(absolute) + string(filepath.Separator)
	rest := parts(absolute[len(at):])
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			names[next] = true
			return
		case info.Mode()&os.ModeSymlink != 0:
			names[next] = true
			target, err := os.Readlink(next)
			if links++; err != nil || links > linksMost {
				return
			}
			if filepath.IsAbs(target) {
				at = filepath.VolumeName(target) + string(filepath.Separator)
				target = target[len(filepath.VolumeName(target)):]
			}
			rest = slices.Concat(parts(target), rest)
		default:
			if at = next; len(rest) == 0 {
				names[next] = true
			}
		}
	}
}

// parts are the names in a path; ".." stays, since it goes up from where a link leads.
func parts(path string) (out []string) {
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if part != "" && part != "." {
			out = append(out, part)
		}
	}
	return out
}
