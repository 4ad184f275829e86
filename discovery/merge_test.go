package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// A step of a script: an update, or the end of Run, after a while.
type step struct {
	after time.Duration
	set   string // names of endpoints
	err   error
	end   bool // Run returns err
}

type script []step

func (s script) Run(ctx context.Context, publish func(Update)) error {
	for _, one := range s {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(one.after):
		}
		switch {
		case one.end:
			return one.err
		case one.err != nil:
			publish(Update{Err: one.err})
		default:
			publish(Update{Endpoints: specs(one.set)})
		}
	}
	<-ctx.Done()
	return nil
}

func specs(names string) []endpoint.Spec {
	var out []endpoint.Spec
	for name := range strings.FieldsSeq(names) {
		id, zone, _ := strings.Cut(name, "/")
		out = append(out, endpoint.Spec{ID: endpoint.ID{Address: id}, Zone: zone})
	}
	return out
}

func text(u Update) string {
	if u.Err != nil {
		return "error " + strings.ReplaceAll(u.Err.Error(), "\n", ", ")
	}
	var names []string
	for _, s := range u.Endpoints {
		names = append(names, strings.TrimSuffix(s.Address+"/"+s.Zone, "/"))
	}
	return strings.Join(names, " ")
}

// play runs a source for ten virtual seconds and tells what it published, and when.
func play(t *testing.T, s Source) (published []string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		var one sync.Mutex
		err = s.Run(ctx, func(u Update) {
			if !one.TryLock() {
				t.Error("publish was called twice at once")
				return
			}
			published = append(published, fmt.Sprintf("%d: %s", time.Since(start)/time.Second, text(u)))
			one.Unlock()
		})
	})
	return published, err
}

func TestMerge(t *testing.T) {
	bad, worse := errors.New("bad"), errors.New("worse")
	for name, test := range map[string]struct {
		parts []Source
		want  []string
		err   string
	}{
		"waits for every part": {
			[]Source{script{{after: 1e9, set: "a b"}, {after: 1e9, set: "a"}}, script{{after: 3e9, set: "c"}}},
			[]string{"3: a c"}, ""},
		"a failure counts as heard, and is told": {
			[]Source{script{{after: 1e9, set: "a"}}, script{{after: 2e9, err: bad}, {after: 2e9, set: "c"}}},
			[]string{"2: a", "2: error bad", "4: a c"}, ""},
		"a part that fails keeps its set": {
			[]Source{script{{set: "a"}, {after: 3e9, set: "a2"}}, script{{after: 1e9, set: "b"}, {after: 1e9, err: bad}}},
			[]string{"1: a b", "2: error bad", "3: a2 b", "3: error bad"}, ""},
		"no set, no publication": {
			[]Source{script{{err: bad}}, script{{after: 1e9, err: worse}}},
			[]string{"1: error bad, worse"}, ""},
		"the first of two wins": {
			[]Source{script{{set: "a/1"}}, script{{after: 1e9, set: "a/2 b"}}},
			[]string{"1: a/1 b"}, ""},
		"an empty set is a set": {
			[]Source{script{{set: ""}}, script{{after: 1e9, set: ""}}},
			[]string{"1: "}, ""},
		"a part that gives up does not end the others": {
			[]Source{script{{after: 1e9, end: true, err: bad}}, script{{after: 2e9, set: "a"}, {after: 2e9, set: "b"}}},
			[]string{"2: a", "2: error bad", "4: b", "4: error bad"}, ""},
		"all give up": {
			[]Source{script{{end: true, err: bad}}, script{{after: 1e9, end: true, err: worse}}},
			[]string{"1: error bad, worse"}, "bad\nworse"},
		"none": {nil, []string{"0: "}, ""},
		"one":  {[]Source{script{{after: 1e9, set: "a"}}}, []string{"1: a"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := play(t, Merge(test.parts...))
			if !slices.Equal(got, test.want) {
				t.Errorf("published %q, want %q", got, test.want)
			}
			if (err != nil || test.err != "") && fmt.Sprint(err) != test.err {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

// What the parts reject is not lost, and is forgotten with the set that it belongs to.
func TestMergeKeepsWhatIsRejected(t *testing.T) {
	var got []string
	var publish [2]func(Update)
	s := &merged{parts: make([]part, 2), publish: func(u Update) { got = append(got, fmt.Sprint(u.Rejected)) }}
	for i := range publish {
		publish[i] = func(u Update) { s.update(i, u) }
	}
	publish[0](Update{Endpoints: specs("a"), Rejected: []Reject{{"x", "bad"}}})
	publish[1](Update{Endpoints: specs("b"), Rejected: []Reject{{"y", "worse"}, {"z", "worse"}}})
	publish[0](Update{Endpoints: specs("a")})
	if want := []string{"[{x bad} {y worse} {z worse}]", "[{y worse} {z worse}]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestMergeIsTheUnion plays random scripts and compares the end with a simple model.
func TestMergeIsTheUnion(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		var parts []Source
		want := make(map[string]bool)
		for p := range 2 + r.IntN(3) {
			var s script
			last := ""
			for range 1 + r.IntN(5) {
				one := step{after: time.Duration(r.IntN(1500)) * time.Millisecond}
				if r.IntN(3) == 0 {
					one.err = errors.New("bad")
				} else {
					one.set = fmt.Sprintf("%d-%d %d shared", p, r.IntN(3), r.IntN(4))
					last = one.set
				}
				s = append(s, one)
			}
			parts = append(parts, s)
			for name := range strings.FieldsSeq(last) {
				want[name] = true
			}
		}
		published, _ := play(t, Merge(parts...))
		got := make(map[string]bool)
		for _, p := range slices.Backward(published) {
			if _, set, _ := strings.Cut(p, ": "); !strings.HasPrefix(set, "error") {
				for name := range strings.FieldsSeq(set) {
					if got[name] {
						t.Fatalf("seed %d: %s is there twice", seed, name)
					}
					got[name] = true
				}
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: %v, want %v, of %q", seed, got, want, published)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	for range 2 {
		for _, most := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			most *= time.Second
			if got := b.Next(); got < most/2 || got > most {
				t.Errorf("%v is not in the upper half of %v", got, most)
			}
		}
		b.Reset()
	}
	b = Backoff{First: time.Millisecond, Most: 2 * time.Millisecond}
	different := make(map[time.Duration]bool)
	for range 50 {
		got := b.Next()
		different[got] = true
		if got > 2*time.Millisecond {
			t.Errorf("%v is too long", got)
		}
	}
	if len(different) < 10 {
		t.Errorf("only %d different waits: many sources would ask in step", len(different))
	}
}
