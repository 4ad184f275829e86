package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

func list(addresses ...string) []endpoint.Spec {
	out := make([]endpoint.Spec, len(addresses))
	for i, a := range addresses {
		out[i].ID = endpoint.ID{Scheme: "http", Address: a}
	}
	return out
}

// A said is what was published, as text.
type said []string

func (s *said) publish(u discovery.Update) {
	if u.Err != nil {
		*s = append(*s, u.Err.Error())
		return
	}
	text := ""
	for _, e := range u.Endpoints {
		text += e.Address
	}
	*s = append(*s, text)
}

func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got said
		r := Reporter{Publish: got.publish}
		r.Set(list("a"), nil)
		r.Set(list("a"), nil) // no news
		r.Fail(errors.New("e1"))
		r.Fail(errors.New("e1"))
		r.Fail(errors.New("e2")) // too soon
		r.Set(list("a"), nil)    // not stale any more
		r.Fail(errors.New("e1"))
		time.Sleep(time.Minute)
		r.Fail(errors.New("e1"))
		r.Fail(errors.New("e2"))
		r.Set(nil, []discovery.Reject{{ID: "x"}})
		r.Set(nil, []discovery.Reject{{ID: "x"}})
		r.Set(nil, nil)
		if want := "[a e1 a e1 e2  ]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []error
		lost := errors.New("lost")
		a := Announcement{Report: func(err error) { got = append(got, err) }}
		a.Succeed(true)
		a.Until = time.Now().Add(time.Second)
		a.Fail(lost) // it is there
		a.Succeed(false)
		time.Sleep(2 * time.Second)
		a.Fail(lost)
		a.Fail(lost)
		a.Succeed(false)
		a.Succeed(false)
		a.Succeed(true)
		if want := "[<nil> lost <nil> <nil>]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %v", got, want)
		}

		// The answer to the first announcement was lost, and the next sign of life shows that
		// it had arrived.
		got = nil
		a = Announcement{Report: a.Report}
		a.Succeed(false)
		a.Succeed(false)
		if want := "[<nil>]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestSet(t *testing.T) {
	spec := func(address, zone string) endpoint.Spec {
		return endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: address}, Zone: zone}
	}
	specs, rejected := Set(maps.All(map[string]Entry{
		"1": {Spec: spec("b", "old"), Created: 1, Modified: 9},
		"2": {Spec: spec("b", "new"), Created: 2, Modified: 3},
		"3": {Spec: spec("a", "y"), Created: 2},
		"4": {Spec: spec("a", "z"), Created: 2},
		"5": {Reason: "bad"},
		"6": {None: true},
	}))
	got := fmt.Sprint(specs[0].Address, specs[0].Zone, specs[1].Address, specs[1].Zone, len(specs), rejected)
	if want := "azbnew2 [{5 bad}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// hub offers what it is made of, until the end of Run.
type hub struct {
	watchers map[*Watcher[string]]bool
	running  *int
}

func (h *hub) Add(w *Watcher[string]) {
	h.watchers[w] = true
	w.Offer(discovery.Update{Endpoints: list(w.Of)})
}

func (h *hub) Remove(w *Watcher[string]) bool {
	delete(h.watchers, w)
	return len(h.watchers) == 0
}

func (h *hub) Run(ctx context.Context) {
	*h.running++
	<-ctx.Done()
	*h.running--
}

// TestGroup: a hub runs while a watcher does, and each time anew.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, opened := 0, 0
		g := Group[string]{Open: func() Hub[string] {
			opened++
			return &hub{make(map[*Watcher[string]]bool), &running}
		}}
		for round := range 2 {
			var got [2]said
			var ends [2]context.CancelFunc
			for i := range got {
				ctx, cancel := context.WithCancel(t.Context())
				ends[i] = cancel
				go g.Run(ctx, fmt.Sprint(i), got[i].publish)
			}
			synctest.Wait()
			if fmt.Sprint(got) != "[[0] [1]]" || running != 1 || opened != round+1 {
				t.Errorf("published %v; %d hubs of %d run", got, running, opened)
			}
			ends[0]()
			synctest.Wait()
			if running != 1 {
				t.Error("the hub has ended before its last watcher")
			}
			ends[1]()
			synctest.Wait()
			if running != 0 {
				t.Error("the hub outlives its last watcher")
			}
		}
	})
}

// TestWatcher: what the source does not take in time is replaced by what is newer, and an
// error after it comes after it.
func TestWatcher(t *testing.T) {
	var got said
	w := NewWatcher(0)
	w.Offer(discovery.Update{Endpoints: list("a")})
	w.Offer(discovery.Update{Endpoints: list("b")})
	w.Fail(errors.New("e"))
	w.publish(got.publish)
	w.Fail(errors.New("e"))
	w.Fail(errors.New("f")) // too soon
	w.publish(got.publish)
	w.Offer(discovery.Update{Endpoints: list("b")})
	w.publish(got.publish)
	w.Fail(errors.New("e"))
	w.Offer(discovery.Update{Endpoints: list("b")}) // before anything was taken
	w.publish(got.publish)
	if want := "[b e b b]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}
