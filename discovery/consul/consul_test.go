package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
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

// play runs a source beside fakes named a, b, ... in virtual time. The source must end
// when its context does, with all its goroutines, or the bubble says so.
func play(t *testing.T, c Config, count int, script func(h *fakes.Heard, f []*fake)) {
	t.Helper()
	playFrom(t, c, count, func([]*fake) {}, script)
}

// playFrom is play with servers that prepare has changed before anything asks them.
func playFrom(t *testing.T, c Config, count int, prepare func(f []*fake), script func(h *fakes.Heard, f []*fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		all, dial := network(t, count, &c)
		prepare(all)
		s := newRegistry(c, dial).Source(c.Service, c.Tags)
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
		name := string(rune('a'+i)) + ":8500"
		all, names[name] = append(all, f), f
		c.Servers = append(c.Servers, name)
	}
	c.Service = "web"
	return all, func(ctx context.Context, network, address string) (net.Conn, error) {
		return names[address].listen.Dial(ctx, network, address)
	}
}

func TestWatch(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		h.Expect(t, "nothing", "set")
		for _, one := range []struct {
			id, address string
			weight      int
			meta        map[string]string
			want        string
		}{
			{"1", "10.0.0.1:80", 1, nil, "set 10.0.0.1:80*1"},
			{"2", "10.0.0.2:80", 3, map[string]string{"zone": "z"}, "set 10.0.0.1:80*1 10.0.0.2:80*3@z"},
			{"2", "10.0.0.2:80", 5, nil, "set 10.0.0.1:80*1 10.0.0.2:80*5"},
			{"3", ":80", 1, nil, "set 10.0.0.1:80*1 10.0.0.2:80*5 10.1.1.1:80*1"},
			{"4", "10.0.0.4:443", 1, map[string]string{"scheme": "https"}, "set 10.0.0.1:80*1 10.0.0.2:80*5 10.1.1.1:80*1 https://10.0.0.4:443*1"},
			{"4", "10.0.0.4:443", 1, map[string]string{"secure": "true"}, ""},
			{"4", "name:443", 1, nil, "set 10.0.0.1:80*1 10.0.0.2:80*5 10.1.1.1:80*1 name:443*1"},
			{"4", "na me:443", 1, nil, "set 10.0.0.1:80*1 10.0.0.2:80*5 10.1.1.1:80*1 -t1/4"},
			{"4", "10.0.0.4:443", 1, map[string]string{"scheme": "tcp"}, "set 10.0.0.1:80*1 10.0.0.2:80*5 10.1.1.1:80*1 -t1/4"},
			{"4", "10.0.0.4:0", 1, nil, "set 10.0.0.1:80*1 10.0.0.2:80*5 10.1.1.1:80*1 -t1/4"},
			{"3", "", 0, nil, "set 10.0.0.1:80*1 10.0.0.2:80*5 -t1/4"},
			{"again", "10.0.0.2:80", 9, nil, "set 10.0.0.1:80*1 10.0.0.2:80*9 -t1/4"},
			{"2", "", 0, nil, ""},
			{"again", "", 0, nil, "set 10.0.0.1:80*1 -t1/4"},
			{"4", "", 0, nil, "set 10.0.0.1:80*1"},
			{"1", "", 0, nil, "set"},
		} {
			f[0].set(one.id, one.address, one.weight, one.meta)
			time.Sleep(spaceMost)
			if one.meta["secure"] == "true" { // the same endpoint, with other metadata
				h.Take()
				continue
			}
			h.Expect(t, fmt.Sprint(one), one.want)
		}
		before := f[0].count("v1/health/service")
		time.Sleep(10 * time.Minute)
		h.Expect(t, "ten quiet minutes", "")
		if n := f[0].count("v1/health/service") - before; n < 2 || n > 4 { // two each time, as there is nothing
			t.Errorf("%d queries in ten minutes", n)
		}
		if n := f[0].count("v1/status/leader"); n < 140 || n > 160 {
			t.Errorf("asked %d times in ten minutes whether it is there", n)
		}
	})
}

func TestChecks(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set("1", "10.0.0.1:80", 1, nil)
		time.Sleep(time.Second)
		h.Take()
		f[0].do(func() { f[0].services["1"].passing = false })
		time.Sleep(spaceMost)
		h.Expect(t, "critical", "set")
		f[0].do(func() {
			f[0].services["1"].passing = true
			f[0].services["1"].meta = map[string]string{"zone": "of the node"}
		})
		time.Sleep(spaceMost)
		h.Expect(t, "passing", "set 10.0.0.1:80*1@of the node")
	})
}

