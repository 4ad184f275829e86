package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// readers is how many nodes are read at once.
const readers = 16

// blind is the reason of a node that cannot be read.
const blind = "the user may not read the node"

// A watch follows the children of one node for as long as its link lives. It belongs to
// one goroutine.
type watch struct {
	link   *link
	config Config
	out    *client.Reporter

	box   *mailbox
	nodes map[string]entry
	list  zk.Stat   // of the parent, when its children were listed; zero: there is none
	heard time.Time // of the last answer
}

// run reads everything, publishes it, and then what changes, until the link is dead.
func (w *watch) run(ctx context.Context) error {
	w.box = w.link.subscribe(w.config.Path)
	w.nodes = make(map[string]entry)
	defer func() { w.link.unsubscribe(w.config.Path, w.box, len(w.nodes)+1) }()
	w.box.put("") // to begin with, the list is unknown
	pulse := time.NewTicker(pulseEvery)
	defer pulse.Stop()
	doubts := 0
	var read time.Time // the latest one
	for {
		select {
		case <-w.box.news:
			if !client.Sleep(ctx, time.Until(read.Add(gather))) {
				return ctx.Err()
			}
			read = time.Now()
			if err := w.update(ctx, w.box.take()); err != nil {
				return err
			}
			w.out.Set(client.Set(maps.All(w.nodes)))
		case <-pulse.C:
			missed, err := w.missed(ctx)
			if err != nil {
				return err
			}
			for name, e := range w.nodes {
				if e.Reason == blind { // no event will tell when it can be read
					w.box.put(name)
				}
			}
			if !missed {
				doubts = 0
			} else if doubts++; doubts > 1 {
				doubts = 0
				w.box.put("")
			}
		case <-w.link.dead:
			return w.link.why()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// missed asks whether there was a change of the list that no event has told, and whether
// the server is there at all.
func (w *watch) missed(ctx context.Context) (bool, error) {
	now, err := call(ctx, w.link, pulseTimeout, func() (zk.Stat, error) {
		_, stat, err := w.link.conn.Exists(w.config.Path)
		if err != nil {
			return zk.Stat{}, err
		}
		return *stat, nil
	})
	if err != nil {
		return false, err
	}
	w.heard = time.Now()
	return now.Czxid != w.list.Czxid || now.Pzxid != w.list.Pzxid, nil
}

// update reads what has changed, and watches it again. Whatever changes from here on
// comes as another event.
func (w *watch) update(ctx context.Context, dirty map[string]bool) error {
	if dirty[""] {
		names, err := w.children(ctx)
		if err != nil {
			return err
		}
		nodes := make(map[string]entry, len(names))
		for _, name := range names {
			if e, known := w.nodes[name]; known {
				nodes[name] = e
			} else {
				nodes[name] = entry{}
				dirty[name] = true
			}
		}
		w.nodes = nodes
	}
	var names []string
	for name := range dirty {
		if _, known := w.nodes[name]; !known {
			continue // gone; if it came back, an event of the list is on its way
		}
		if e, ok := w.config.named(name); ok {
			w.nodes[name] = e // it has everything in its name
			continue
		}
		names = append(names, name)
	}
	return w.read(ctx, names)
}

// children lists the names and watches the list, or waits for the parent to be made.
func (w *watch) children(ctx context.Context) ([]string, error) {
	for {
		type listing struct {
			names []string
			stat  *zk.Stat
		}
		l, err := call(ctx, w.link, pulseTimeout, func() (listing, error) {
			names, stat, _, err := w.link.conn.ChildrenW(w.config.Path)
			return listing{names, stat}, err
		})
		if err == nil {
			w.heard, w.list = time.Now(), *l.stat
			return l.names, nil
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return nil, fmt.Errorf("the children of %s: %w", w.config.Path, plain(err))
		}
		exists, err := call(ctx, w.link, pulseTimeout, func() (bool, error) {
			exists, _, _, err := w.link.conn.ExistsW(w.config.Path)
			return exists, err
		})
		if err != nil {
			return nil, err
		}
		if !exists {
			w.heard, w.list = time.Now(), zk.Stat{}
			return nil, nil
		}
	}
}

// read reads the nodes of these names, many at once, and watches them.
func (w *watch) read(ctx context.Context, names []string) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		fault error
		work  = make(chan string, len(names))
	)
	for _, name := range names {
		work <- name
	}
	close(work)
	for range min(readers, len(names)) {
		wg.Go(func() {
			for name := range work {
				e, there, err := w.node(ctx, name)
				mu.Lock()
				switch {
				case err != nil:
					fault = err
				case there:
					w.nodes[name] = e
				default:
					delete(w.nodes, name) // which the list will tell, too
				}
				stop := fault != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	if fault == nil && len(names) > 0 {
		w.heard = time.Now()
	}
	return fault
}

// node reads one node.
func (w *watch) node(ctx context.Context, name string) (e entry, there bool, err error) {
	type content struct {
		data []byte
		stat *zk.Stat
	}
	c, err := call(ctx, w.link, pulseTimeout, func() (content, error) {
		data, stat, _, err := w.link.conn.GetW(w.config.Path + "/" + name)
		return content{data, stat}, err
	})
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return entry{}, false, nil
	case errors.Is(err, zk.ErrNoAuth):
		return entry{Reason: blind}, true, nil
	case err != nil:
		return entry{}, false, err
	}
	e = w.config.parse(name, c.data)
	e.Created, e.Modified = c.stat.Czxid, c.stat.Mzxid
	return e, true, nil
}

// plain gives errors of the library words of our own where it has only its.
func plain(err error) error {
	switch {
	case errors.Is(err, zk.ErrNoAuth):
		return errors.New("the user may not read them, or the password is wrong")
	case strings.HasPrefix(err.Error(), "zk: "):
		return errors.New(strings.TrimPrefix(err.Error(), "zk: "))
	}
	return err
}
