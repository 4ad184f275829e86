package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// backMost is the most that a client.Loop waits between two tries.
const backMost = 2 * time.Second

const prefix = "/services/web/"

// play runs a source beside fakes named a, b, ... in virtual time. The source must end
// when its context does, with all its goroutines, or the bubble says so.
func play(t *testing.T, c Config, count int, script func(h *fakes.Heard, f []*fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		all, dial := network(t, count, &c)
		s := New(c)
		s.registry.dial = dial
		h := new(fakes.Heard)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := s.Run(ctx, h.Publish); err != nil {
				t.Error(err)
			}
		})
		script(h, all)
		cancel()
		running.Wait()
	})
}

// network makes fakes and names them in c.
func network(t *testing.T, count int, c *Config) ([]*fake, client.DialFunc) {
	names := make(map[string]*fake)
	var all []*fake
	for i := range count {
		f := newFake(t)
		name := string(rune('a'+i)) + ":2379"
		all, names[name] = append(all, f), f
		c.Servers = append(c.Servers, name)
	}
	c.Prefix = prefix
	return all, func(ctx context.Context, network, address string) (net.Conn, error) {
		return names[address].listen.Dial(ctx, network, address)
	}
}

func TestWatch(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		h.Expect(t, "nothing", "set")
		for _, one := range []struct{ key, value, want string }{
			{"1", "http://10.0.0.1:80", "set 10.0.0.1:80"},
			{"2", `{"url":"http://10.0.0.2:80","weight":3,"zone":"z"}`, "set 10.0.0.1:80 10.0.0.2:80*3@z"},
			{"2", `{"address":"10.0.0.2:80","weight":5}`, "set 10.0.0.1:80 10.0.0.2:80*5"},
			{"3", `{"Op":0,"Addr":"10.0.0.3:80","Metadata":{"weight":2,"zone":"y"}}`, "set 10.0.0.1:80 10.0.0.2:80*5 10.0.0.3:80*2@y"},
			{"4", `not an endpoint`, "set 10.0.0.1:80 10.0.0.2:80*5 10.0.0.3:80*2@y -4"},
			{"4", `still none`, ""},
			{"1", "", "set 10.0.0.2:80*5 10.0.0.3:80*2@y -4"},
			{"again", "10.0.0.3:80", "set 10.0.0.2:80*5 10.0.0.3:80 -4"},
			{"3", "", ""},
			{"again", "", "set 10.0.0.2:80*5 -4"},
			{"2", "", "set -4"},
			{"4", "", "set"},
		} {
			if one.value == "" {
				f[0].delete(prefix + one.key)
			} else {
				f[0].set(prefix+one.key, one.value)
			}
			h.Expect(t, one.key+"="+one.value, one.want)
		}
		f[0].set("/services/wec", "10.9.9.9:80")
		f[0].set("/services/web", "10.9.9.9:80")
		time.Sleep(10 * time.Minute)
		h.Expect(t, "ten quiet minutes", "")
		if lists := f[0].count("/v3/watch"); lists < 10 || lists > 21 {
			t.Errorf("%d watches in ten minutes, want one every 30 to 60 s", lists)
		}
	})
}

func TestManyChangesAtOnceAreFewSets(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		h.Expect(t, "nothing", "set")
		const n = 1000
		for i := range n {
			f[0].set(fmt.Sprint(prefix, i), fmt.Sprintf("10.0.%d.%d:80", i/250, i%250))
		}
		synctest.Wait()
		updates, _ := h.All()
		sets := len(updates)
		if last := updates[sets-1]; len(last.Endpoints) != n {
			t.Errorf("the last set has %d endpoints, want %d", len(last.Endpoints), n)
		}
		if sets > n/2 {
			t.Errorf("%d sets for %d changes", sets, n)
		}
	})
}

func TestRestart(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set(prefix+"1", "10.0.0.1:80")
		time.Sleep(time.Minute)
		h.Take()
		f[0].listen.Cut(false)
		time.Sleep(time.Second)
		h.Expect(t, "a connection broke", "")
		f[0].listen.Cut(true)
		f[0].set(prefix+"2", "10.0.0.2:80")
		time.Sleep(10 * time.Second)
		f[0].listen.Cut(false)
		time.Sleep(backMost)
		h.Expect(t, "ten seconds away", "error; set 10.0.0.1:80 10.0.0.2:80")
		time.Sleep(time.Minute)
		f[0].reset()
		f[0].listen.Cut(false)
		time.Sleep(time.Second)
		h.Expect(t, "came back without data", "set")
		time.Sleep(time.Minute)
		f[0].listen.Cut(true)
		time.Sleep(time.Hour)
		h.Expect(t, "an hour away: one error", "error")
		f[0].listen.Cut(false)
		time.Sleep(backMost)
		h.Expect(t, "back", "set")
	})
}

