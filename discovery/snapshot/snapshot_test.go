package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

var (
	errDown   = errors.New("connection refused")
	errNever  = errors.New("no such registry")
	endpointA = endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: "10.0.0.1:80"}}
	endpointB = endpoint.Spec{
		ID:   endpoint.ID{Scheme: "https", Address: "[2001:db8::1]:443", Instance: "b-1"},
		Host: "b.example", Weight: 7, Zone: "z1", Priority: 2, Metadata: map[string]string{"version": "<2> \u2028 \"x\""},
	}
	endpointC = endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: "unix:/run/c.sock"}}
)

// A move is what the inner source does after a while.
type move struct {
	after time.Duration
	set   []endpoint.Spec
	err   error
	end   bool // Run returns err
}

type moves []move

func (m moves) Run(ctx context.Context, publish func(discovery.Update)) error {
	for _, one := range m {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(one.after):
		}
		if one.end {
			return one.err
		}
		publish(discovery.Update{Endpoints: one.set, Err: one.err})
	}
	<-ctx.Done()
	return nil
}

// A told is what came out of a run.
type told struct {
	published []string
	reports   []string
	err       error
}

// run plays moves for ten virtual seconds.
func run(t *testing.T, folder string, m moves) told {
	t.Helper()
	return runFor(t, folder, m, 10*time.Second)
}

func runFor(t *testing.T, folder string, m moves, d time.Duration) (out told) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		start := time.Now()
		var one sync.Mutex
		report := func(err error) {
			out.reports = append(out.reports, strings.ReplaceAll(err.Error(), folder, "…"))
		}
		out.err = New(folder, "orders", m, report).Run(ctx, func(u discovery.Update) {
			if !one.TryLock() {
				t.Error("publish was called twice at once")
				return
			}
			defer one.Unlock()
			out.published = append(out.published, fmt.Sprintf("%v %s", time.Since(start), text(u)))
		})
	})
	return out
}

func text(u discovery.Update) string {
	if u.Err != nil {
		text := u.Err.Error()
		if before, after, ok := strings.Cut(text, "snapshot of "); ok {
			_, after, _ = strings.Cut(after, ": ")
			text = before + "snapshot: " + after
		}
		return text
	}
	var names []string
	for _, s := range u.Endpoints {
		names = append(names, s.Address)
	}
	return "[" + strings.Join(names, " ") + "]"
}

func is(t *testing.T, got told, published ...string) {
	t.Helper()
	if !slices.Equal(got.published, published) {
		t.Errorf("published\n%s\nwant\n%s", strings.Join(got.published, "\n"), strings.Join(published, "\n"))
	}
	if len(got.reports) > 0 {
		t.Errorf("reported %q", got.reports)
	}
}

// saved is a folder with the snapshot of a set.
func saved(t *testing.T, set ...endpoint.Spec) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "deep", "snapshots")
	is(t, run(t, folder, moves{{set: set}}), "0s "+text(discovery.Update{Endpoints: set}))
	return folder
}

func TestASnapshotStandsIn(t *testing.T) {
	for name, test := range map[string]struct {
		m    moves
		want []string
		err  error
	}{
		"while the source fails": {
			moves{{after: time.Second, err: errDown}, {after: time.Second, err: errDown}, {after: 2 * time.Second, set: []endpoint.Spec{endpointC}}, {after: time.Second, err: errDown}},
			[]string{"1s [10.0.0.1:80 [2001:db8::1]:443]", "1s using the snapshot: connection refused", "2s using the snapshot: connection refused", "4s [unix:/run/c.sock]", "5s connection refused"}, nil},
		"while the source is silent": {
			moves{{after: 5 * time.Second, set: []endpoint.Spec{}}},
			[]string{"2s [10.0.0.1:80 [2001:db8::1]:443]", "2s using the snapshot: the source has not answered yet", "5s []"}, nil},
		"not where the source answers": {
			moves{{after: 1900 * time.Millisecond, set: []endpoint.Spec{}}, {after: time.Second, err: errDown}},
			[]string{"1.9s []", "2.9s connection refused"}, nil},
		"also for a source that gives up": {
			moves{{after: time.Second, err: errNever, end: true}},
			[]string{"1s [10.0.0.1:80 [2001:db8::1]:443]", "1s using the snapshot: no such registry"}, errNever},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, saved(t, endpointB, endpointA), test.m)
			is(t, got, test.want...)
			if got.err != test.err {
				t.Errorf("ended with %v, want %v", got.err, test.err)
			}
		})
	}
}

