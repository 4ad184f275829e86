package faults

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

var (
	fullFlag  = flag.Bool("full", false, "every number of endpoints, long outages, and nginx and HAProxy beside Poise")
	writeFlag = flag.String("write", "", "write the results as a page of Markdown; implies -full")
	onlyFlag  = flag.String("only", "", "faults to judge, by comma; empty: all")
)

func TestMain(m *testing.M) {
	if address := os.Getenv(roleVariable); address != "" {
		serveEndpoint(address)
	}
	flag.Parse()
	*fullFlag = *fullFlag || *writeFlag != ""
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		flag.Set("test.parallel", "12") // they wait most of the time
	}
	os.Exit(m.Run())
}

// A cell is one story of the table: of n endpoints, bad ones have the fault.
type cell struct {
	fault  *fault
	n, bad int
}

func (c cell) String() string { return fmt.Sprintf("%s: %d of %d", c.fault.name, c.bad, c.n) }

// A result is what clients have lost in one cell, or what an outage cost.
type result struct {
	gets, lostGets   int
	posts, lostPosts int // lost: not delivered, although an endpoint could have served it
	slowest          time.Duration
	back             time.Duration // from the return of an endpoint to its first answer, the longest
	reasons          []string
}

func (r result) String() string {
	return fmt.Sprintf("%d of %d GETs lost, %d of %d POSTs, slowest %.1f s, back after %.1f s",
		r.lostGets, r.gets, r.lostPosts, r.posts, r.slowest.Seconds(), r.back.Seconds())
}

const (
	rate      = 60              // requests a second
	faultTime = 5 * time.Second // until the first endpoint returns
	// connsOld is when no connection is left that a proxy could take for a live one: the
	// idle connections of before the fault have been closed. Until then a POST that went
	// into a black hole may have been delivered, as far as a proxy can know.
	connsOld = 6 * time.Second
	// backWithin bounds what an outage may cost after an endpoint has returned.
	backWithin = 5 * time.Second
	// outageTail is how long an outage is watched after that.
	outageTail = 15 * time.Second
)

func cells() (all []cell) {
	for i := range faults {
		f := &faults[i]
		if *onlyFlag != "" && !slices.Contains(strings.Split(*onlyFlag, ","), f.name) {
			continue
		}
		if !*fullFlag {
			all = append(all, cell{f, 2, 1}, cell{f, 4, 3})
			continue
		}
		for _, n := range []int{2, 3, 4, 8} {
			for bad := 1; bad < n; bad++ {
				if n < 8 || bad == 1 || bad == 4 || bad == 7 {
					all = append(all, cell{f, n, bad})
				}
			}
		}
	}
	return all
}

// table is filled by all tests.
type table struct {
	mu      sync.Mutex
	cells   map[string]map[string]result // by cell, by proxy
	outages map[string]map[string]result
}

func (tb *table) put(into map[string]map[string]result, row, proxy string, r result) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if into[row] == nil {
		into[row] = make(map[string]result)
	}
	into[row][proxy] = r
}

