package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
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
		r.Set(discovery.Update{Endpoints: list("a")})
		r.Set(discovery.Update{Endpoints: list("a")}) // no news
		r.Fail(errors.New("e1"))
		r.Fail(errors.New("e1"))
		r.Fail(errors.New("e2"))                      // too soon
		r.Set(discovery.Update{Endpoints: list("a")}) // not stale any more
		r.Fail(errors.New("e1"))
		time.Sleep(time.Minute)
		r.Fail(errors.New("e1"))
		r.Fail(errors.New("e2"))
		r.Set(discovery.Update{Rejected: []discovery.Reject{{ID: "x"}}})
		r.Set(discovery.Update{Rejected: []discovery.Reject{{ID: "x"}}})
		r.Set(discovery.Update{})
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

// TestAnnounced: what others reach by an IP address and a port, and nothing else.
func TestAnnounced(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"", "10.0.0.1:80"}:              "10.0.0.1:80 <nil>",
		{"http", "[::ffff:10.0.0.1]:80"}: "10.0.0.1:80 <nil>",
		{"https", "[2001:db8::1]:443"}:   "[2001:db8::1]:443 <nil>",
		{"ftp", "10.0.0.1:80"}:           "neither http nor https",
		{"", "web-1:80"}:                 "is a name",
		{"", "10.0.0.1"}:                 "has no port",
		{"", "10.0.0.1:0"}:               "0 is not a port",
		{"", "0.0.0.0:80"}:               "none that can be reached",
		{"", ""}:                         "has no port",
	} {
		addr, err := Announced(discovery.Instance{Scheme: in[0], Address: in[1]})
		if got := fmt.Sprint(addr, " ", err); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestMetadata: what registries add does not change the instance's own map.
func TestMetadata(t *testing.T) {
	in := discovery.Instance{Metadata: map[string]string{"zone": "a", "k": "v"}}
	if got := fmt.Sprint(Metadata(in, map[string]string{"zone": "b", "weight": ""}), in.Metadata); got != "map[k:v zone:b] map[k:v zone:a]" {
		t.Error(got)
	}
	if got := Metadata(discovery.Instance{}, nil); got == nil || len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestSet: of entries with one address the last counts; of those that were made at once the one
// in use, the heavier, the one whose name is the first. It may be one that hides the others.
func TestSet(t *testing.T) {
	entry := func(address, zone string, created, modified int64) Entry {
		return Entry{Spec: endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: address}, Zone: zone}, Created: created, Modified: modified}
	}
	out, heavy, hides := entry("c", "out", 1, 1), entry("c", "heavy", 1, 1), entry("d", "", 2, 0)
	out.Spec.Out, out.Spec.Weight, heavy.Spec.Weight, hides.None = true, 3, 2, true
	u := Set(maps.All(map[string]Entry{
		"1":  entry("b", "old", 1, 9),
		"2":  entry("b", "new", 2, 3),
		"3":  entry("a", "first", 2, 0),
		"4":  entry("a", "second", 2, 0),
		"5":  {Reason: "bad"},
		"6":  {None: true},
		"7":  {None: true, Reason: "of no interest"},
		"8":  out,
		"9":  heavy,
		"10": entry("c", "light", 1, 1),
		"11": entry("d", "hidden", 1, 0),
		"12": hides,
	}))
	var got []string
	for _, s := range u.Endpoints {
		got = append(got, s.Address+" "+s.Zone)
	}
	if want := "[a first b new c heavy] [{5 bad}]"; fmt.Sprint(got, u.Rejected) != want {
		t.Errorf("%v %v, want %s", got, u.Rejected, want)
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
		g := Group[int, string]{Open: func(int) Hub[string] {
			opened++
			return &hub{make(map[*Watcher[string]]bool), &running}
		}}
		for round := range 2 {
			var got [2]said
			var ends [2]context.CancelFunc
			for i := range got {
				ctx, cancel := context.WithCancel(t.Context())
				ends[i] = cancel
				go g.Run(ctx, 7, fmt.Sprint(i), got[i].publish)
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

// TestPanicOfAHub reaches the sources, whose owner recovers and runs them again.
func TestPanicOfAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got said
		running := 0
		hubs := []*hub{{make(map[*Watcher[string]]bool), nil}, {make(map[*Watcher[string]]bool), &running}}
		g := Group[int, string]{Open: func(int) Hub[string] {
			h := hubs[0]
			hubs = hubs[1:]
			return h
		}}
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "nil pointer") {
					t.Errorf("panicked with %v", p)
				}
			}()
			g.Run(t.Context(), 7, "a", got.publish) // by the hub that cannot count
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.Run(ctx, 7, "b", got.publish)
		if len(got) == 0 || got[len(got)-1] != "b" || len(g.runs) != 0 {
			t.Errorf("published %v, %d hubs are left", got, len(g.runs))
		}
	})
}

// TestWatcher: what the source does not take in time is replaced by what is newer, and an
// error after it comes after it.
func TestWatcher(t *testing.T) {
	var got said
	w := newWatcher(0)
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