func TestFrozenServer(t *testing.T) {
	for servers := 1; servers <= 3; servers++ {
		play(t, Config{}, servers, func(h *fakes.Heard, f []*fake) {
			f[0].set(prefix+"1", "10.0.0.1:80")
			time.Sleep(time.Duration(60000+rand.N(9000)) * time.Millisecond)
			h.Take()
			frozen := time.Now()
			for _, one := range f {
				one.do(func() { one.frozen = true })
			}
			time.Sleep(20 * time.Second)
			synctest.Wait()
			updates, at := h.All()
			if len(at) == 0 || updates[0].Err == nil || at[0].Sub(frozen) > 15*time.Second {
				t.Fatalf("%d servers: not noticed within 15 s: %v", servers, updates)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if updates, _ = h.All(); len(updates) > 1 && servers == 1 || len(updates) > 130 {
				t.Errorf("%d servers: %d errors in an hour", servers, len(updates))
			}
			h.Take()
			for i, one := range f {
				one.do(func() {
					if one.frozen = false; i > 0 {
						one.write(prefix+"1", "10.0.0.1:80", 0)
					}
				})
			}
			time.Sleep(backMost)
			h.Expect(t, "back", "set 10.0.0.1:80")
		})
	}
}

func TestOneServerOfTwoIsEnough(t *testing.T) {
	play(t, Config{}, 2, func(h *fakes.Heard, f []*fake) {
		for _, one := range f {
			one.set(prefix+"1", "10.0.0.1:80")
		}
		time.Sleep(time.Minute)
		h.Take()
		f[0].listen.Cut(true)
		time.Sleep(time.Minute)
		f[1].set(prefix+"2", "10.0.0.2:80")
		h.Expect(t, "the first went away", "set 10.0.0.1:80 10.0.0.2:80")
		f[0].set(prefix+"2", "10.0.0.2:80")
		f[0].listen.Cut(false)
		f[1].do(func() { f[1].frozen = true })
		time.Sleep(15 * time.Second)
		f[0].set(prefix+"3", "10.0.0.3:80")
		h.Expect(t, "the second froze", "set 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80")
	})
}

// A watch that waits for a revision which is far away says nothing, on a connection
// that is fine. So does one behind a proxy that has lost its other side.
func TestSilentWatch(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		for i := range 20 {
			f[0].set(fmt.Sprint(prefix, i), "10.0.0.1:80")
		}
		time.Sleep(10 * time.Second)
		h.Take()
		f[0].reset() // connections stay
		f[0].set(prefix+"new", "10.0.0.2:80")
		time.Sleep(6 * time.Second)
		h.Expect(t, "lost its data", "set 10.0.0.2:80")
		for i, change := range []func(){
			func() { f[0].write(prefix+"3", "10.0.0.3:80", 0) },
			func() { f[0].write(prefix+"3", "10.0.0.4:80", 0) },
			func() { f[0].erase(prefix + "3") },
		} {
			f[0].do(func() { f[0].mute = true; change() })
			time.Sleep(8 * time.Second)
			h.Expect(t, "a change that the watch does not tell",
				[]string{"set 10.0.0.2:80 10.0.0.3:80", "set 10.0.0.2:80 10.0.0.4:80", "set 10.0.0.2:80"}[i])
			f[0].do(func() { f[0].mute = false })
		}
		f[0].do(func() { f[0].cluster = "1"; f[0].revision += 100; delete(f[0].keys, prefix+"new") })
		time.Sleep(6 * time.Second)
		h.Expect(t, "another cluster", "set")
	})
}

func TestCompacted(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		h.Expect(t, "nothing", "set")
		f[0].do(func() { f[0].compact = 1 << 40 }) // whatever is asked for has gone
		f[0].listen.Cut(false)
		time.Sleep(time.Minute)
		h.Expect(t, "compacted", "")
		if n := f[0].count("/v3/kv/range"); n > 100 {
			t.Errorf("%d lists in a minute", n)
		}
		f[0].do(func() { f[0].compact = 0 })
		time.Sleep(backMost)
		f[0].set(prefix+"1", "10.0.0.1:80")
		h.Expect(t, "well again", "set 10.0.0.1:80")
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, answer := range []string{
		"<html>", `{"header":`, `{}`, `null`, `[]`, `{"header":{"revision":"x"}}`, `{"header":{"revision":"-1"}}`,
		`{"header":{"revision":"9"},"kvs":[{"key":"%%%"}]}`, `{"error":"odd","code":2}`,
	} {
		play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
			f[0].set(prefix+"1", "10.0.0.1:80")
			time.Sleep(time.Minute)
			h.Take()
			f[0].do(func() { f[0].broken = answer })
			time.Sleep(2 * time.Minute)
			h.Expect(t, answer, "error")
			f[0].do(func() { f[0].broken = "" })
			time.Sleep(backMost)
			h.Expect(t, "after "+answer, "set 10.0.0.1:80")
		})
	}
}

