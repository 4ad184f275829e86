package kubernetes

// A list of all slices of a namespace. It is read as it comes, item by item, so that the
// memory it takes is that of the compact form.
//
// The API server has three kinds of lists, and which one is asked for matters to it:
//
//	any       resourceVersion=0: what its cache has, however old. The first list.
//	notOlder  resourceVersion=N: what its cache has, once that has come to N. Every further
//	          list: it costs the server little, and never goes back in time.
//	exact     no resourceVersion: what its storage has. If the server does not answer the
//	          others, as one whose data were restored and that has not come to N yet.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const (
	pageItems = 500              // of a list from the storage, which comes in pages; a cache ignores it
	listBytes = 256 << 20        // of one page
	listTime  = 60 * time.Second // for all pages
	stallTime = 4 * time.Second  // without a byte of an answer
)

// list makes the index anew. An answer that breaks off is an error, never a part of the index.
func (w *watcher) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, client.ErrSilent)
	defer cancel()
	for {
		refused, err := w.listOnce(ctx)
		if !refused {
			return err
		}
	}
}

// listOnce makes one list. refused says that another kind is to be tried at once: the
// server has answered, but not with a list that is at least as new as the index.
func (w *watcher) listOnce(ctx context.Context) (refused bool, err error) {
	query := w.query()
	all := make(map[string]*slice)
	for {
		m, err := w.page(ctx, query, all)
		if err != nil {
			doubt := w.doubt
			w.learn(err, query.Get("continue") != "")
			return client.Status(err) != 0 && w.doubt != doubt && query.Get("resourceVersionMatch") != "", err
		}
		if m.Continue == "" {
			w.revision, w.doubt, w.whole = m.ResourceVersion, false, false
			w.current, w.listed, w.refused = true, true, 0
			w.relist = time.Now().Add(relistAfter + rand.N(relistAfter))
			w.space.replace(all)
			return false, nil
		}
		if m.Continue == query.Get("continue") {
			return false, errors.New("the pages of the list have no end")
		}
		query = url.Values{"limit": {strconv.Itoa(pageItems)}, "continue": {m.Continue}}
	}
}

// query asks for a list of the kind that is due.
func (w *watcher) query() url.Values {
	query := url.Values{}
	switch {
	case w.doubt && w.whole:
	case w.doubt:
		query.Set("limit", strconv.Itoa(pageItems))
	case w.revision == "":
		query.Set("resourceVersion", "0")
		query.Set("limit", strconv.Itoa(pageItems))
	default:
		query.Set("resourceVersion", w.revision)
		query.Set("resourceVersionMatch", "NotOlderThan")
	}
	return query
}

// learn chooses the kind of the next list by what the last one failed with.
func (w *watcher) learn(err error, paging bool) {
	switch {
	case client.Status(err) != 0:
		w.doubt = w.doubt || !overloaded(err)
		w.whole = w.whole || paging && client.Status(err) == http.StatusGone // the pages expire faster than they come
	case errors.Is(err, client.ErrSilent):
		w.doubt = true
	}
}

// A listMeta says what a list is of, and where its next page begins.
type listMeta struct {
	ResourceVersion string `json:"resourceVersion"`
	Continue        string `json:"continue"`
}

// page adds one page to all.
func (w *watcher) page(ctx context.Context, query url.Values, all map[string]*slice) (listMeta, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallTime, func() { cancel(client.ErrSilent) })
	defer stalled.Stop()
	res, err := w.api.get(ctx, w.space.name, query)
	if err != nil {
		return listMeta{}, err
	}
	defer res.Body.Close()
	w.multiplexed = res.ProtoMajor >= 2
	body := &pageReader{body: res.Body, ctx: ctx, progress: func() { stalled.Reset(stallTime) }}
	m, err := readPage(body, func(o *object) {
		s := compact(o)
		all[s.name] = s
	})
	if err == nil {
		_, err = io.Copy(io.Discard, body) // to the end, so that one that breaks off is seen
	}
	if body.failure != nil {
		return m, fmt.Errorf("the list broke off: %w", body.failure)
	}
	return m, err
}

// readPage calls each for every item of an EndpointSliceList.
func readPage(r io.Reader, each func(*object)) (m listMeta, err error) {
	none := errors.New("the answer is not a list of EndpointSlices")
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return m, none
	}
	kind := ""
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return m, none
		}
		switch key {
		case "kind":
			err = d.Decode(&kind)
		case "metadata":
			err = d.Decode(&m)
		case "items":
			err = readItems(d, each)
		default:
			err = d.Decode(new(json.RawMessage))
		}
		if err != nil {
			return m, none
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') || kind != "EndpointSliceList" || m.ResourceVersion == "" {
		return m, none
	}
	return m, nil
}

func readItems(d *json.Decoder, each func(*object)) error {
	t, err := d.Token()
	if err != nil || t == nil { // null
		return err
	}
	if t != json.Delim('[') {
		return errors.New("no list")
	}
	for d.More() {
		var o object
		if err := d.Decode(&o); err != nil {
			return err
		}
		each(&o)
	}
	_, err = d.Token()
	return err
}

// A pageReader reads an answer within bounds, and keeps the error that ended it.
type pageReader struct {
	body     io.Reader
	ctx      context.Context
	progress func() // called when there is more of the answer
	size     int
	failure  error // other than io.EOF
}

func (p *pageReader) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	if n > 0 {
		p.progress()
	}
	if p.size += n; p.size > listBytes {
		err = fmt.Errorf("it is longer than %d MiB", listBytes>>20)
	}
	if err != nil && err != io.EOF {
		p.failure = client.Plain(p.ctx, err)
	}
	return n, err
}