// TestFaults is the whole suite.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	binary = rig.Poise(t)
	space, err := newNamespace(t)
	if err != nil {
		t.Logf("black holes are not judged: %v", err)
	}
	tb := &table{cells: make(map[string]map[string]result), outages: make(map[string]map[string]result)}
	t.Run("stories", func(t *testing.T) {
		for _, c := range cells() {
			for _, p := range proxies {
				if c.fault.far && space == nil || p.peer && !*fullFlag || slow(c.fault, p) && !*fullFlag {
					continue
				}
				t.Run(fmt.Sprintf("%v by %s", c, p.name), func(t *testing.T) {
					t.Parallel()
					r := play(t, c, p, space)
					tb.put(tb.cells, c.String(), p.name, r)
					report(t, p, r, r.lostGets+r.lostPosts > 0)
				})
			}
		}
		for i := range faults {
			f := &faults[i]
			if *onlyFlag != "" && !slices.Contains(strings.Split(*onlyFlag, ","), f.name) {
				continue
			}
			for _, p := range proxies {
				if f.far && space == nil || p.peer && !*fullFlag {
					continue
				}
				for _, n := range []int{1, 2} {
					if n == 2 && slow(f, p) && !*fullFlag {
						continue
					}
					row := fmt.Sprintf("%s: all of %d", f.name, n)
					t.Run(fmt.Sprintf("%s by %s", row, p.name), func(t *testing.T) {
						t.Parallel()
						r := outage(t, f, n, p, space)
						tb.put(tb.outages, row, p.name, r)
						report(t, p, r, r.back > backWithin || r.lostGets > 0)
					})
				}
			}
		}
	})
	if *writeFlag != "" {
		if err := os.WriteFile(*writeFlag, []byte(tb.page(t)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// slow reports whether a story lasts a minute: without probes nothing but the limit of the
// response head shows a proxy that an endpoint is frozen, or a connection to it dead.
func slow(f *fault, p proxy) bool {
	return p.name == "Poise" && (f.name == "freeze" || f.name == "black hole")
}

func report(t *testing.T, p proxy, r result, bad bool) {
	t.Log(r)
	for i, why := range r.reasons {
		if i < 10 {
			t.Log(why)
		}
	}
	if bad && !p.peer {
		t.Fail()
	}
}

// scene starts n endpoints and a proxy before them.
func scene(t *testing.T, n int, f *fault, p proxy, space *namespace) (endpoints []*endpoint, listen string) {
	var addresses []string
	for range n {
		e := &endpoint{t: t}
		if f.far {
			e.space, e.address = space, space.address(t)
		} else {
			e.address = rig.Address(t)
		}
		e.start()
		endpoints, addresses = append(endpoints, e), append(addresses, e.address)
	}
	listen = rig.Address(t)
	p.start(t, listen, addresses)
	return endpoints, listen
}

// play is the story of one cell: all serve, some have the fault, they return one by one.
func play(t *testing.T, c cell, p proxy, space *namespace) result {
	endpoints, listen := scene(t, c.n, c.fault, p, space)
	l := startLoad(listen, rate)
	time.Sleep(2 * time.Second)
	bad := endpoints[:c.bad]
	fell := l.now()
	for _, e := range bad {
		c.fault.begin(e)
	}
	lasts := faultTime
	if c.fault.far {
		lasts += connsOld
	}
	time.Sleep(lasts)
	for _, e := range bad {
		c.fault.end(e)
		time.Sleep(time.Second)
	}
	rose := l.now()
	time.Sleep(2 * time.Second)
	outcomes := l.end()

	sure := fell + 500*time.Millisecond // a POST that was under way at the fall may have been delivered
	if c.fault.far {
		sure = fell + connsOld
	}
	r := count(outcomes)
	for _, o := range outcomes {
		switch {
		case !o.failed():
		case !o.post:
			r.lostGets++
			r.reasons = append(r.reasons, fmt.Sprintf("GET at %.2f s (fall at %.2f, all back at %.2f) after %.2f s: %d %s %s",
				o.at.Seconds(), fell.Seconds(), rose.Seconds(), o.took.Seconds(), o.status, o.from, o.why))
		case (c.fault.undelivered && o.at > sure || o.at < fell-500*time.Millisecond || o.at > rose) && !delivered(endpoints, o.id):
			r.lostPosts++
			r.reasons = append(r.reasons, fmt.Sprintf("POST at %.2f s (fall at %.2f, all back at %.2f) after %.2f s: %d %s %s",
				o.at.Seconds(), fell.Seconds(), rose.Seconds(), o.took.Seconds(), o.status, o.from, o.why))
		}
	}
	return r
}

// count sums up what needs no judgement.
func count(outcomes []outcome) (r result) {
	for _, o := range outcomes {
		if o.post {
			r.posts++
		} else {
			r.gets++
		}
		r.slowest = max(r.slowest, o.took)
	}
	return r
}

func delivered(endpoints []*endpoint, id string) bool {
	return slices.ContainsFunc(endpoints, func(e *endpoint) bool { return e.took(id) })
}

// outage is the other story: all endpoints have the fault, under little traffic, then one
// returns. From the first answer on no GET may fail.
func outage(t *testing.T, f *fault, n int, p proxy, space *namespace) result {
	endpoints, listen := scene(t, n, f, p, space)
	l := startLoad(listen, 4)
	time.Sleep(2 * time.Second)
	for _, e := range endpoints {
		f.begin(e)
	}
	lasts := 12 * time.Second
	if *fullFlag {
		lasts = 80 * time.Second
	}
	time.Sleep(lasts)
	f.end(endpoints[0])
	rose := l.now()
	time.Sleep(outageTail)
	outcomes := l.end()

	r := count(outcomes)
	first := time.Duration(-1) // when the first answer came after the return
	for _, o := range outcomes {
		if !o.failed() && o.at > rose && (first < 0 || o.at+o.took < first) {
			first = o.at + o.took
		}
	}
	if first < 0 {
		r.back, r.reasons = time.Hour, append(r.reasons, "no answer after the return")
		return r
	}
	r.back = first - rose
	for _, o := range outcomes {
		if o.failed() && !o.post && o.at > first {
			r.lostGets++
			r.reasons = append(r.reasons, fmt.Sprintf("GET at %.2f s (return at %.2f, first answer at %.2f) after %.2f s: %d %s %s",
				o.at.Seconds(), rose.Seconds(), first.Seconds(), o.took.Seconds(), o.status, o.from, o.why))
		}
	}
	return r
}