func TestLogin(t *testing.T) {
	play(t, Config{Username: "user", Password: "correct horse"}, 1, func(h *fakes.Heard, f []*fake) {
		time.Sleep(time.Minute)
		h.Expect(t, "a server without authentication", "set")
		f[0].do(func() { f[0].password = "correct horse" })
		time.Sleep(time.Minute)
		f[0].set(prefix+"1", "10.0.0.1:80")
		h.Expect(t, "authentication was switched on", "set 10.0.0.1:80")
		f[0].do(func() { clear(f[0].tokens) })
		time.Sleep(time.Minute)
		f[0].set(prefix+"2", "10.0.0.2:80")
		h.Expect(t, "the token has expired", "set 10.0.0.1:80 10.0.0.2:80")
		f[0].do(func() { clear(f[0].tokens); f[0].password = "another" })
		time.Sleep(time.Minute)
		synctest.Wait()
		updates, _ := h.All()
		if len(updates) != 1 || updates[0].Err == nil {
			t.Fatalf("a wrong password: %v", updates)
		}
		if text := updates[0].Err.Error(); !strings.Contains(text, "login") || strings.Contains(text, "horse") {
			t.Errorf("a wrong password: %v", text)
		}
		h.Take()
		f[0].do(func() { f[0].password = "correct horse" })
		time.Sleep(backMost)
		h.Expect(t, "the right one", "set 10.0.0.1:80 10.0.0.2:80")
	})
}

func TestConfigThatCannotWork(t *testing.T) {
	for _, c := range []Config{
		{}, {Prefix: "x", Servers: []string{"ftp://a"}}, {Prefix: "x", Servers: []string{"http://u:secret@a"}},
		{Prefix: "x", Servers: []string{"http://%zz:secret@"}}, {Prefix: "x", Servers: []string{"a?secret"}},
	} {
		err := New(c).Run(t.Context(), func(discovery.Update) { t.Error("published") })
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", c.Servers, err)
		}
	}
}

// TestSetIsThatOfTheServer plays random changes and faults, and compares what was
// published in the end, and the absence of sets that never were, with the store.
func TestSetIsThatOfTheServer(t *testing.T) {
	for seed := range uint64(60) {
		play(t, Config{}, 1+int(seed%2), func(h *fakes.Heard, f []*fake) {
			r := rand.New(rand.NewPCG(seed, 1))
			was := map[string]bool{"set": true}
			for range 60 {
				key, value := fmt.Sprint(prefix, r.IntN(6)), fmt.Sprintf("10.0.0.%d:80", r.IntN(8))
				fault := r.IntN(14)
				for _, one := range f {
					switch fault {
					case 0:
						one.listen.Cut(false)
					case 1:
						one.listen.Cut(r.IntN(2) == 0)
					case 2:
						one.do(func() { one.frozen = !one.frozen })
					case 3:
						one.do(func() { one.mute = !one.mute })
					case 4:
						one.do(func() { one.compact = one.revision })
					case 5:
						one.reset()
						one.listen.Cut(false) // a restart, after which a watch cannot go on
					case 6, 7:
						one.delete(key)
					default:
						one.set(key, value)
					}
				}
				for _, one := range f {
					was[content(one)] = true
				}
				time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond >> r.IntN(12))
			}
			for _, one := range f {
				one.do(func() { one.frozen, one.mute, one.compact = false, false, 0 })
				one.listen.Cut(false)
			}
			time.Sleep(15 * time.Second)
			synctest.Wait()
			last := ""
			updates, _ := h.All()
			for _, u := range updates {
				if last = fakes.Describe(u); u.Err == nil && !was[last] {
					t.Fatalf("seed %d: %q was never the content", seed, last)
				}
			}
			if want := content(f[0]); last != want {
				t.Fatalf("seed %d: in the end %q, want %q", seed, last, want)
			}
		})
	}
}

// content is what should be published of a fake.
func content(f *fake) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var addresses []string
	for _, kv := range f.keys {
		addresses = append(addresses, string(kv.Value))
	}
	slices.Sort(addresses)
	return strings.Join(append([]string{"set"}, slices.Compact(addresses)...), " ")
}

// TestNothingIsLeftOf500Connections measures what reconnecting leaves behind.
func TestNothingIsLeftOf500Connections(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set(prefix+"1", "10.0.0.1:80")
		measure := func(n int) (goroutines int, heap uint64) {
			for range n {
				f[0].listen.Cut(false)
				time.Sleep(3 * time.Second)
			}
			synctest.Wait()
			h.Take()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		goroutines, heap := measure(50)
		made := f[0].listen.Count()
		after, heapAfter := measure(500)
		if n := f[0].listen.Count() - made; n < 500 {
			t.Fatalf("only %d connections were made", n)
		}
		if after > goroutines+5 {
			t.Errorf("%d goroutines, then %d", goroutines, after)
		}
		if heapAfter > heap+1<<20 {
			t.Errorf("a heap of %d bytes, then of %d", heap, heapAfter)
		}
	})
}

