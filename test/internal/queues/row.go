// Package queues has the endpoints that balancing is judged with: eight servers of HTTP/1.1 in a
// process of their own, each with four workers and a queue before them. A request takes a worker
// for an exponentially distributed time of 5 ms in the mean. A Row says what goes wrong beside that.
//
// The test's program is started again for it: Role must be called at the beginning of TestMain, and
// Start starts the process.
package queues

import "time"

const (
	Endpoints = 8
	Workers   = 4 // of each endpoint
	Odd       = 3 // the endpoint that something is wrong with, where it is one
	Mean      = 5 * time.Millisecond
)

// A Row is one situation: what the endpoints do beside answering in time. Every instant counts from
// the start of the process.
type Row struct {
	Name string
	Text string // for people

	Slow  float64 // the odd one takes so many times as long; 0: as the others
	Fails bool    // the odd one answers 503 at once
	Long  float64 // this share of requests takes LongTime instead, at any endpoint
	Cold  int     // the odd one's first requests take ColdTimes as long

	Stall   Cycle // the odd one's workers stand still
	Down    Cycle // the odd one is gone: connections are reset, connecting is refused
	Restart Cycle // one endpoint after the other ends in good order and comes back

	Mean    time.Duration // instead of Mean, where the load is to be a multiple of what there is
	Load    float64       // of what the endpoints can do; 0: as the test has it
	Proxies int           // that share the endpoints; 0: one
}

const (
	LongTime  = 50 * time.Millisecond
	ColdTimes = 10
)

// A Cycle happens every Every, for For; zero: never.
type Cycle struct{ Every, For time.Duration }

// on reports whether the cycle is in its For at that instant. It begins with a pause.
func (c Cycle) on(at time.Duration) bool {
	return c.Every > 0 && at%c.Every >= c.Every-c.For
}

// left is how long that lasts from then.
func (c Cycle) left(at time.Duration) time.Duration { return c.Every - at%c.Every }

// Rows are all situations.
var Rows = []Row{
	{Name: "even", Text: "nothing is wrong"},
	{Name: "slow", Text: "one endpoint takes five times as long", Slow: 5},
	{Name: "stall", Text: "one endpoint stands still for 0.5 s every 2 s", Stall: Cycle{2 * time.Second, 500 * time.Millisecond}},
	{Name: "fail", Text: "one endpoint answers 503 at once", Fails: true},
	{Name: "flap", Text: "one endpoint is gone for 0.5 s every 2 s", Down: Cycle{2 * time.Second, 500 * time.Millisecond}},
	{Name: "bimodal", Text: "5 % of the requests take 50 ms", Long: 0.05},
	{Name: "restart", Text: "a rolling restart: every 0.8 s another endpoint ends in good order, for 0.4 s", Restart: Cycle{800 * time.Millisecond, 400 * time.Millisecond}},
	{Name: "cold", Text: "the first 200 requests of one endpoint take ten times as long", Cold: 200},
	{Name: "shared", Text: "two proxies share the endpoints, one of which takes five times as long", Slow: 5, Proxies: 2},
	{Name: "overload", Text: "150 % of what the endpoints can do (20 ms in the mean)", Mean: 20 * time.Millisecond, Load: 1.5},
}

// RowOf is the row of that name; false: there is none.
func RowOf(name string) (Row, bool) {
	for _, r := range Rows {
		if r.Name == name {
			return r, true
		}
	}
	return Row{}, false
}

// Capacity is how many requests per second the endpoints of the row can answer, without what goes
// wrong.
func (r *Row) Capacity() float64 {
	return Endpoints * Workers / r.mean().Seconds()
}

func (r *Row) mean() time.Duration {
	if r.Mean > 0 {
		return r.Mean
	}
	return Mean
}
