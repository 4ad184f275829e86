package etcd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// The messages of the gateway, as far as they matter here.

// An int64 of the gateway is a string; a number will do, too. Without one it is 0.
type number int64

func (n *number) UnmarshalJSON(data []byte) error {
	i, err := strconv.ParseInt(string(bytes.Trim(data, `"`)), 10, 64)
	*n = number(i)
	return err
}

type header struct {
	Cluster  string `json:"cluster_id"`
	Revision number `json:"revision"`
}

type keyValue struct {
	Key      []byte `json:"key"` // base64 in the message
	Created  number `json:"create_revision"`
	Modified number `json:"mod_revision"`
	Lease    number `json:"lease"`
	Value    []byte `json:"value"`
}

type rangeRequest struct {
	Key         []byte `json:"key"`
	End         []byte `json:"range_end,omitempty"`
	Limit       int    `json:"limit,omitempty"`
	KeysOnly    bool   `json:"keys_only,omitempty"`
	ModifiedMin int64  `json:"min_mod_revision,omitempty"`
}

type rangeAnswer struct {
	Header header     `json:"header"`
	KVs    []keyValue `json:"kvs"`
	Count  number     `json:"count"` // of all keys in the range, whatever the filters
}

type watchMessage struct {
	Result struct {
		Header   header `json:"header"`
		Created  bool   `json:"created"`
		Canceled bool   `json:"canceled"`
		Compact  number `json:"compact_revision"`
		Reason   string `json:"cancel_reason"`
		Events   []struct {
			Type string   `json:"type"` // "DELETE", or none
			KV   keyValue `json:"kv"`
		} `json:"events"`
	} `json:"result"`
	Error json.RawMessage `json:"error"`
}

// prefixEnd is the first key after all those that begin with the prefix.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return []byte{0} // there is none: to the end of all keys
}

// A session is one list of the keys and the watch that goes on from there.
type session struct {
	gateway *gateway
	prefix  string // of all keys
	scheme  string // of endpoints that name none; "": http
	group   func(key string) string
	changed func(v *view, groups map[string]bool) // called with what has changed; nil: everything
	view    view

	started time.Time

	mu       sync.Mutex // guards what follows: pulse has a goroutine of its own
	answered time.Time  // of the last answer of any kind; zero: none, yet
	opened   bool       // the watch is there
	known    mark
}

// A mark is how far a view has come.
type mark struct {
	cluster  string
	revision int64
	keys     int
}

// run lists and watches until something is wrong, and returns what; client.Again if
// the keys are to be listed again.
func (s *session) run(ctx context.Context) error {
	s.started = time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	var pulse sync.WaitGroup
	defer pulse.Wait()
	defer cancel(nil)
	if err := s.list(ctx); err != nil {
		return err
	}
	pulse.Go(func() { cancel(s.pulse(ctx)) })
	err := s.watch(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the watch only says that it was cut off
	} else {
		s.note(false) // an end is a sign of life, too
	}
	return err
}

func (s *session) list(ctx context.Context) error {
	var a rangeAnswer
	in := rangeRequest{Key: []byte(s.prefix), End: prefixEnd(s.prefix)}
	if err := s.gateway.call(ctx, requestTimeout, "/v3/kv/range", in, &a); err != nil {
		return err
	}
	if a.Header.Revision <= 0 {
		return errors.New("the answer has no revision")
	}
	s.view = newView(s.scheme, s.group, a)
	s.note(false)
	s.changed(&s.view, nil)
	return nil
}

// note makes known to pulse how far the view has come.
func (s *session) note(opened bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = time.Now()
	s.opened = s.opened || opened
	s.known = s.view.mark()
}

// watch applies events until the stream ends. Sets are published when no more events
// wait to be read: a thousand at once are not a thousand sets.
func (s *session) watch(ctx context.Context) error {
	type create struct {
		Key      []byte `json:"key"`
		End      []byte `json:"range_end"`
		Revision number `json:"start_revision"`
		Progress bool   `json:"progress_notify"`
	}
	res, err := s.gateway.post(ctx, "/v3/watch", map[string]create{"create_request": {
		[]byte(s.prefix), prefixEnd(s.prefix), number(s.view.revision + 1), true,
	}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	changed := make(map[string]bool) // groups
	for {
		line, err := client.ReadLine(lines, answerBytes)
		if err != nil {
			return fmt.Errorf("the watch broke off: %w", client.Plain(ctx, err))
		}
		if err := s.apply(line, changed); err != nil {
			return err
		}
		s.note(true)
		if waiting, _ := lines.Peek(lines.Buffered()); len(changed) > 0 && bytes.IndexByte(waiting, '\n') < 0 {
			s.changed(&s.view, changed)
			clear(changed)
		}
	}
}

// apply takes over one message of the watch, and notes the groups that it changes.
func (s *session) apply(line []byte, changed map[string]bool) error {
	var m watchMessage
	if json.Unmarshal(line, &m) != nil {
		return errors.New("the watch does not say what etcd's gateway says")
	}
	r := &m.Result
	switch {
	case len(m.Error) > 0:
		return fmt.Errorf("the server ended the watch: %s", m.Error[:min(len(m.Error), 200)])
	case r.Header.Cluster != "" && r.Header.Cluster != s.view.cluster:
		return client.Again
	case r.Canceled && (r.Compact > 0 || tokenText(r.Reason)):
		return client.Again
	case r.Canceled:
		return fmt.Errorf("the server ended the watch: %s", r.Reason[:min(len(r.Reason), 200)])
	}
	for _, e := range r.Events {
		if e.Type == "DELETE" && s.view.remove(e.KV) || e.Type != "DELETE" && s.view.put(e.KV) {
			changed[s.view.group(string(e.KV.Key))] = true
		}
	}
	return nil
}

// pulse asks from time to time whether the server is there and the watch keeps up, and
// returns what is wrong. A watch alone tells neither: it may be silent for hours, and
// for ever if the server lost its data (it waits for a revision that was long ago).
func (s *session) pulse(ctx context.Context) error {
	end := s.started.Add(sessionTime + rand.N(sessionTime))
	in := rangeRequest{Key: []byte(s.prefix), End: prefixEnd(s.prefix), KeysOnly: true, Limit: 1}
	wait, doubts := pulseEvery, 0
	for client.Sleep(ctx, wait) {
		s.mu.Lock()
		known, opened := s.known, s.opened
		s.mu.Unlock()
		in.ModifiedMin = known.revision + 1
		var a rangeAnswer
		if err := s.gateway.call(ctx, pulseTimeout, "/v3/kv/range", in, &a); err != nil {
			return err
		}
		s.mu.Lock()
		s.answered = time.Now()
		moved := s.known != known
		s.mu.Unlock()
		switch {
		case !opened:
			return errors.New("the watch does not begin")
		case a.Header.Cluster != known.cluster || int64(a.Header.Revision) < known.revision || time.Now().After(end):
			return client.Again
		case moved || len(a.KVs) == 0 && int(a.Count) == known.keys:
			wait, doubts = pulseEvery, 0
		default: // there is something that the watch has not told, yet
			if wait, doubts = doubtEvery, doubts+1; doubts > 2 {
				return client.Again
			}
		}
	}
	return ctx.Err()
}