// What is in maintenance is out, whatever else its checks say, and what a check says is
// left out, as it may be wrong.
func TestMaintenanceIsSaidAndChecksConclude(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		for i := range 3 {
			f[0].set(fmt.Sprint(i+1), fmt.Sprintf("10.0.0.%d:80", i+1), 1, nil)
		}
		f[0].set("4", "10.0.0.4:80", 8000, nil)
		time.Sleep(2 * spaceMost)
		h.Take()
		change := func(id string, passing bool, maintenance string) {
			f[0].do(func() { f[0].services[id].passing, f[0].services[id].maintenance = passing, maintenance })
			time.Sleep(spaceMost)
		}
		change("1", true, "_service_maintenance:1")
		h.Expect(t, "the service", "set 10.0.0.1:80*1! 10.0.0.2:80*1 10.0.0.3:80*1 10.0.0.4:80*8000")
		change("2", false, "_node_maintenance")
		h.Expect(t, "its node", "set 10.0.0.1:80*1! 10.0.0.2:80*1! 10.0.0.3:80*1 10.0.0.4:80*8000")
		change("3", false, "")
		h.Expect(t, "a check", "set 10.0.0.1:80*1! 10.0.0.2:80*1! 10.0.0.4:80*8000")
		change("1", true, "")
		h.Expect(t, "back", "set 10.0.0.1:80*1 10.0.0.2:80*1! 10.0.0.4:80*8000")
	})
}

func TestWhatIsAsked(t *testing.T) {
	c := Config{Tags: []string{"v1", "x y"}, Datacenter: "dc2", Namespace: "ns1", Partition: "p1", Token: "secret"}
	play(t, c, 1, func(h *fakes.Heard, f []*fake) {
		f[0].do(func() { f[0].token = "secret" })
		time.Sleep(10 * time.Second)
		f[0].mu.Lock()
		defer f[0].mu.Unlock()
		q := f[0].asked.URL.Query()
		if !slices.Equal(q["tag"], c.Tags) || q.Get("dc") != "dc2" || q.Get("ns") != "ns1" || q.Get("partition") != "p1" ||
			q.Has("passing") || q.Get("wait") != "5m0s" || strings.Contains(f[0].asked.URL.String(), "secret") {
			t.Errorf("asked %v", f[0].asked.URL)
		}
	})
}

// TestOneQuestionForAllServices: sources of one registry share what asks whether the agent
// is there, and what it finds out; and nothing of it outlives them.
func TestOneQuestionForAllServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Config
		f, dial := network(t, 1, &c)
		r := newRegistry(c, dial)
		ctx, cancel := context.WithCancel(t.Context())
		heards := make([]fakes.Heard, 20)
		var running sync.WaitGroup
		for i := range heards {
			running.Go(func() { r.Source(fmt.Sprint("s", i), nil).Run(ctx, heards[i].Publish) })
		}
		time.Sleep(time.Hour)
		if n := f[0].count("v1/status/leader"); n < 850 || n > 910 {
			t.Errorf("asked %d times in an hour whether it is there", n)
		}
		if n := f[0].count("v1/health/service/s0"); n > 40 {
			t.Errorf("%d queries in an hour", n)
		}
		for i := range heards {
			heards[i].Expect(t, "nothing", "set")
		}
		f[0].do(func() { f[0].frozen = true; f[0].index-- })
		time.Sleep(15 * time.Second)
		for i := range heards {
			heards[i].Expect(t, "frozen", "error")
		}
		f[0].do(func() { f[0].frozen = false })
		time.Sleep(backMost + time.Second)
		for i := range heards {
			heards[i].Expect(t, "back", "set")
		}
		cancel()
		running.Wait()
		if len(r.pulses.of) > 0 && r.pulses.sources != 0 {
			t.Error("something is left")
		}
	})
}

// TestLeader: a query that waits is asked again when there is another leader, or none,
// because the server that has it may be cut off.
func TestLeader(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set("1", "10.0.0.1:80", 1, nil)
		time.Sleep(time.Minute)
		h.Take()
		for _, leader := range []string{"other", "", "third"} {
			before := f[0].count("v1/health/service")
			f[0].do(func() { f[0].leader = leader; f[0].index-- }) // no news
			time.Sleep(pulseEvery + spread)
			if n := f[0].count("v1/health/service") - before; n != 2 && leader != "third" {
				t.Errorf("leader %q: %d queries, want one and the one that waits", leader, n)
			}
			h.Expect(t, leader, "")
		}
	})
}