func TestWithoutASnapshotNothingIsAdded(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "none")
	is(t, run(t, folder, moves{{err: errDown}, {after: 4 * time.Second, set: nil}}), "0s connection refused", "4s []")
	if _, err := os.Stat(folder); err == nil {
		t.Error("a folder was made for nothing")
	}
}

func TestEverythingOfAnEndpointIsKept(t *testing.T) {
	want := []endpoint.Spec{endpointA, endpointC, endpointB} // in the order of IDs
	folder := saved(t, endpointB, endpointC, endpointA)
	k, err := file{path: path(folder, "orders"), name: "orders"}.read()
	if err != nil || !reflect.DeepEqual(k.set, want) {
		t.Errorf("read %+v, %v; want %+v", k.set, err, want)
	}
	if k.written.IsZero() {
		t.Error("it does not say of when it is")
	}
	info, err := os.Stat(path(folder, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 {
		t.Errorf("%d files, want one", len(left))
	}
}

// TestWritesAreFew: a file is written a second after a change, and only after one.
func TestWritesAreFew(t *testing.T) {
	folder := saved(t, endpointA, endpointB)
	at := path(folder, "orders")
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	written := func() bool {
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		defer os.Chtimes(at, old, old)
		return !info.ModTime().Equal(old)
	}
	written()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sets := make(chan []endpoint.Spec)
		var running sync.WaitGroup
		running.Go(func() {
			New(folder, "orders", fromChannel(sets), nil).Run(ctx, func(discovery.Update) {})
		})
		name := func(wait time.Duration, set ...endpoint.Spec) {
			sets <- set
			time.Sleep(wait)
			synctest.Wait()
		}
		if name(5*time.Second, endpointB, endpointA); written() {
			t.Error("written although it is the same set in another order")
		}
		if name(5 * time.Second); written() {
			t.Error("an empty set was written")
		}
		if name(900*time.Millisecond, endpointA); written() {
			t.Error("written at once")
		}
		if name(50*time.Millisecond, endpointC); written() {
			t.Error("written too early")
		}
		if time.Sleep(100 * time.Millisecond); !written() {
			t.Error("not written after a second")
		}
		if time.Sleep(5 * time.Second); written() {
			t.Error("written twice")
		}
		name(0, endpointB)
		cancel()
		running.Wait()
		if !written() {
			t.Error("the last set was not written at the end")
		}
	})
	k, err := file{path: at, name: "orders"}.read()
	if err != nil || len(k.set) != 1 || !k.set[0].Equal(endpointB) {
		t.Errorf("the file holds %+v, %v", k.set, err)
	}
}

type fromChannel chan []endpoint.Spec

func (f fromChannel) Run(ctx context.Context, publish func(discovery.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case set := <-f:
			publish(discovery.Update{Endpoints: set})
		}
	}
}