func TestRegistrar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Config
		fakes, dial := network(t, 1, &c)
		f := fakes[0]
		c.Prefix = ""
		r := NewRegistrar(RegistrarConfig{Config: c})
		r.dial = dial
		var mu sync.Mutex
		var reports []string
		report := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, map[bool]string{true: "well", false: "error"}[err == nil])
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			in := discovery.Instance{Service: "web", Address: "10.0.0.1:80", Weight: 3, Zone: "z", Metadata: map[string]string{"a": "b"}}
			if err := r.Run(ctx, in, report); err != nil {
				t.Error(err)
			}
		})
		const key = prefix + "10.0.0.1:80"
		const ours = `{"url":"http://10.0.0.1:80","weight":3,"zone":"z","metadata":{"a":"b"}}`
		step := func(when string, after time.Duration, value, want string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got, _ := f.get(key); got != value {
				t.Errorf("%s: the key is %q, want %q", when, got, value)
			}
			if got := strings.Join(reports, " "); got != want {
				t.Errorf("%s: reported %q, want %q", when, got, want)
			}
			reports = nil
		}
		step("begin", 0, ours, "well")
		step("an hour", time.Hour, ours, "")
		f.delete(key)
		step("removed by others", 4*time.Second, ours, "well")
		f.set(key, "changed")
		step("changed by others", time.Hour, "changed", "well")
		f.do(func() { f.drop(f.nextID) })
		step("the lease has ended", 4*time.Second, ours, "well")
		f.reset()
		step("without data", 4*time.Second, ours, "well")
		f.listen.Cut(true)
		step("gone for a moment", 5*time.Second, ours, "")
		f.listen.Cut(false)
		step("back in time", 3*time.Second, ours, "")
		f.listen.Cut(true)
		step("gone", time.Minute, "", "error")
		f.listen.Cut(false)
		step("back", 3*time.Second, ours, "well")
		f.set(key, "changed") // and not put under the lease before the end
		cancel()
		running.Wait()
		step("end", 0, "", "")
	})
}

// The lease of an instance outlives tokens, and the begin of authentication.
func TestRegistrarLogsInAgain(t *testing.T) {
	for _, modern := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := Config{Username: "user", Password: "correct horse"}
			fakes, dial := network(t, 1, &c)
			f := fakes[0]
			f.do(func() { f.modern = modern })
			r := NewRegistrar(RegistrarConfig{Config: c})
			r.dial = dial
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			reports := 0
			running.Go(func() {
				r.Run(ctx, discovery.Instance{Service: "web", Address: "10.0.0.1:80"}, func(err error) {
					if reports++; err != nil {
						t.Error(err)
					}
				})
			})
			time.Sleep(time.Minute)
			f.do(func() { f.password = "correct horse" })
			for range 5 {
				time.Sleep(time.Minute)
				if _, ok := f.get(prefix + "10.0.0.1:80"); !ok {
					t.Error("it has gone")
				}
				f.do(func() { clear(f.tokens) })
			}
			cancel()
			running.Wait()
			if _, ok := f.get(prefix + "10.0.0.1:80"); ok || reports != 1 {
				t.Errorf("after the end: there %v, %d reports", ok, reports)
			}
		})
	}
}

// An instance leaves within three seconds, whatever the server does.
func TestRegistrarLeavesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Config
		fakes, dial := network(t, 2, &c)
		r := NewRegistrar(RegistrarConfig{Config: c})
		r.dial = dial
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx, discovery.Instance{Service: "web", Address: "10.0.0.1:80"}, func(error) {}) })
		synctest.Wait()
		for _, f := range fakes {
			f.do(func() { f.frozen = true })
		}
		began := time.Now()
		cancel()
		running.Wait()
		if took := time.Since(began); took > removeTime {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRegistrarRefuses(t *testing.T) {
	for _, in := range []discovery.Instance{
		{Address: "10.0.0.1:80"}, {Service: "web"}, {Service: "web", Address: "name:80"}, {Service: "web", Address: "10.0.0.1"},
		{Service: "web", Address: "0.0.0.0:80"}, {Service: "web", Address: "10.0.0.1:80", Scheme: "ftp"},
	} {
		r := NewRegistrar(RegistrarConfig{})
		r.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("it dialled") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := r.Run(ctx, in, func(error) { cancel() }); err == nil {
			t.Errorf("%v was accepted", in)
		}
		cancel()
	}
}
