//go:build linux

package peers

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/openload"
	"github.com/poise-lb/poise/test/internal/queues"
)

// What clients wait in ten situations, by the way a proxy balances. An open loop of requests goes
// to eight endpoints (package queues) through each proxy in turns; for each turn endpoints and
// proxy are started anew. Every round has all turns, and of each figure the least over the rounds
// counts, since a busy machine only adds to it:
//
//	round 1   even: Poise  nginx  HAProxy ...   slow: Poise  nginx ...   stall: ...
//	round 2   the same with other requests
//
// A turn in which the load itself was late is played again.

var (
	balanceFlag  = flag.Bool("balance", false, "compare balancing: make balance")
	balancePages = flag.String("balance-write", "", "write the page here, and the picture beside it")
)

const (
	// balanceRate is the load in requests per second, where a row does not say another.
	balanceRate = 1200
	balanceTurn = 9 * time.Second
	balanceWarm = time.Second
	// turnsMost is how often a turn is played until the load was on time.
	turnsMost = 5
)

// A played is what one proxy did in one row: each figure is the least over all rounds.
type played struct {
	P50, P99, P999 time.Duration
	Errors         int     // requests of all rounds that failed
	Extra          float64 // requests to endpoints per request of a client, of all rounds the least
	Odd            float64 // share of the odd endpoint, in the last round
	Goodput        float64 // answers of 200 per second, the most
	rounds         int
}

// balance has the outcome by row and balancer.
type balance map[string]map[string]*played

func (b balance) of(row, name string) *played {
	if b[row] == nil {
		b[row] = make(map[string]*played)
	}
	if b[row][name] == nil {
		b[row][name] = &played{}
	}
	return b[row][name]
}