func TestADamagedFileIsToldAndIgnored(t *testing.T) {
	good := `{"version":1,"service":"orders","endpoints":[{"scheme":"http","address":"10.0.0.1:80"}]}`
	for name, content := range map[string]string{
		"empty":           "",
		"half":            good[:len(good)-9],
		"of another time": strings.Replace(good, `"version":1`, `"version":2`, 1),
		"of another one":  strings.Replace(good, "orders", "users", 1),
		"nobody":          `{"version":1,"service":"orders","endpoints":[]}`,
		"scheme":          strings.Replace(good, "http", "gopher", 1),
		"host name":       strings.Replace(good, "10.0.0.1", "example.com", 1),
		"socket":          strings.Replace(good, "10.0.0.1:80", "unix:", 1),
		"not JSON":        "\x00\x00\x00\x00",
		"too large":       good + strings.Repeat(" ", sizeMax),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(path(folder, "orders"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			got := run(t, folder, moves{{err: errDown}, {after: 3 * time.Second, set: []endpoint.Spec{endpointA}}})
			if len(got.reports) != 1 || !strings.Contains(got.reports[0], "damaged") {
				t.Errorf("reported %q, want that it is damaged", got.reports)
			}
			got.reports = nil
			is(t, got, "0s connection refused", "3s [10.0.0.1:80]")
			is(t, run(t, folder, moves{{err: errDown}}), "0s [10.0.0.1:80]", "0s using the snapshot: connection refused")
		})
	}
}

func TestADiskThatFailsIsToldOnce(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var m moves
	var want []string
	for i := range 20 {
		m = append(m, move{after: 10 * time.Second, set: []endpoint.Spec{endpointA, endpointB}[i%2 : i%2+1]})
		want = append(want, fmt.Sprintf("%v %s", time.Duration(i+1)*10*time.Second, text(discovery.Update{Endpoints: m[i].set})))
	}
	got := runFor(t, filepath.Join(blocked, "below"), m, 5*time.Minute)
	// Reading fails, too: a file is in the way.
	if len(got.reports) != 2 || !strings.Contains(got.reports[1], "snapshot not written") {
		t.Errorf("reported %q", got.reports)
	}
	got.reports = nil
	is(t, got, want...)
}

func TestNamesAreFiles(t *testing.T) {
	for name, want := range map[string]string{
		"orders":           "orders.json",
		"a.b-c_9":          "a.b-c_9.json",
		"Orders":           "%4frders.json",
		"../../etc/passwd": "%2e.%2f..%2fetc%2fpasswd.json",
		".hidden":          "%2ehidden.json",
		"":                 ".json",
		"a%2f":             "a%252f.json",
		"訂單":               "%e8%a8%82%e5%96%ae.json",
		"x\x00:\\":         "x%00%3a%5c.json",
	} {
		if got := path("", name); got != want {
			t.Errorf("%q is kept in %s, want %s", name, got, want)
		}
	}
	long := strings.Repeat("x", 1000)
	if got := path("", long); len(got) > nameMax+len(".json") || got == path("", long+"x") {
		t.Errorf("a long name is kept in %s", got)
	}
	seen := map[string]string{}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		name := make([]byte, r.IntN(5))
		for i := range name {
			name[i] = "aA.%2f/\\\x80"[r.IntN(9)]
		}
		at := strings.ToLower(path("f", string(name)))
		if other, taken := seen[at]; taken && other != string(name) {
			t.Fatalf("%q and %q share %s", name, other, at)
		}
		if seen[at] = string(name); filepath.Dir(at) != "f" {
			t.Fatalf("%q leaves the folder: %s", name, at)
		}
	}
}

// FuzzParse: whatever a file holds, it is understood as a set that can be written and read
// again, or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"service":"orders","endpoints":[{"scheme":"http","address":"10.0.0.1:80","weight":-7}]}`))
	f.Add([]byte(`{"version":1,"service":"orders","endpoints":[{"scheme":"https","address":"unix:/a","metadata":{"":"\ud800"}},{"scheme":"https","address":"unix:/a"}]}`))
	f.Add([]byte(`[]`))
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		one := file{path: path(folder, "orders"), name: "orders"}
		k, err := one.parse(data)
		if err != nil {
			if k.set != nil {
				t.Fatal("refused, and yet a set")
			}
			return
		}
		if len(k.set) == 0 {
			t.Fatal("understood as nobody")
		}
		if err := one.write(k.set); err != nil {
			t.Fatal(err)
		}
		again, err := one.read()
		if err != nil || !slices.EqualFunc(again.set, k.set, endpoint.Spec.Equal) {
			t.Fatalf("%+v was written, %+v read: %v", k.set, again.set, err)
		}
	})
}