// TestOldAnswers: what Stale and Cached allow has a bound.
func TestOldAnswers(t *testing.T) {
	for name, value := range map[string]string{"X-Consul-LastContact": "11000", "Age": "11"} {
		play(t, Config{Stale: true, Cached: true}, 1, func(h *fakes.Heard, f []*fake) {
			f[0].set("1", "10.0.0.1:80", 1, nil)
			f[0].do(func() { f[0].extra = http.Header{name: {value[:1]}} })
			time.Sleep(time.Minute)
			h.Take()
			f[0].do(func() { f[0].extra = http.Header{name: {value}} })
			time.Sleep(time.Second)
			f[0].do(func() {})
			time.Sleep(time.Minute)
			h.Expect(t, name, "error")
			f[0].do(func() { f[0].extra = nil })
			time.Sleep(backMost)
			h.Expect(t, "without", "set 10.0.0.1:80*1")
			if q := f[0].asked.URL.Query(); !q.Has("stale") || !q.Has("cached") {
				t.Errorf("asked %v", f[0].asked.URL)
			}
		})
	}
}

// TestRetryAfter: an agent that is overloaded is left alone for as long as it says.
func TestRetryAfter(t *testing.T) {
	busy := func(f []*fake) {
		f[0].broken, f[0].status = "busy", http.StatusTooManyRequests
		f[0].extra = http.Header{"Retry-After": {"30"}}
	}
	playFrom(t, Config{}, 1, busy, func(h *fakes.Heard, f []*fake) {
		time.Sleep(time.Minute)
		before := f[0].count("v1/health/service")
		time.Sleep(10 * time.Minute)
		if n := f[0].count("v1/health/service") - before; n < 15 || n > 20 {
			t.Errorf("asked %d times in ten minutes, want once in 30 to 33 s", n)
		}
		f[0].do(func() { f[0].broken, f[0].extra = "", nil })
		time.Sleep(33 * time.Second)
		h.Expect(t, "well again", "error; set")
	})
}

func TestWrongToken(t *testing.T) {
	play(t, Config{Token: "correct horse"}, 1, func(h *fakes.Heard, f []*fake) {
		time.Sleep(time.Hour)
		synctest.Wait()
		updates, _ := h.All()
		if len(updates) != 1 || updates[0].Err == nil || !strings.Contains(updates[0].Err.Error(), "ACL not found") || strings.Contains(updates[0].Err.Error(), "horse") {
			t.Errorf("published %v", updates)
		}
		h.Take()
		f[0].do(func() { f[0].token = "correct horse" })
		time.Sleep(backMost)
		h.Expect(t, "the right one", "set")
	})
}

// A token that has lost its rights sees no instances; they are there, all the same.
func TestTokenThatMayNotRead(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set("1", "10.0.0.1:80", 1, nil)
		time.Sleep(time.Minute)
		h.Take()
		f[0].do(func() { f[0].hidden = true })
		time.Sleep(10 * time.Minute)
		h.Expect(t, "hidden", "error")
		f[0].do(func() { f[0].hidden = false })
		time.Sleep(backMost)
		h.Expect(t, "seen", "set 10.0.0.1:80*1")
	})
}

func TestRestart(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set("1", "10.0.0.1:80", 1, nil)
		time.Sleep(time.Minute)
		h.Take()
		f[0].listen.Cut(false)
		time.Sleep(time.Second)
		h.Expect(t, "a connection broke", "")
		f[0].listen.Cut(true)
		f[0].set("2", "10.0.0.2:80", 1, nil)
		time.Sleep(10 * time.Second)
		f[0].listen.Cut(false)
		time.Sleep(backMost)
		h.Expect(t, "ten seconds away", "error; set 10.0.0.1:80*1 10.0.0.2:80*1")
		f[0].do(func() { f[0].index = 1000 })
		time.Sleep(time.Second)
		f[0].reset() // connections stay, as with a new leader without data
		time.Sleep(2 * waitTime)
		h.Expect(t, "the index went back", "set")
		f[0].set("3", "10.0.0.3:80", 1, nil)
		time.Sleep(spaceMost)
		h.Expect(t, "and goes on", "set 10.0.0.3:80*1")
		f[0].listen.Cut(true)
		time.Sleep(time.Hour)
		h.Expect(t, "an hour away: one error", "error")
		f[0].listen.Cut(false)
		time.Sleep(backMost)
		h.Expect(t, "back", "set 10.0.0.3:80*1")
	})
}

func TestFrozenAgent(t *testing.T) {
	for servers := 1; servers <= 3; servers++ {
		for range 5 {
			play(t, Config{}, servers, func(h *fakes.Heard, f []*fake) {
				f[0].set("1", "10.0.0.1:80", 1, nil)
				time.Sleep(time.Duration(60000+rand.N(9000)) * time.Millisecond)
				h.Take()
				frozen := time.Now()
				for _, one := range f {
					one.do(func() { one.frozen = true; one.index-- }) // no news
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				updates, at := h.All()
				if len(at) == 0 || updates[0].Err == nil || at[0].Sub(frozen) > 15*time.Second {
					t.Fatalf("%d agents: not noticed within 15 s: %v, %v", servers, updates, frozen)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if updates, _ = h.All(); len(updates) > 1 && servers == 1 || len(updates) > 130 {
					t.Errorf("%d agents: %d errors in an hour", servers, len(updates))
				}
				h.Take()
				for i, one := range f { // each has its set before it answers
					if i > 0 {
						one.set("1", "10.0.0.1:80", 1, nil)
					}
					one.do(func() { one.frozen = false })
				}
				time.Sleep(backMost)
				h.Expect(t, "back", "set 10.0.0.1:80*1")
			})
		}
	}
}

func TestOneAgentOfTwoIsEnough(t *testing.T) {
	play(t, Config{}, 2, func(h *fakes.Heard, f []*fake) {
		for _, one := range f {
			one.set("1", "10.0.0.1:80", 1, nil)
		}
		time.Sleep(time.Minute)
		h.Take()
		f[0].listen.Cut(true)
		time.Sleep(time.Minute)
		f[1].set("2", "10.0.0.2:80", 1, nil)
		time.Sleep(spaceMost)
		h.Expect(t, "the first went away", "set 10.0.0.1:80*1 10.0.0.2:80*1")
		f[0].set("2", "10.0.0.2:80", 1, nil)
		f[0].listen.Cut(false)
		f[1].do(func() { f[1].frozen = true })
		time.Sleep(15 * time.Second)
		f[0].set("3", "10.0.0.3:80", 1, nil)
		time.Sleep(spaceMost)
		h.Expect(t, "the second froze", "set 10.0.0.1:80*1 10.0.0.2:80*1 10.0.0.3:80*1")
	})
}

// Agents have answered with an index of 0, with one that does not change, and at once:
// none of it may become a loop that burns both sides.
func TestHastyAgent(t *testing.T) {
	for _, index := range []string{"", "0", "7"} {
		play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
			f[0].do(func() { f[0].hasty, f[0].indexes = true, index })
			time.Sleep(10 * time.Minute)
			if n := f[0].count("v1/health/service"); n > 2500 {
				t.Errorf("index %q: %d queries in ten minutes", index, n)
			}
			f[0].set("1", "10.0.0.1:80", 1, nil)
			time.Sleep(spaceMost)
			h.Expect(t, "a change", "set; set 10.0.0.1:80*1")
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, one := range []struct {
		status int
		answer string
	}{
		{200, "<html>"}, {200, `[{"Node":`}, {200, `{}`}, {200, "[]"}, {200, `[{"Service":{"Port":"x"}}]`}, {500, "rpc error: No cluster leader"},
		{429, "Your IP is issuing too many concurrent connections"}, {301, "elsewhere"}, {500, ""},
	} {
		play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
			f[0].set("1", "10.0.0.1:80", 1, nil)
			time.Sleep(time.Minute)
			h.Take()
			f[0].do(func() { f[0].broken, f[0].status = one.answer+" ", one.status })
			time.Sleep(2 * time.Minute)
			h.Expect(t, one.answer, "error")
			f[0].do(func() { f[0].broken = "" })
			time.Sleep(backMost)
			h.Expect(t, "after "+one.answer, "set 10.0.0.1:80*1")
		})
	}
}

func TestConfigThatCannotWork(t *testing.T) {
	for _, c := range []Config{
		{}, {Service: "x", Servers: []string{"ftp://a"}}, {Service: "x", Servers: []string{"http://u:secret@a"}},
		{Service: "x", Servers: []string{"http://%zz:secret@"}}, {Service: "x", Servers: []string{"a?secret"}},
	} {
		err := New(c).Run(t.Context(), func(discovery.Update) { t.Error("published") })
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", c.Servers, err)
		}
	}
}

// TestSetIsThatOfTheAgent plays random changes and faults, and compares every set that
// was published with what has ever been the content, and the last with what it is.
func TestSetIsThatOfTheAgent(t *testing.T) {
	for seed := range uint64(60) {
		play(t, Config{}, 1+int(seed%2), func(h *fakes.Heard, f []*fake) {
			r := rand.New(rand.NewPCG(seed, 1))
			was := map[string]bool{"set": true}
			for range 60 {
				id, address := fmt.Sprint(r.IntN(6)), fmt.Sprintf("10.0.0.%d:80", r.IntN(8))
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
						one.do(func() { one.hasty = !one.hasty })
					case 4:
						one.do(func() { one.broken = strings.Repeat("x", r.IntN(2)) })
					case 5:
						one.reset()
						one.listen.Cut(false)
					case 6, 7:
						one.set(id, "", 0, nil)
					default:
						one.set(id, address, 1, nil)
					}
				}
				for _, one := range f {
					was[content(one)] = true
				}
				time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond >> r.IntN(12))
			}
			for _, one := range f {
				one.do(func() { one.frozen, one.hasty, one.broken = false, false, "" })
				one.listen.Cut(false)
			}
			time.Sleep(2 * waitTime)
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
	for _, s := range f.services {
		addresses = append(addresses, fmt.Sprintf("%s:%d*1", s.Address, s.Port))
	}
	slices.Sort(addresses)
	return strings.Join(append([]string{"set"}, slices.Compact(addresses)...), " ")
}

// TestNothingIsLeftOf500Connections measures what reconnecting leaves behind.
func TestNothingIsLeftOf500Connections(t *testing.T) {
	play(t, Config{}, 1, func(h *fakes.Heard, f []*fake) {
		f[0].set("1", "10.0.0.1:80", 1, nil)
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
		r := NewRegistrar(RegistrarConfig{Config: c})
		r.dial = dial
		var mu sync.Mutex
		var reports []string
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		in := discovery.Instance{Service: "web", Scheme: "https", Address: "10.0.0.1:80", Weight: 3, Zone: "z", Metadata: map[string]string{"a": "b"}}
		running.Go(func() {
			err := r.Run(ctx, in, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				reports = append(reports, map[bool]string{true: "well", false: "error"}[err == nil])
			})
			if err != nil {
				t.Error(err)
			}
		})
		const id = "web-10.0.0.1:80"
		step := func(when string, after time.Duration, there bool, want string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := f.passing(id); (got != nil) != there {
				t.Errorf("%s: the instance is %v, want %v", when, got, there)
			}
			if got := strings.Join(reports, " "); got != want {
				t.Errorf("%s: reported %q, want %q", when, got, want)
			}
			reports = nil
		}
		step("begin", 0, true, "well")
		s := f.passing(id)
		if s.Address != "10.0.0.1" || s.Port != 80 || s.Weights.Passing != 3 || s.Meta["zone"] != "z" || s.Meta["a"] != "b" || s.Meta["scheme"] != "https" || len(in.Metadata) != 1 {
			t.Errorf("registered %+v", s)
		}
		step("an hour", time.Hour, true, "")
		f.set(id, "", 0, nil)
		step("removed by others", 4*time.Second, true, "well")
		f.reset()
		step("without data", 4*time.Second, true, "well")
		f.listen.Cut(true)
		step("gone for a moment", 5*time.Second, true, "")
		f.listen.Cut(false)
		step("back in time", 3*time.Second, true, "")
		f.listen.Cut(true)
		step("gone", time.Minute, false, "error")
		f.listen.Cut(false)
		step("back", 3*time.Second, true, "well")
		cancel()
		running.Wait()
		step("end", 0, false, "")
		if f.services[id] != nil {
			t.Error("it is still registered")
		}
	})
}

// An instance that was registered with two agents leaves both, and does so within three
// seconds, whatever they do.
func TestRegistrarLeaves(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var c Config
			fakes, dial := network(t, 2, &c)
			r := NewRegistrar(RegistrarConfig{Config: c})
			r.dial = dial
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { r.Run(ctx, discovery.Instance{Service: "web", Address: "10.0.0.1:80"}, func(error) {}) })
			synctest.Wait()
			fakes[0].listen.Cut(true)
			time.Sleep(10 * time.Second)
			fakes[0].listen.Cut(false)
			if fakes[1].passing("web-10.0.0.1:80") == nil {
				t.Error("it did not turn to the second agent")
			}
			for _, f := range fakes {
				f.do(func() { f.frozen = frozen })
			}
			began := time.Now()
			cancel()
			running.Wait()
			if took := time.Since(began); took > removeTime {
				t.Errorf("it took %v", took)
			}
			for i, f := range fakes {
				if len(f.services) > 0 && !frozen {
					t.Errorf("it is still registered with agent %d", i)
				}
			}
		})
	}
}

// An agent that writes one registration after the other, whether the client still waits or
// not, is asked for each once, by few connections; and all leave it in the end.
func TestRegistrarOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Config
		fakes, dial := network(t, 1, &c)
		f := fakes[0]
		f.writes = make(chan struct{}, 1)
		r := NewRegistrar(RegistrarConfig{Config: c, TTL: 5 * time.Minute})
		r.dial = dial
		const many = 500
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range many {
			in := discovery.Instance{Service: "web", Address: fmt.Sprintf("10.0.%d.%d:80", i/100, i%100)}
			running.Go(func() {
				r.Run(ctx, in, func(err error) {
					if err != nil {
						t.Error(err)
					}
				})
			})
		}
		time.Sleep(many*writeTime + time.Second)
		var n int
		f.do(func() { n = len(f.services) })
		if calls := f.count("v1/agent/service/register"); n != many || calls != many {
			t.Errorf("%d of %d instances are registered, by %d calls", n, many, calls)
		}
		if n := f.listen.Count(); n > callsMost {
			t.Errorf("%d connections were made, want at most %d", n, callsMost)
		}
		cancel()
		running.Wait()
		if n = len(f.services); n > 0 {
			t.Errorf("%d instances are still registered", n)
		}
	})
}

func TestRegistrarRefuses(t *testing.T) {
	for _, in := range []discovery.Instance{
		{Address: "10.0.0.1:80"}, {Service: "web"}, {Service: "web", Address: "name:80"}, {Service: "web", Address: "10.0.0.1"},
		{Service: "web", Address: "0.0.0.0:80"}, {Service: "web", Address: "10.0.0.1:0"}, {Service: "web", Address: "10.0.0.1:80", Scheme: "ftp"},
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

// FuzzAnswer: whatever an agent says, every instance is an endpoint with an address or a name
// that can be resolved, or it is rejected; none is lost, and their order in the answer does not matter.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`[{"Node":{"Node":"t1","Address":"127.0.0.1"},"Service":{"ID":"web-1","Address":"","Port":8081,"Meta":{"zone":"a"},"Weights":{"Passing":3,"Warning":1}}}]`))
	f.Add([]byte(`[{"Service":{"Address":"A","Port":1}}]`)) // a name
	f.Add([]byte(`[{"Node":{},"Service":{"Address":"::1","Port":1,"CreateIndex":3}},{"Service":{"Address":"::1","Port":1,"CreateIndex":4,"Meta":{"scheme":"https"}}},{"Service":{"Address":"a"}},null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []instance
		if json.Unmarshal(data, &list) != nil {
			return
		}
		addresses := make(map[string]int)
		good := 0
		for _, in := range list {
			if s, err := spec(in, Config{}); err == nil {
				addresses[s.URL()]++
				good++
			}
		}
		u := specs(slices.Clone(list), Config{})
		got, rejected := u.Endpoints, u.Rejected
		if len(got) != len(addresses) || len(rejected) != len(list)-good {
			t.Fatalf("%d endpoints and %d rejected of %d, want %d and %d", len(got), len(rejected), len(list), len(addresses), len(list)-good)
		}
		for _, s := range got {
			address, _, err := discovery.ParseAddress(s.Address)
			if err != nil || address != s.Address || s.Scheme != "http" && s.Scheme != "https" || s.Weight < 0 {
				t.Fatalf("%+v", s)
			}
		}
		slices.Reverse(list)
		again := specs(list, Config{}).Endpoints
		for i := range got {
			if got[i].ID != again[i].ID {
				t.Fatalf("%v in another order is %v", got, again)
			}
		}
	})
}
