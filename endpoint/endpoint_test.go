package endpoint

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func newTest(address string) *Endpoint {
	return New(Spec{ID: ID{Scheme: "http", Address: address}})
}

// TestLayout keeps what an attempt writes on one cache line and away from what all read.
func TestLayout(t *testing.T) {
	const line = 64
	var e Endpoint
	if got := unsafe.Sizeof(e); got != 3*line {
		t.Errorf("an endpoint has %d bytes, want three lines", got)
	}
	if got := unsafe.Offsetof(e.inFlight); got != line {
		t.Errorf("in-flight is at %d, want the start of the second line", got)
	}
	for name, end := range map[string]uintptr{
		"latency": unsafe.Offsetof(e.latency) + unsafe.Sizeof(e.latency),
		"counts":  unsafe.Offsetof(e.counts) + unsafe.Sizeof(e.counts),
		"weight":  unsafe.Offsetof(e.weight) + unsafe.Sizeof(e.weight),
		"usable":  unsafe.Offsetof(e.usable) + unsafe.Sizeof(e.usable),
	} {
		if end <= line || end > 2*line {
			t.Errorf("%s ends at %d, outside the second line", name, end)
		}
	}
	for i := range 1000 {
		if at := uintptr(unsafe.Pointer(newTest(fmt.Sprint(i)))); at%line != 0 {
			t.Fatalf("endpoint %d is at %#x, across lines", i, at)
		}
	}
}

func TestNew(t *testing.T) {
	s := Spec{ID: ID{"https", "192.0.2.1:443", "a"}, Host: "example.com", Zone: "z", Metadata: map[string]string{"k": "v"}}
	e := New(s)
	if e.ID() != s.ID || !e.Spec().Equal(s) {
		t.Errorf("made of %v, says %v", s, e.Spec())
	}
	if e.Usable() {
		t.Error("usable before its owner said so")
	}
	if e.SetUsable(true); !e.Usable() {
		t.Error("not usable although its owner said so")
	}
	if e.SetUsable(false); e.Usable() {
		t.Error("usable although its owner said no")
	}
}

func TestUpdateKeepsIdentityAndState(t *testing.T) {
	e := newTest("192.0.2.1:80")
	e.Begin(time.Second)
	e.Begin(time.Second)
	e.End(Outcome{Now: time.Second, Latency: time.Millisecond, Failed: true})
	id, hash, before := e.ID(), e.Hash(), e.Stats(time.Second)
	e.Update(Spec{ID: ID{Scheme: "https", Address: "elsewhere"}, Weight: 7, Zone: "b"})
	if e.ID() != id || e.Spec().ID != id || e.Hash() != hash {
		t.Errorf("identity became %v, %v, %x", e.ID(), e.Spec().ID, e.Hash())
	}
	if got := e.Stats(time.Second); got != before {
		t.Errorf("state became %+v, was %+v", got, before)
	}
	if e.Weight() != 7 || e.Spec().Zone != "b" {
		t.Errorf("weight %d, spec %+v", e.Weight(), e.Spec())
	}
}

func TestIDOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	word := func() string { return []string{"", "a", "a\xff", "ab", "b"}[r.IntN(5)] }
	ids := make([]ID, 300)
	for i := range ids {
		ids[i] = ID{word(), word(), word()}
	}
	for _, a := range ids {
		for _, b := range ids {
			want := slices.Compare([]string{a.Scheme, a.Address, a.Instance}, []string{b.Scheme, b.Address, b.Instance})
			if got := a.Compare(b); got != want {
				t.Fatalf("%q to %q: %d, want %d", a, b, got, want)
			}
			if a.Less(b) != (want < 0) || (a == b) != (want == 0) {
				t.Fatalf("%q and %q: Less and == disagree with Compare", a, b)
			}
			if a != b && a.hash() == b.hash() {
				t.Fatalf("%q and %q have the same hash", a, b)
			}
		}
	}
}

func TestIDString(t *testing.T) {
	for want, id := range map[string]ID{
		"http://192.0.2.1:80":       {"http", "192.0.2.1:80", ""},
		"https://[2001:db8::1]:443": {"https", "[2001:db8::1]:443", ""},
		"http://unix:/run/a.sock#7": {"http", "unix:/run/a.sock", "7"},
	} {
		if got := id.String(); got != want {
			t.Errorf("%#v is %q, want %q", id, got, want)
		}
	}
}

