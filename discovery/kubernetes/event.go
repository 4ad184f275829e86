package kubernetes

// The lines of a watch.

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const eventBytes = 64 << 20

// An event is one line of a watch, or the error that ended it.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
	err    error
}

// change is what the event changes, nil for one that changes nothing, and the revision that
// is known with it. The error says why the watch cannot go on.
func (e *event) change() (c *change, revision string, err error) {
	if e.Type == "ERROR" {
		var s status
		if json.Unmarshal(e.Object, &s) != nil {
			return nil, "", errors.New("the watch ended with an error that cannot be read")
		}
		if s.Code == http.StatusGone || s.Reason == reasonExpired {
			return nil, "", client.Again
		}
		return nil, "", &client.StatusError{Status: cmp.Or(s.Code, http.StatusInternalServerError), Message: cmp.Or(s.Message, s.Reason)}
	}
	var o object
	if err := json.Unmarshal(e.Object, &o); err != nil || o.Metadata.ResourceVersion == "" {
		return nil, "", errors.New("an event has an object that cannot be read")
	}
	switch e.Type {
	case "ADDED", "MODIFIED":
		c = &change{name: o.Metadata.Name, slice: compact(&o)}
	case "DELETED": // or it has lost its label
		c = &change{name: o.Metadata.Name}
	}
	// Of a BOOKMARK, and of types to come, the revision is all that counts.
	return c, o.Metadata.ResourceVersion, nil
}

// readEvents sends the lines of a watch, and at the end why it ended.
func readEvents(ctx context.Context, body io.Reader, events chan<- event, quit <-chan struct{}) {
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
		line, err := client.ReadLine(r, eventBytes)
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
				err = fmt.Errorf("the watch broke off: %w", client.Plain(ctx, err))
			}
			send(event{err: err})
			return
		}
	}
}
