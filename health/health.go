// Package health is the one state machine of an endpoint. Probes, the outcomes of
// attempts, the breaker's clock and the source are its inputs, not rivals: whatever
// happens to an endpoint goes through [Machine.Apply], and what comes out is whether the
// endpoint may be picked.
//
//	             passed          attempts fail, another endpoint is healthy
//	─► probing ────────► healthy ─────────────────────────────────► ejected
//	      │               │ ▲ ▲                                   by breaker
//	      │        probes │ │ │ trials succeed,           open_for │  ▲ a trial fails:
//	      │          fail │ │ │ or probes pass             is over ▼  │ open_for × 2
//	      │               │ │ └────────────────────────────── half-open
//	      │               ▼ │ probes pass                            │
//	      └────────────► ejected ◄───────────────────────────────────┘
//	         failed     by probes      probes fail
//
//	any of them ─removed by the source─► draining ─nothing in flight─► gone
//
// What the arrows do not say:
//
//   - Without a check endpoints start healthy. With one, the first verdict decides at
//     once; unhealthy_after and healthy_after hold from then on.
//   - Probes speak in every state: unhealthy_after failed ones turn an ejection by the
//     breaker into one by probes, and healthy_after passed ones end either.
//   - An endpoint that is an outlier among its peers ([ComparedWorse], see [Compare]) is ejected
//     too, beside the breaker. Passed probes do not end that: they passed while it was worse than the
//     others. Only its clock does, with [OutlierTrials] trials at least. They say little of an
//     endpoint that fails one time in three, so how often it was ejected so is forgotten only by
//     comparisons that find it alike ([ComparedAlike]).
//   - The breaker's clock revives only what the breaker ejected, and not while the latest
//     probe failed. Out of an ejection by probes only probes lead.
//   - healthy_after passed probes since the last failed attempt, or since the ejection,
//     clear all that the breaker remembers: the ejection, the failures, the doubling.
//   - The breaker never takes the last healthy endpoint of a service ([Input.Spare]), and
//     lets go of a half-open one whose trial failed when there is no other. Such an endpoint
//     is kept though it fails ([Machine.Kept]): it is no proof that the service works.
//   - An endpoint that asks for a pause ([AskedToRest]) is out by the breaker until that is over,
//     and trials follow. The owner says whether there is another one ([Input.Spare]).
//   - What the breaker ejected may be tried before its time, as a last resort. An attempt
//     that began at least [ProofAfter] after the ejection and succeeded counts as a trial then:
//     as many as the breaker wants bring the endpoint back. A failure changes nothing but
//     the count of successes. What probes ejected no attempt brings back.
//   - If attempts at an endpoint fail, too, that its probes ejected, it is not the check that
//     is wrong ([Machine.Convicted]).
//   - The latest word on whether connections to an endpoint come about at all is kept
//     ([Machine.Unreached]), whether a probe or an attempt found it.
//   - An operator may eject an endpoint, whatever its state. Then it is not usable until the
//     operator's ejection ends, in panic mode too. Its probes and the breaker's clock go on
//     below: when the ejection ends the endpoint is where they have brought it.
//   - An operator may admit an endpoint: it is healthy at once, with nothing held against it.
//     Verdicts after that count as any.
//   - Draining and gone are one-way: nothing but the end of its attempts moves a draining
//     endpoint, and nothing moves a gone one.
//
// The package has no clock, no lock and does no input or output: time is an argument, an
// instant on any monotonic clock that starts above zero.
package health

import "time"

// A State is where an endpoint stands.
type State uint8

const (
	Probing  State = iota // no verdict yet: not usable
	Healthy               // usable
	Ejected               // not usable; Cause says why
	HalfOpen              // usable for as many trials at a time as the breaker allows
	Draining              // removed by the source, attempts under way: not usable
	Gone                  // removed, and nothing is under way

	states = iota
)

// String is the word used in logs and in the status.
func (s State) String() string {
	return [...]string{"probing", "healthy", "ejected", "half-open", "draining", "gone"}[s]
}

// A Cause says what ejected an endpoint: probes, the breaker, an operator or its peers.
type Cause uint8

const (
	None     Cause = iota // not ejected
	Probes                // probes failed: only probes bring it back
	Attempts              // the breaker, by the outcome of attempts: time or probes bring it back
	Operator              // an operator: only an operator, or the end that was set, brings it back
	Outlier               // a comparison with its peers: time brings it back

	Causes = int(iota) // how many there are
)

// String is the word used in logs and in the status; empty for None.
func (c Cause) String() string {
	return [...]string{"", "probes", "breaker", "operator", "outlier"}[c]
}

// Passive reports whether what attempts have shown is the cause, so that the clock and trials bring
// the endpoint back.
func (c Cause) Passive() bool { return c == Attempts || c == Outlier }

// A Config is what a machine is to respect. It belongs to the service and may change
// between two inputs.
type Config struct {
	Probed         bool // a check exists: endpoints start probing, otherwise healthy
	UnhealthyAfter int  // failed probes in a row that eject; 0 means 3
	HealthyAfter   int  // passed probes in a row that bring back; 0 means 2
	Breaker        Breaker
}

// A Breaker is the passive ejection of one endpoint. The zero value means the defaults.
type Breaker struct {
	Off                 bool          // never eject by attempts
	ConsecutiveFailures int           // failed attempts in a row that eject; 0 means 5, negative: not looked at
	FailureRate         int           // percent of failed attempts in a Window that eject; 0: not looked at
	MinRequests         int           // attempts in the Window before FailureRate counts; 0 means 20
	OpenFor             time.Duration // first ejection; doubles with each in a row, up to 16 times; 0 means 10 s
	Trials              int           // trials at a time, and successes needed to close; 0 means 1
	Outliers            bool          // eject what is an outlier among its peers, too
}

// OutlierTrials is how many trials of an endpoint that was an outlier have to succeed, if Trials is
// not more. One that fails three times in ten passes them one time in six.
const OutlierTrials = 5

// doublingsMax bounds the doubling of OpenFor: 2⁴ = 16 times.
const doublingsMax = 4

// WithDefaults returns c with every zero replaced by what it means. Machines expect it.
func (c Config) WithDefaults() Config {
	positive(&c.UnhealthyAfter, 3)
	positive(&c.HealthyAfter, 2)
	if c.Breaker.ConsecutiveFailures == 0 {
		c.Breaker.ConsecutiveFailures = 5
	}
	positive(&c.Breaker.MinRequests, 20)
	positive(&c.Breaker.Trials, 1)
	if c.Breaker.OpenFor <= 0 {
		c.Breaker.OpenFor = 10 * time.Second
	}
	return c
}

// positive gives *n its default unless it is above zero.
func positive(n *int, otherwise int) {
	if *n <= 0 {
		*n = otherwise
	}
}