// TestHash pins the hash, on which several proxies must agree, and checks that addresses
// which differ in a digit are spread evenly by their upper and by their lower bits.
func TestHash(t *testing.T) {
	for want, id := range map[uint64]ID{
		0xe3d03422413ccc1c: {"http", "192.0.2.1:80", ""},
		0x3dc65f2a13176b84: {"http", "192.0.2.1:80", "a"},
	} {
		if got := New(Spec{ID: id}).Hash(); got != want {
			t.Errorf("the hash of %v is %#x, want %#x: it must never change", id, got, want)
		}
	}
	const n, cells = 1 << 16, 256
	var upper, lower [cells]float64
	for i := range n {
		h := ID{"http", fmt.Sprintf("10.0.%d.%d:8080", i>>8, i&255), ""}.hash()
		upper[h>>56]++
		lower[h&(cells-1)]++
	}
	for name, counts := range map[string][cells]float64{"upper": upper, "lower": lower} {
		chi := 0.0
		for _, c := range counts {
			chi += (c - n/cells) * (c - n/cells) / (n / cells)
		}
		if chi < 150 || chi > 380 { // 255 degrees of freedom: five sigma
			t.Errorf("%s bits: chi square %.0f", name, chi)
		}
	}
}

func TestSpecEqual(t *testing.T) {
	base := Spec{ID: ID{"http", "a", "i"}, Host: "h", Weight: 2, Zone: "z", Metadata: map[string]string{"k": "v"}}
	same := base
	same.Metadata = map[string]string{"k": "v"}
	if !base.Equal(same) {
		t.Error("a copy differs")
	}
	for name, change := range map[string]func(*Spec){
		"scheme":   func(s *Spec) { s.Scheme = "https" },
		"address":  func(s *Spec) { s.Address = "b" },
		"instance": func(s *Spec) { s.Instance = "" },
		"host":     func(s *Spec) { s.Host = "" },
		"weight":   func(s *Spec) { s.Weight = 3 },
		"state":    func(s *Spec) { s.Out = true },
		"zone":     func(s *Spec) { s.Zone = "" },
		"metadata": func(s *Spec) { s.Metadata = map[string]string{"k": "w"} },
	} {
		other := base
		change(&other)
		if base.Equal(other) || other.Equal(base) {
			t.Errorf("another %s is equal", name)
		}
	}
}

// TestConcurrent lets many workers begin and end: nothing is lost, and what readers see
// meanwhile is within bounds.
func TestConcurrent(t *testing.T) {
	const workers, each = 8, 5000
	e := newTest("192.0.2.1:80")
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		const now = 6 * time.Second
		for {
			select {
			case <-stop:
				return
			default:
			}
			s := e.Stats(now)
			if s.InFlight < 0 || s.InFlight > workers || s.Failures > s.Attempts ||
				s.Failing < 0 || s.Failing > 1 || s.Latency < 0 || s.Latency > 10*time.Millisecond {
				t.Errorf("out of bounds: %+v", s)
				return
			}
		}
	})
	for w := range workers {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range each {
				now := time.Second + time.Duration(i)*time.Millisecond
				e.Begin(now)
				e.End(Outcome{Now: now, Latency: 1 + time.Duration(r.IntN(9_000_000)), Failed: i%10 == 0})
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	s := e.Stats(6 * time.Second)
	if s.InFlight != 0 || s.Attempts != workers*each || s.Failures != workers*each/10 {
		t.Errorf("after all ended: %+v", s)
	}
}

func TestNoAllocation(t *testing.T) {
	e := newTest("192.0.2.1:80")
	now := time.Second
	if n := testing.AllocsPerRun(1000, func() {
		now += 10 * time.Millisecond
		e.Begin(now)
		e.End(Outcome{Now: now, Latency: now % 7, Failed: now%30 == 0})
		e.Estimate(now)
		e.Stats(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBeginEnd(b *testing.B) {
	for name, step := range map[string]time.Duration{"often": 50 * time.Microsecond, "seldom": 5 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			e := newTest("192.0.2.1:80")
			now := time.Second
			e.End(Outcome{Now: now, Latency: time.Hour})
			for b.Loop() {
				now += step
				e.Begin(now)
				e.End(Outcome{Now: now, Latency: time.Millisecond})
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		e := newTest("192.0.2.1:80")
		b.RunParallel(func(pb *testing.PB) {
			now := time.Second
			for pb.Next() {
				now += 50 * time.Microsecond
				e.Begin(now)
				e.End(Outcome{Now: now, Latency: time.Millisecond})
			}
		})
	})
}

func BenchmarkEstimate(b *testing.B) {
	e := newTest("192.0.2.1:80")
	e.End(Outcome{Now: time.Second, Latency: time.Millisecond})
	now := time.Second
	var sum float32
	for b.Loop() {
		now += time.Microsecond
		ns, _ := e.Estimate(now)
		sum += ns
	}
	if cmp.Compare(sum, 0) <= 0 {
		b.Fatal(sum)
	}
}
