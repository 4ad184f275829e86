package kubernetes

import (
	"bufio"
	"bytes"
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
)

// errAgain ends a session because everything must be listed again. It is no failure.
var errAgain = errors.New("the slices must be listed again")

// A session is a list and the watches that follow it. It belongs to one goroutine.
type session struct {
	client *client
	config Config
	out    *reporter

	slices   map[string]slice // by name
	revision string           // up to which the slices are known
	listed   bool             // there was a list
	settled  bool             // a watch lasted its time: all was well
}

// run lists and watches until something goes wrong, or it is time to list again.
func (s *session) run(ctx context.Context) error {
	if err := s.list(ctx); err != nil {
		return err
	}
	s.listed = true
	s.publish()
	end := time.Now().Add(relistAfter + rand.N(relistAfter))
	for time.Now().Before(end) {
		began := time.Now()
		err := s.watch(ctx)
		// One that falls silent was well before; that is not told sooner by waiting.
		s.settled = s.settled || err == nil || time.Since(began) >= watchTime
		if err != nil {
			return err
		}
	}
	return errAgain
}

func (s *session) publish() { s.out.set(set(s.slices, s.config, s.client.namespace)) }

// list reads all slices, as the server has them now: without a revision it asks its
// storage. An answer that breaks off is an error, never a part of the set.
func (s *session) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	res, err := s.client.get(ctx, s.config.Service, url.Values{})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, answerBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("the list broke off: %w", plain(err))
	case len(data) > answerBytes:
		return fmt.Errorf("the list is longer than %d MiB", answerBytes>>20)
	}
	var l struct {
		Kind     string `json:"kind"`
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
			Continue        string `json:"continue"`
		} `json:"metadata"`
		Items []slice `json:"items"`
	}
	if err := json.Unmarshal(data, &l); err != nil || l.Kind != "EndpointSliceList" || l.Metadata.ResourceVersion == "" {
		return errors.New("the answer is not a list of EndpointSlices")
	}
	if l.Metadata.Continue != "" { // it was not asked to
		return errors.New("the answer is only a part of the list")
	}
	s.revision = l.Metadata.ResourceVersion
	s.slices = make(map[string]slice, len(l.Items))
	for _, item := range l.Items {
		s.slices[item.Metadata.Name] = item
	}
	return nil
}

// An event is one line of a watch, or the error that ended it.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
	err    error
}

// watch follows the changes since the last revision until the server ends the watch in
// time, which gives nil.
func (s *session) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchTime+lateTime)
	defer cancel()
	header := time.AfterFunc(lateTime, cancel) // a revision from the future has no answer at all
	res, err := s.client.get(ctx, s.config.Service, url.Values{
		"watch":               {"1"},
		"allowWatchBookmarks": {"true"},
		"resourceVersion":     {s.revision},
		"timeoutSeconds":      {strconv.Itoa(int(watchTime / time.Second))},
	})
	if !header.Stop() && err != nil {
		return errors.New("the watch does not begin")
	}
	if err != nil {
		var st status
		if errors.As(err, &st) && st.gone() {
			return errAgain
		}
		return err
	}
	began := time.Now()
	events := make(chan event)
	quit := make(chan struct{})
	go func() { // it ends with the body
		defer close(events)
		read(res.Body, events, quit)
	}()
	defer func() {
		close(quit)
		cancel()
		res.Body.Close()
		for range events {
		}
	}()
	err = s.follow(ctx, events)
	if errors.Is(err, io.EOF) && time.Since(began) < watchTime/2 {
		return errors.New("the watch was ended early") // by a server that stops, or by a proxy
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// follow takes events over and publishes them when there are no more for a moment.
func (s *session) follow(ctx context.Context, events <-chan event) error {
	timer := time.NewTimer(gather)
	timer.Stop()
	defer timer.Stop()
	waiting := false
	for {
		select {
		case e := <-events:
			if e.err != nil {
				if waiting {
					s.publish()
				}
				return e.err
			}
			changed, err := s.take(e)
			if err != nil {
				return err
			}
			if changed && !waiting {
				waiting = true
				timer.Reset(gather)
			}
		case <-timer.C:
			waiting = false
			s.publish()
		case <-ctx.Done():
			return errors.New("the watch is silent")
		}
	}
}

// read sends the lines of a watch, and at the end why it ended.
func read(body io.Reader, events chan<- event, quit <-chan struct{}) {
	r := bufio.NewReaderSize(body, 32<<10)
	send := func(e event) bool {
		select {
		case events <- e:
			return e.err == nil
		case <-quit:
			return false
		}
	}
	for {
		line, err := readLine(r)
		if len(bytes.TrimSpace(line)) > 0 && (err == nil || err == io.EOF) {
			var e event
			if json.Unmarshal(line, &e) != nil {
				e.err = errors.New("the watch broke off, or does not say what Kubernetes says")
			}
			if !send(e) {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				err = fmt.Errorf("the watch broke off: %w", plain(err))
			}
			send(event{err: err})
			return
		}
	}
}

// readLine reads a line, or what there is of the last.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > answerBytes {
			return nil, fmt.Errorf("an event is longer than %d MiB", answerBytes>>20)
		}
	}
}

// take takes an event over, and reports whether it changed a slice.
func (s *session) take(e event) (changed bool, err error) {
	if e.Type == "ERROR" {
		var st status
		if json.Unmarshal(e.Object, &st) != nil {
			return false, errors.New("the watch ended with an error that cannot be read")
		}
		if st.gone() {
			return false, errAgain
		}
		if st.Code == 0 {
			st.Code = http.StatusInternalServerError
		}
		return false, st
	}
	var object slice
	if err := json.Unmarshal(e.Object, &object); err != nil || object.Metadata.ResourceVersion == "" {
		return false, errors.New("an event has an object that cannot be read")
	}
	switch e.Type {
	case "ADDED", "MODIFIED":
		s.slices[object.Metadata.Name] = object
		changed = true
	case "DELETED": // or it has lost its label
		delete(s.slices, object.Metadata.Name)
		changed = true
	}
	// Of a BOOKMARK, and of types to come, the revision is all that counts.
	s.revision = object.Metadata.ResourceVersion
	return changed, nil
}