// TestBalancing plays all rows and says where the default is not the best.
func TestBalancing(t *testing.T) {
	if !*balanceFlag {
		t.Skip("takes three quarters of an hour: make balance")
	}
	k := newKit(t)
	versions := make(map[string]string)
	var able []balancer
	for _, b := range balancers {
		version, err := b.install(k)
		if err != nil {
			progress("%s is left out: %v", b.name, err)
			continue
		}
		versions[b.name] = version
		able = append(able, b)
	}
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("BALANCE_ROUNDS"), "3"))
	if err != nil {
		t.Fatalf("BALANCE_ROUNDS: %v", err)
	}
	all := make(balance)
	for round := range rounds {
		for _, row := range queues.Rows {
			if only := os.Getenv("BALANCE_ROWS"); only != "" && !slices.Contains(strings.Split(only, ","), row.Name) {
				continue
			}
			for i := range able {
				if !able[i].in(row.Name) {
					continue
				}
				t.Run(fmt.Sprintf("%d/%s/%s", round+1, row.Name, able[i].name), func(t *testing.T) {
					all.of(row.Name, able[i].name).turn(t, k, &able[i], &row, uint64(round))
				})
			}
		}
	}
	page := balancePage(all, able, versions, rounds)
	t.Log("\n" + page)
	if *balancePages != "" {
		write(t, *balancePages, page)
		write(t, strings.TrimSuffix(*balancePages, ".md")+".svg", balancePicture(all, able))
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// turn plays a row through a proxy, until the load was on time.
func (p *played) turn(t *testing.T, k *kit, b *balancer, row *queues.Row, seed uint64) {
	for range turnsMost {
		if p.try(t, k, b, row, seed) {
			return
		}
		progress("%s, %s: the load was late; once more", row.Name, b.name)
	}
	t.Errorf("in %d turns the load was never on time", turnsMost)
}

func (p *played) try(t *testing.T, k *kit, b *balancer, row *queues.Row, seed uint64) (counts bool) {
	t.Run("turn", func(t *testing.T) { // so that its processes end with it
		e := queues.Start(t, row.Name)
		addresses := startBalancers(t, k, b, row, e.Addresses)
		load := openload.Load{Addresses: addresses, Rate: balanceRate, WarmUp: balanceWarm, Lasts: balanceTurn, Seed: seed}
		if row.Load > 0 {
			load.Rate, load.Connections = row.Load*row.Capacity(), 1024
		}
		if row.Cold > 0 {
			load.WarmUp = 0 // what is cold is what is to be seen
		}
		before := e.Taken(t)
		r := load.Run(t)
		if counts = r.Punctual(); counts {
			p.add(&r, before, e.Taken(t), load.Lasts)
			progress("%-9s %-26s p50 %6.1f  p99 %7.1f  p99.9 %7.1f ms, %d failed", row.Name, b.name, millisecond(r.Quantile(0.5)),
				millisecond(r.Quantile(0.99)), millisecond(r.Quantile(0.999)), len(r.Errs))
		}
	})
	return counts || t.Failed()
}

// add counts a turn.
func (p *played) add(r *openload.Result, before, after [queues.Endpoints]int, lasts time.Duration) {
	least := func(have *time.Duration, q float64) {
		if d := r.Quantile(q); p.rounds == 0 || d < *have {
			*have = d
		}
	}
	least(&p.P50, 0.5)
	least(&p.P99, 0.99)
	least(&p.P999, 0.999)
	taken := 0
	for i := range after {
		taken += after[i] - before[i]
	}
	extra := float64(taken) / float64(max(len(r.Late), 1))
	if p.rounds == 0 || extra < p.Extra {
		p.Extra = extra
	}
	p.Odd = float64(after[queues.Odd]-before[queues.Odd]) / float64(max(taken, 1))
	p.Errors += len(r.Errs)
	p.Goodput = max(p.Goodput, float64(r.Answered)/lasts.Seconds())
	p.rounds++
}

func millisecond(d time.Duration) float64 { return d.Seconds() * 1000 }

// rival is the least of a figure over the proxies that are not Poise; infinite: there is none.
func (b balance) rival(row string, able []balancer, of func(*played) time.Duration) time.Duration {
	least := time.Duration(math.MaxInt64)
	for _, one := range able {
		if p := b[row][one.name]; p != nil && p.rounds > 0 && !one.ours() {
			least = min(least, of(p))
		}
	}
	return least
}

// goodput says what a balancer answers where there is more load than can be answered. Unloaded, a
// request takes as long as its endpoint works on it: at p99 ln 100 times the mean.
func (b balance) goodput(row *queues.Row, name string) string {
	p := b[row.Name][name]
	if p == nil || p.rounds == 0 {
		return ""
	}
	return fmt.Sprintf(" %s answers **%.2f** of what the endpoints can do, with a p99 of **%.1f** times that of one without load.",
		name, p.Goodput/row.Capacity(), float64(p.P99)/(math.Log(100)*float64(row.Mean)))
}

// balancePage is docs/balancing.md.
func balancePage(all balance, able []balancer, versions map[string]string, rounds int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# How Poise balances, beside nginx, HAProxy and Envoy

`+"`make balance`"+` writes this page. An open loop of %d requests per second (%s per proxy and round; rounds in turns: %d) goes
to eight endpoints with four workers each and 5 ms per request, exponentially distributed. In each situation something else is
wrong. Latency counts from the instant a request was due. Every figure is the least over the rounds.

![p99 by situation](balancing.svg)

`, balanceRate, balanceTurn, rounds)
	for _, row := range queues.Rows {
		if all[row.Name] == nil {
			continue
		}
		fmt.Fprintf(&b, "## %s: %s\n\n| through | p50 ms | p99 ms | p99.9 ms | failed | requests to endpoints per request | share of the odd one |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
			row.Name, row.Text)
		for _, one := range able {
			p := all[row.Name][one.name]
			if p == nil || p.rounds == 0 {
				continue
			}
			fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %d | %.2f | %.1f %% |\n", one.name, millisecond(p.P50), millisecond(p.P99), millisecond(p.P999), p.Errors, p.Extra, 100*p.Odd)
		}
		if own := all[row.Name][able[0].name]; own != nil && own.rounds > 0 {
			p99 := all.rival(row.Name, able, func(p *played) time.Duration { return p.P99 })
			p999 := all.rival(row.Name, able, func(p *played) time.Duration { return p.P999 })
			fmt.Fprintf(&b, "\nThe default's p99 is **%.2f** of the best rival's, its p99.9 **%.2f**.", ratio(own.P99, p99), ratio(own.P999, p999))
			if row.Load > 0 {
				b.WriteString(all.goodput(&row, able[0].name) + all.goodput(&row, limited))
			}
			b.WriteString("\n\n")
		}
	}
	b.WriteString("## The proxies\n\n| proxy | version | settings |\n| --- | --- | --- |\n")
	for _, one := range able {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", one.name, versions[one.name], one.remarks)
	}
	return b.String()
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }
