package exchange

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSegment(t *testing.T) {
	for _, path := range []string{"/", "/a", "/a/", "/a/b", "/a/bc/d/", "*", ""} {
		want := strings.Split(strings.TrimPrefix(path, "/"), "/")
		for n := range 5 {
			w := ""
			if n < len(want) {
				w = want[n]
			}
			if got := string(segment([]byte(path), n)); got != w {
				t.Errorf("segment %d of %q is %q, want %q", n, path, got, w)
			}
		}
	}
}

func FuzzSegment(f *testing.F) {
	f.Add("/a/b/c", 1)
	f.Add("//", 3)
	f.Fuzz(func(t *testing.T, path string, n int) {
		if n < 0 || n > 100 || strings.Contains(path, "//") { // not in normal form
			return
		}
		want := ""
		if all := strings.Split(strings.TrimPrefix(path, "/"), "/"); n < len(all) {
			want = all[n]
		}
		if got := string(segment([]byte(path), n)); got != want {
			t.Fatalf("segment %d of %q is %q, want %q", n, path, got, want)
		}
	})
}

func TestUses(t *testing.T) {
	var u Uses
	if !u.Enter(time.Second) || u.Last() != time.Second {
		t.Fatalf("entered at %v", u.Last())
	}
	u.Enter(time.Second + 10*time.Millisecond)
	if u.Last() != time.Second {
		t.Error("every use is written down")
	}
	if u.Leave(); u.Forget() {
		t.Error("forgotten while one is left")
	}
	if u.Leave(); !u.Forget() {
		t.Error("not forgotten when no exchange is left")
	}
	for range 3 {
		if u.Enter(time.Minute) || u.Forget() {
			t.Error("entered, or forgotten again, after it was forgotten")
		}
	}
}

// TestNobodyUsesWhatIsForgotten: either the user or the forgetter wins.
func TestNobodyUsesWhatIsForgotten(t *testing.T) {
	for round := range 300 {
		var u Uses
		var inside atomic.Int64
		var gone atomic.Bool
		var tasks sync.WaitGroup
		for task := range 3 {
			tasks.Go(func() {
				for i := range 50 {
					if !u.Enter(time.Duration(i)) {
						return
					}
					inside.Add(1)
					if gone.Load() {
						t.Error(fmt.Sprint("round ", round, ", task ", task, ": inside what is forgotten"))
					}
					inside.Add(-1)
					u.Leave()
				}
			})
		}
		tasks.Go(func() {
			for range 200 {
				if u.Forget() {
					gone.Store(true)
					if n := inside.Load(); n != 0 {
						t.Errorf("round %d: forgotten with %d inside", round, n)
					}
					return
				}
			}
		})
		tasks.Wait()
	}
}
